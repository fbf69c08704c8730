"""Fractions and fixed-point numbers over integers; the rounding is in every method's name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from runtime.primitives.errors import InvariantViolation
from runtime.primitives.scale import DecodeError, Uint


class RangeError(DecodeError):
    """A fraction above one, a number beyond its width, or a division by zero.

    A DecodeError, because a stranger's bytes can hold such a number too.
    """


def div_ceil(numerator: int, denominator: int) -> int:
    """Return the quotient rounded up."""
    return -(-numerator // denominator)


@dataclass(frozen=True, slots=True, order=True)
class PerThing:
    """A fraction between 0 and 1 in `parts` of `ACCURACY`."""

    parts: Annotated[int, Uint(32)]

    ACCURACY: ClassVar[int]

    def __post_init__(self) -> None:
        if not 0 <= self.parts <= self.ACCURACY:
            raise RangeError(f"{self.parts} parts of {self.ACCURACY}")

    @classmethod
    def zero(cls) -> Self:
        """Return 0."""
        return cls(0)

    @classmethod
    def one(cls) -> Self:
        """Return 1."""
        return cls(cls.ACCURACY)

    @classmethod
    def from_percent(cls, percent: int) -> Self:
        """Return `percent` / 100, which is exact."""
        return cls(percent * (cls.ACCURACY // 100))

    @classmethod
    def from_rational_floor(cls, numerator: int, denominator: int) -> Self:
        """Return the largest fraction that does not exceed numerator / denominator."""
        return cls(numerator * cls.ACCURACY // _divisor(denominator))

    @classmethod
    def from_rational_ceil(cls, numerator: int, denominator: int) -> Self:
        """Return the smallest fraction that is not below numerator / denominator."""
        return cls(div_ceil(numerator * cls.ACCURACY, _divisor(denominator)))

    def mul_floor(self, amount: int) -> int:
        """Return the fraction of `amount` rounded down; the caller keeps the remainder."""
        return amount * self.parts // self.ACCURACY

    def mul_ceil(self, amount: int) -> int:
        """Return the fraction of `amount` rounded up; never more than `amount`."""
        return div_ceil(amount * self.parts, self.ACCURACY)

    def complement(self) -> Self:
        """Return 1 minus the fraction."""
        return type(self)(self.ACCURACY - self.parts)


@dataclass(frozen=True, slots=True, order=True)
class Permill(PerThing):
    """A fraction in parts of a million."""

    ACCURACY: ClassVar[int] = 1_000_000


@dataclass(frozen=True, slots=True, order=True)
class Perbill(PerThing):
    """A fraction in parts of a billion."""

    ACCURACY: ClassVar[int] = 1_000_000_000


@dataclass(frozen=True, slots=True, order=True)
class FixedU128:
    """A non-negative number with 18 decimals in a u128: `inner` / 10^18."""

    inner: Annotated[int, Uint(128)]

    ACCURACY: ClassVar[int] = 10**18

    def __post_init__(self) -> None:
        if not 0 <= self.inner < 1 << 128:
            raise RangeError(f"{self.inner} / 10^18 does not fit in 128 bits")

    @classmethod
    def from_int(cls, value: int) -> Self:
        """Return a whole number."""
        return cls(value * cls.ACCURACY)

    @classmethod
    def from_rational_floor(cls, numerator: int, denominator: int) -> Self:
        """Return numerator / denominator rounded down to 18 decimals."""
        return cls(numerator * cls.ACCURACY // _divisor(denominator))

    @classmethod
    def from_rational_ceil(cls, numerator: int, denominator: int) -> Self:
        """Return numerator / denominator rounded up to 18 decimals."""
        return cls(div_ceil(numerator * cls.ACCURACY, _divisor(denominator)))

    def add(self, other: Self) -> Self:
        """Return the sum; raises RangeError beyond 128 bits."""
        return type(self)(self.inner + other.inner)

    def sub(self, other: Self) -> Self:
        """Return the difference; raises RangeError below zero."""
        return type(self)(self.inner - other.inner)

    def mul_floor(self, other: Self) -> Self:
        """Return the product rounded down to 18 decimals."""
        return type(self)(self.inner * other.inner // self.ACCURACY)

    def mul_ceil(self, other: Self) -> Self:
        """Return the product rounded up to 18 decimals."""
        return type(self)(div_ceil(self.inner * other.inner, self.ACCURACY))

    def mul_int_floor(self, amount: int) -> int:
        """Return `amount` times the number, rounded down."""
        return amount * self.inner // self.ACCURACY

    def mul_int_ceil(self, amount: int) -> int:
        """Return `amount` times the number, rounded up."""
        return div_ceil(amount * self.inner, self.ACCURACY)


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Divide `total` in proportion to `weights` so that the shares sum to it exactly.

    Every share is its exact quota rounded down or up (Hamilton's method): the units that rounding
    down leaves over go one each to the largest remainders, equal remainders by position.
    A weight of zero gets nothing. Raises InvariantViolation for a negative number, or where
    nobody has a weight and there is something to divide: the caller has to decide that first.
    """
    if total < 0 or min(weights, default=0) < 0:
        raise InvariantViolation("largest_remainder divides non-negative numbers only")
    whole = sum(weights)
    if whole == 0:
        if total:
            raise InvariantViolation(f"nobody has a weight to receive a share of {total}")
        return [0] * len(weights)
    shares, remainders = [], []
    for weight in weights:
        share, remainder = divmod(total * weight, whole)
        shares.append(share)
        remainders.append(remainder)
    left_over = total - sum(shares)
    # `sorted` is stable, so equal remainders keep their order by position.
    by_remainder = sorted(range(len(weights)), key=lambda position: -remainders[position])
    for position in by_remainder[:left_over]:
        shares[position] += 1
    return shares


def _divisor(denominator: int) -> int:
    if denominator <= 0:
        raise RangeError(f"{denominator} as a denominator")
    return denominator
