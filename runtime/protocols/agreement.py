"""Whether two query codes are the same up to the numeric noise of their engines; integers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul, sub

from runtime.primitives.scale import U8, U32
from runtime.protocols.report import QueryCode
from runtime.protocols.scoring import check_query, signed_codes, split

MAX_EXPONENT_DIFFERENCE = 1


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two engines of a class may differ.

    `cosine_squared` is the least squared cosine in parts per million, `code` the largest difference
    of two codes, counted in steps of the coarser of the two exponents.
    """

    cosine_squared: U32
    code: U8


FP32 = Tolerance(cosine_squared=998_001, code=2)
"""cos ≥ 0.999"""
BF16 = Tolerance(cosine_squared=996_004, code=6)
"""cos ≥ 0.998"""


def agree(
    a_codes: bytes,
    a_exponents: Sequence[int],
    b_codes: bytes,
    b_exponents: Sequence[int],
    layout: Sequence[int],
    tolerance: Tolerance,
) -> bool:
    """Tell whether two queries agree; symmetric.

    A module's exponents may differ by one, unless one side's codes of it are all zero: a zero has
    no exponent. All values are then brought to the smallest exponent of both queries, and
    ``dot > 0`` and ``10⁶·dot² ≥ cosine_squared·|a|²·|b|²`` are asked of them. Two queries of zeros
    agree.

    Raises:
        ScoreRefusal: BAD_LAYOUT, BAD_QUERY or BAD_SPREAD, of either query.
    """
    check_query(QueryCode(a_codes, tuple(a_exponents)), layout)
    check_query(QueryCode(b_codes, tuple(b_exponents)), layout)
    base = min(min(a_exponents), min(b_exponents))
    dot = a_norm = b_norm = 0
    modules = zip(
        split(signed_codes(a_codes), layout),
        a_exponents,
        split(signed_codes(b_codes), layout),
        b_exponents,
        strict=True,
    )
    for a, a_exponent, b, b_exponent in modules:
        a_exponent, b_exponent = _common(a, a_exponent, b, b_exponent)
        if abs(a_exponent - b_exponent) > MAX_EXPONENT_DIFFERENCE:
            return False
        if not _close(a, a_exponent, b, b_exponent, tolerance.code):
            return False
        a_shift, b_shift = a_exponent - base, b_exponent - base
        dot += sum(map(mul, a, b)) << a_shift + b_shift
        a_norm += sum(map(mul, a, a)) << 2 * a_shift
        b_norm += sum(map(mul, b, b)) << 2 * b_shift
    if a_norm == b_norm == 0:
        return True
    return dot > 0 and 10**6 * dot * dot >= tolerance.cosine_squared * a_norm * b_norm


def _common(
    a: Sequence[int], a_exponent: int, b: Sequence[int], b_exponent: int
) -> tuple[int, int]:
    """Give a side of zeros the other side's exponent."""
    if not any(a):
        return b_exponent, b_exponent
    if not any(b):
        return a_exponent, a_exponent
    return a_exponent, b_exponent


def _close(
    a: Sequence[int], a_exponent: int, b: Sequence[int], b_exponent: int, steps: int
) -> bool:
    least = min(a_exponent, b_exponent)
    a_shift, b_shift = a_exponent - least, b_exponent - least
    if a_shift:
        a = [x << a_shift for x in a]
    if b_shift:
        b = [y << b_shift for y in b]
    widest: int = max(map(abs, map(sub, a, b)))
    return widest <= steps << max(a_shift, b_shift)
