"""Integer scores and the rule of agreement against plain definitions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.protocols.agreement import BF16, FP32, Tolerance, agree
from runtime.protocols.report import QueryCode
from runtime.protocols.scoring import (
    MAX_QUERY_SPREAD,
    ModuleSpan,
    ScoreReason,
    ScoreRefusal,
    check_layout,
    check_query,
    check_record_codes,
    module_spans,
    narrow_query,
    pack_codes,
    packed_length,
    score,
    score_bound,
    signed_codes,
    unpack_codes,
)

layouts = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@st.composite
def queries(draw: st.DrawFn, layout: list[int]) -> QueryCode:
    codes = draw(st.lists(st.integers(-127, 127), min_size=sum(layout), max_size=sum(layout)))
    low = draw(st.integers(-100, 100))
    exponents = draw(
        st.lists(
            st.integers(low, low + MAX_QUERY_SPREAD), min_size=len(layout), max_size=len(layout)
        )
    )
    return QueryCode(bytes(code & 0xFF for code in codes), tuple(exponents))


@st.composite
def records(draw: st.DrawFn, layout: list[int]) -> tuple[bytes, bytes]:
    codes = draw(
        st.lists(st.sampled_from((-3, -1, 1, 3)), min_size=sum(layout), max_size=sum(layout))
    )
    exponents = draw(st.lists(st.integers(0, 15), min_size=len(layout), max_size=len(layout)))
    return pack_codes(codes), bytes(exponents)


def refused(reason: ScoreReason) -> object:
    return pytest.raises(ScoreRefusal, match=reason.name)


def values(query: QueryCode, layout: list[int]) -> list[Fraction]:
    """Dequantise: code times 2^exponent, exactly."""
    codes = signed_codes(query.codes)
    return [
        codes[span.offset + i] * Fraction(2) ** exponent
        for span, exponent in zip(module_spans(layout), query.exponents, strict=True)
        for i in range(span.count)
    ]


@given(st.data())
def test_a_score_is_the_exact_product_of_the_dequantised_vectors(data: st.DataObject) -> None:
    layout = data.draw(layouts)
    query, (codes, exponents) = data.draw(queries(layout)), data.draw(records(layout))
    found = score(codes, exponents, query.codes, query.exponents, layout)
    unpacked = unpack_codes(codes, sum(layout))
    record = [
        unpacked[span.offset + i] * Fraction(2) ** exponent
        for span, exponent in zip(module_spans(layout), exponents, strict=True)
        for i in range(span.count)
    ]
    exact = sum(x * y for x, y in zip(values(query, layout), record, strict=True))
    assert found == exact * Fraction(2) ** -min(query.exponents)
    assert abs(found) <= score_bound(layout)
    check_query(query, layout)
    check_record_codes(codes, exponents, layout)


def test_packing_puts_the_first_code_into_the_low_bits() -> None:
    assert pack_codes([-3, -1, 1, 3]) == bytes((0b11_10_01_00,))
    assert pack_codes([3]) == b"\x03"
    assert module_spans([2, 3]) == (ModuleSpan(0, 2), ModuleSpan(2, 3))
    assert packed_length([2, 3]) == 2


@given(st.lists(st.sampled_from((-3, -1, 1, 3)), max_size=50))
def test_codes_survive_packing(codes: list[int]) -> None:
    assert unpack_codes(pack_codes(codes), len(codes)) == codes


def test_the_worst_codes_reach_the_bound_and_not_more() -> None:
    layout = [5, 3]
    codes = pack_codes([3] * 8)
    worst = score(codes, b"\x0f\x0f", b"\x7f" * 8, (MAX_QUERY_SPREAD,) * 2, layout)
    assert worst == 3 * 127 * 8 << 15
    spread = score(codes, b"\x0f\x0f", b"\x7f" * 8, (MAX_QUERY_SPREAD, 0), layout)
    assert worst < spread == (3 * 127 * 5 << 15 + MAX_QUERY_SPREAD) + (3 * 127 * 3 << 15)
    assert spread <= score_bound(layout)


def test_a_layout_whose_scores_could_overflow_is_refused() -> None:
    most = ((1 << 62) - 1) // (3 * 127 << 31)
    check_layout([most])
    with refused(ScoreReason.TOO_LARGE):
        check_layout([most, 1])
    with refused(ScoreReason.BAD_LAYOUT):
        check_layout([])
    with refused(ScoreReason.BAD_LAYOUT):
        check_layout([3, 0])


@pytest.mark.parametrize(
    ("reason", "codes", "exponents", "query", "query_exponents"),
    [
        (ScoreReason.BAD_RECORD, b"\x00", b"\x00\x00", b"\x01" * 5, (0, 0)),
        (ScoreReason.BAD_RECORD, b"\x00\x04", b"\x00\x00", b"\x01" * 5, (0, 0)),
        (ScoreReason.BAD_RECORD, b"\x00\x00", b"\x00\x10", b"\x01" * 5, (0, 0)),
        (ScoreReason.BAD_RECORD, b"\x00\x00", b"\x00", b"\x01" * 5, (0, 0)),
        (ScoreReason.BAD_QUERY, b"\x00\x00", b"\x00\x00", b"\x01" * 4, (0, 0)),
        (ScoreReason.BAD_QUERY, b"\x00\x00", b"\x00\x00", b"\x80" * 5, (0, 0)),
        (ScoreReason.BAD_QUERY, b"\x00\x00", b"\x00\x00", b"\x01" * 5, (0,)),
        (ScoreReason.BAD_SPREAD, b"\x00\x00", b"\x00\x00", b"\x01" * 5, (0, 17)),
    ],
)
def test_malformed_codes_are_refused_by_name(
    reason: ScoreReason,
    codes: bytes,
    exponents: bytes,
    query: bytes,
    query_exponents: tuple[int, ...],
) -> None:
    with refused(reason):
        score(codes, exponents, query, query_exponents, [2, 3])


@given(st.data())
def test_narrowing_keeps_the_query_but_for_its_smallest_modules(data: st.DataObject) -> None:
    layout = data.draw(layouts)
    wide = data.draw(queries(layout))
    exponents = data.draw(
        st.lists(st.integers(-300, 300), min_size=len(layout), max_size=len(layout))
    )
    wide = QueryCode(wide.codes, tuple(exponents))
    narrow = narrow_query(wide, layout)
    check_query(narrow, layout)
    assert narrow_query(narrow, layout) == narrow
    step = Fraction(2) ** (max(narrow.exponents) - MAX_QUERY_SPREAD)
    for before, after in zip(values(wide, layout), values(narrow, layout), strict=True):
        assert abs(before - after) <= step / 2


def agreed(a: QueryCode, b: QueryCode, layout: list[int], tolerance: Tolerance = FP32) -> bool:
    return agree(a.codes, a.exponents, b.codes, b.exponents, layout, tolerance)


def cosine_holds(a: list[Fraction], b: list[Fraction], ppm: int) -> bool:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    norms = sum(x * x for x in a) * sum(y * y for y in b)
    return dot > 0 and dot * dot * 10**6 >= ppm * norms


@given(st.data())
def test_agreement_is_symmetric_and_follows_its_definition(data: st.DataObject) -> None:
    layout = data.draw(layouts)
    a = data.draw(queries(layout))
    nudges = data.draw(st.lists(st.integers(-3, 3), min_size=sum(layout), max_size=sum(layout)))
    codes = [max(-127, min(127, c + n)) for c, n in zip(signed_codes(a.codes), nudges, strict=True)]
    b = QueryCode(bytes(code & 0xFF for code in codes), a.exponents)
    largest = max(abs(x - y) for x, y in zip(codes, signed_codes(a.codes), strict=True))
    expected = largest <= 2 and (
        cosine_holds(values(a, layout), values(b, layout), 998_001)
        or not any(codes + signed_codes(a.codes))
    )
    if _comparable(a, b, layout):
        assert agreed(a, b, layout) == expected
    assert agreed(a, b, layout) == agreed(b, a, layout)
    assert agreed(a, a, layout)


def _comparable(a: QueryCode, b: QueryCode, layout: list[int]) -> bool:
    """Whether the plain definition has an exponent for every module on both sides."""
    return all(
        any(signed_codes(a.codes)[s.offset : s.offset + s.count])
        == any(signed_codes(b.codes)[s.offset : s.offset + s.count])
        for s in module_spans(layout)
    )


def test_the_same_value_at_another_exponent_agrees() -> None:
    fine, coarse = QueryCode(bytes((126, 100)), (0,)), QueryCode(bytes((63, 50)), (1,))
    assert agreed(fine, coarse, [2])
    assert agreed(coarse, fine, [2])
    two_apart = QueryCode(bytes((31, 25)), (2,))
    assert not agreed(fine, two_apart, [2])


def test_the_difference_of_codes_is_counted_in_steps_of_the_coarser_exponent() -> None:
    big = 127
    fine = QueryCode(bytes((big, 100, 20)), (0,))
    assert agreed(fine, QueryCode(bytes((63, 50, 12)), (1,)), [3])  # 24 - 20 = 2 coarse steps
    assert not agreed(fine, QueryCode(bytes((63, 50, 13)), (1,)), [3])


def test_the_limits_of_code_differences_are_exact() -> None:
    base = [100] * 20
    for tolerance, limit in ((FP32, 2), (BF16, 6)):
        for difference in (limit, limit + 1):
            other = [100 + difference, *base[1:]]
            assert agree(bytes(base), (0,), bytes(other), (0,), [20], tolerance) == (
                difference == limit
            )


def test_opposite_and_orthogonal_queries_do_not_agree() -> None:
    assert not agreed(QueryCode(b"\x01\x00", (0,)), QueryCode(b"\xff\x00", (0,)), [2])
    assert not agreed(QueryCode(b"\x01\x00", (0,)), QueryCode(b"\x00\x01", (0,)), [2])


def test_a_module_of_zeros_has_no_exponent() -> None:
    a = QueryCode(bytes((100, 0)), (0, 9))
    b = QueryCode(bytes((100, 0)), (0, -5))
    assert agreed(a, b, [1, 1])
    zeros = QueryCode(b"\x00\x00", (0, 0))
    assert agreed(zeros, QueryCode(b"\x00\x00", (3, 1)), [1, 1])
    assert not agreed(a, zeros, [1, 1])


def test_agreement_refuses_malformed_queries() -> None:
    good = QueryCode(b"\x01\x02", (0,))
    with refused(ScoreReason.BAD_QUERY):
        agreed(good, QueryCode(b"\x01", (0,)), [2])
    with refused(ScoreReason.BAD_SPREAD):
        agreed(QueryCode(b"\x01\x02", (0, 30)), QueryCode(b"\x01\x02", (0, 0)), [1, 1])
