"""The integers: coding, packing, scanning, and their equality with the chain's arithmetic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.attribution import codes as coding
from inference.attribution.scan import scan
from runtime.protocols import scoring
from runtime.protocols.report import QueryCode


def random_records(
    rng: np.random.Generator, records: int, layout: tuple[int, ...]
) -> tuple[coding.UInt8s, coding.UInt8s]:
    packed = rng.integers(0, 256, (records, sum(layout) // 4), dtype=np.uint8)
    return packed, rng.integers(0, 16, (records, len(layout)), dtype=np.uint8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_the_scan_equals_the_chains_score(seed: int, quarters: list[int]) -> None:
    rng = np.random.default_rng(seed)
    layout = tuple(4 * count for count in quarters)
    packed, offsets = random_records(rng, 9, layout)
    values = rng.integers(-127, 128, sum(layout)).astype(np.int8)
    exponents = tuple(int(e) for e in rng.integers(-8, 9, len(layout)) - 30)
    query = QueryCode(values.tobytes(), exponents)
    scores = scan(np.ascontiguousarray(packed.T), np.ascontiguousarray(offsets.T), query, layout)
    assert scores.tolist() == [
        scoring.score(row.tobytes(), offset.tobytes(), query.codes, exponents, layout)
        for row, offset in zip(packed, offsets, strict=True)
    ]


def test_extreme_codes_reach_the_bound_without_overflow() -> None:
    layout = (8192, 4096)
    packed = np.full((1, sum(layout) // 4), 255, dtype=np.uint8)
    offsets = np.full((1, 2), 15, dtype=np.uint8)
    query = QueryCode(bytes([127] * sum(layout)), (16, 0))
    [score] = scan(packed.T.copy(), offsets.T.copy(), query, layout).tolist()
    assert score == 381 * ((8192 << 31) + (4096 << 15)) <= scoring.score_bound(layout) < 1 << 62


def test_packing_is_the_chains() -> None:
    codes = np.random.default_rng(0).choice([-3, -1, 1, 3], (5, 24)).astype(np.int8)
    packed = coding.pack_codes(codes)
    assert [row.tobytes() for row in packed] == [scoring.pack_codes(row.tolist()) for row in codes]
    assert (coding.unpack_codes(packed) == codes).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_a_query_code_keeps_every_rule_and_rounds_to_the_nearest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layout = (8, 4, 12, 4)
    bases = rng.integers(-12, 12, 4).astype(np.int16)
    whitened = rng.standard_normal(28) * np.repeat(np.ldexp(1.0, rng.integers(-40, 5, 4)), layout)
    whitened[8:12] *= int(rng.integers(2))
    query = coding.encode_query(whitened, bases, layout)
    scoring.check_query(query, layout)
    assert scoring.narrow_query(query, layout) == query
    codes = np.frombuffer(query.codes, dtype=np.int8)
    steps = np.repeat(np.ldexp(1.0, np.array(query.exponents) - bases), layout)
    assert (np.abs(codes * steps - whitened) <= steps / 2).all()
    strongest = int(np.argmax(np.repeat(np.ldexp(1.0, bases), layout) * np.abs(whitened)))
    assert abs(int(codes[strongest])) >= 63 or not whitened.any()


def test_a_query_rounds_halves_to_even() -> None:
    whitened = np.array([127.0, 0.5, 1.5, -2.5])
    query = coding.encode_query(whitened, np.zeros(1, dtype=np.int16), (4,))
    assert query == QueryCode(np.array([127, 0, 2, -2], dtype=np.int8).tobytes(), (0,))
    peak = coding.encode_query(np.array([127.6, 0, 0, 0]), np.zeros(1, dtype=np.int16), (4,))
    assert peak == QueryCode(np.array([64, 0, 0, 0], dtype=np.int8).tobytes(), (1,))


def test_record_codes_follow_their_gradients_closely() -> None:
    rng = np.random.default_rng(1)
    layout = (512, 256)
    whitened = rng.standard_normal((20, 768)) * np.repeat([1.0, 300.0], layout)
    packed, exponents = coding.code_records(whitened, layout)
    bases = coding.base_exponents(exponents)
    settled, offsets = coding.offset_records(packed, exponents, bases, layout)
    assert (settled == packed).all()
    assert int(offsets.max()) == 15
    units = np.repeat(np.ldexp(1.0, bases + offsets.astype(int)), layout, axis=1)
    decoded = coding.unpack_codes(settled) * units
    for part in coding.module_slices(layout):
        a, b = decoded[:, part], whitened[:, part]
        cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        # Four levels of a normal variable, at best 0.1175 of its variance lost (Max 1960).
        assert cosines.min() > 0.9


def test_a_module_too_weak_for_its_base_is_coded_by_signs() -> None:
    whitened = np.array([[1000.0, 200.0, -900.0, 3.0], [1e-9, -4e-9, 2e-9, -1e-9]])
    packed, exponents = coding.code_records(whitened, (4,))
    bases = coding.base_exponents(exponents)
    settled, offsets = coding.offset_records(packed, exponents, bases, (4,))
    assert offsets.tolist() == [[15], [0]]
    assert coding.unpack_codes(settled)[1].tolist() == [1, -1, 1, -1]


def test_a_query_of_another_layout_is_refused() -> None:
    rng = np.random.default_rng(0)
    packed, offsets = random_records(rng, 3, (8,))
    with pytest.raises(scoring.ScoreRefusal):
        scan(packed.T.copy(), offsets.T.copy(), QueryCode(bytes(4), (0,)), (8,))
