from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.primitives.errors import InvariantViolation
from runtime.primitives.fixed_point import (
    FixedU128,
    Perbill,
    Permill,
    RangeError,
    largest_remainder,
)
from runtime.primitives.scale import DecodeError, decode, encode

amounts = st.integers(0, 2**128 - 1)
positive = st.integers(1, 2**128 - 1)
perbills = st.builds(Perbill, st.integers(0, 10**9))
fixed = st.builds(FixedU128, st.integers(0, 2**90))


@given(perbills, amounts)
def test_rounding_down_and_up_enclose_the_exact_product(ratio, amount):
    exact = Fraction(ratio.parts, 10**9) * amount
    assert ratio.mul_floor(amount) <= exact <= ratio.mul_ceil(amount)
    assert ratio.mul_ceil(amount) - ratio.mul_floor(amount) == (exact.denominator != 1)
    assert ratio.mul_ceil(amount) <= amount


@given(perbills, amounts)
def test_a_fraction_and_its_complement_share_out_everything(ratio, amount):
    assert ratio.mul_floor(amount) + ratio.complement().mul_ceil(amount) == amount


@given(amounts, positive)
def test_from_rational_is_the_nearest_fraction_on_the_named_side(numerator, denominator):
    numerator %= denominator + 1
    exact = Fraction(numerator, denominator)
    below = Permill.from_rational_floor(numerator, denominator)
    above = Permill.from_rational_ceil(numerator, denominator)
    assert Fraction(below.parts, 10**6) <= exact <= Fraction(above.parts, 10**6)
    assert above.parts - below.parts == ((exact * 10**6).denominator != 1)


@given(fixed, fixed)
def test_products_of_fixed_point_numbers_round_as_named(a, b):
    exact = Fraction(a.inner, 10**18) * Fraction(b.inner, 10**18)
    assert Fraction(a.mul_floor(b).inner, 10**18) <= exact <= Fraction(a.mul_ceil(b).inner, 10**18)
    assert a.mul_ceil(b).inner - a.mul_floor(b).inner <= 1
    assert a.mul_floor(b) == b.mul_floor(a)


@given(fixed, amounts)
def test_products_with_an_amount_round_as_named(number, amount):
    exact = Fraction(number.inner, 10**18) * amount
    assert number.mul_int_floor(amount) <= exact <= number.mul_int_ceil(amount)
    assert number.mul_int_ceil(amount) - number.mul_int_floor(amount) <= 1


@given(fixed, fixed)
def test_subtraction_undoes_addition(a, b):
    assert a.add(b).sub(b) == a


def test_named_values():
    assert Perbill.one() == Perbill.from_percent(100) == Perbill.zero().complement()
    assert Permill.from_percent(25).mul_floor(1001) == 250
    assert Permill.from_percent(25).mul_ceil(1001) == 251
    assert FixedU128.from_int(3) == FixedU128.from_rational_floor(6, 2)
    assert FixedU128.from_rational_floor(1, 3).inner == 333333333333333333
    assert FixedU128.from_rational_ceil(1, 3).inner == 333333333333333334
    assert Perbill(1) < Perbill(2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Perbill(10**9 + 1),
        lambda: Permill(-1),
        lambda: Perbill.from_percent(101),
        lambda: Permill.from_rational_ceil(3, 2),
        lambda: Permill.from_rational_floor(1, 0),
        lambda: FixedU128(2**128),
        lambda: FixedU128(0).sub(FixedU128(1)),
        lambda: FixedU128.from_rational_floor(1, 0),
    ],
)
def test_what_does_not_fit_is_refused(make):
    with pytest.raises(RangeError):
        make()


def test_a_fraction_above_one_is_not_decoded():
    assert decode(Permill, encode(Permill, Permill(10**6))) == Permill.one()
    with pytest.raises(DecodeError):
        decode(Permill, (10**6 + 1).to_bytes(4, "little"))


@given(amounts, st.lists(st.integers(0, 2**128), min_size=1).filter(any))
def test_shares_sum_to_the_total_and_miss_their_quota_by_less_than_one(total, weights):
    shares = largest_remainder(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - Fraction(total * weight, sum(weights))) < 1


@given(st.integers(0, 1000), st.lists(st.integers(0, 50), min_size=1).filter(any))
def test_the_units_left_over_go_to_the_largest_remainders_first_come_first(total, weights):
    shares = largest_remainder(total, weights)
    whole = sum(weights)
    order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    favoured = [shares[i] - total * weights[i] // whole for i in order]
    assert favoured == sorted(favoured, reverse=True)


@given(st.integers(0, 1000), st.lists(st.integers(0, 50), min_size=1).filter(any))
def test_a_larger_weight_never_gets_less(total, weights):
    shares = sorted(zip(weights, largest_remainder(total, weights), strict=True))
    for (weight, share), (next_weight, next_share) in pairwise(shares):
        assert share <= next_share or weight == next_weight
        assert weight or not share


def test_equal_remainders_are_served_by_position():
    assert largest_remainder(2, [1, 1, 1]) == [1, 1, 0]
    assert largest_remainder(10, [0, 3, 3, 3]) == [0, 4, 3, 3]


def test_nobody_with_a_weight_is_the_callers_to_decide():
    assert largest_remainder(0, [0, 0]) == [0, 0]
    assert largest_remainder(0, []) == []
    for total, weights in ((1, [0, 0]), (1, []), (-1, [1]), (1, [2, -1])):
        with pytest.raises(InvariantViolation):
            largest_remainder(total, weights)
