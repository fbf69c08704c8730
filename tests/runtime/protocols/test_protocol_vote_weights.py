"""Votes weigh as stakes do, and with many validators nobody weighs more than a tenth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.protocols.vote_weights import CAPPED_FROM, MAX_WEIGHT, UNIT, vote_cap, vote_weights

skewed = st.lists(
    st.one_of(st.integers(1, 30), st.integers(1, 2000)), min_size=CAPPED_FROM, max_size=40
)
stakes = st.lists(st.integers(1, 10**28), min_size=1, max_size=100)


def fits(cap: int, weights: list[int]) -> bool:
    return cap <= sum(min(w, cap) for w in weights) // 10


@given(skewed)
def test_the_cap_is_the_largest_number_that_its_definition_admits(weights: list[int]) -> None:
    admitted = [c for c in range(sum(weights) + 2) if fits(c, weights)]
    assert vote_cap(weights) == max(admitted)


@given(st.lists(st.integers(1, MAX_WEIGHT), min_size=CAPPED_FROM, max_size=100))
def test_the_cap_fits_and_one_more_does_not_however_large_weights_are(weights: list[int]) -> None:
    cap = vote_cap(weights)
    assert fits(cap, weights)
    assert not fits(cap + 1, weights)


@given(stakes)
def test_with_many_validators_nobody_weighs_more_than_a_tenth(stakes: list[int]) -> None:
    weights = vote_weights(stakes)
    assert len(weights) == len(stakes)
    assert all(1 <= w <= max(1, s // UNIT) for w, s in zip(weights, stakes, strict=True))
    if len(stakes) >= CAPPED_FROM:
        assert max(weights) <= sum(weights) // 10


@given(stakes)
def test_who_has_more_stake_never_weighs_less(stakes: list[int]) -> None:
    weights = vote_weights(sorted(stakes))
    assert list(weights) == sorted(weights)


def test_one_giant_among_fifteen_weighs_a_tenth() -> None:
    assert vote_weights([10**27] + [9 * UNIT] * 14) == (14,) + (9,) * 14  # 14 of 140
    assert vote_weights([10**27] + [9 * UNIT] * 13) == (10**18,) + (9,) * 13


@pytest.mark.parametrize(
    ("stake", "weight"),
    [(0, 1), (UNIT - 1, 1), (UNIT, 1), (2 * UNIT - 1, 1), (2 * UNIT, 2), (1 << 127, MAX_WEIGHT)],
)
def test_a_weight_is_whole_units_of_stake_and_at_least_one(stake: int, weight: int) -> None:
    assert vote_weights([stake]) == (weight,)
