"""Amounts of OPEN are exact in both directions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli.amounts import MAX_PLANCK, AmountReason, AmountRefusal, format_open, parse_open


@pytest.mark.parametrize(
    ("text", "planck"),
    [
        ("0", 0),
        ("12.5", 12_500_000_000_000_000_000),
        ("0.000000000000000001", 1),
        ("1.10", 1_100_000_000_000_000_000),
        ("007", 7 * 10**18),
        ("0.1000000000000000000000", 10**17),
        ("123456789.123456789123456789", 123456789123456789123456789),
    ],
)
def test_an_amount_is_read_to_the_last_planck(text: str, planck: int) -> None:
    assert parse_open(text) == planck


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", AmountReason.MALFORMED),
        (".5", AmountReason.MALFORMED),
        ("5.", AmountReason.MALFORMED),
        ("-1", AmountReason.MALFORMED),
        ("+1", AmountReason.MALFORMED),
        ("1e18", AmountReason.MALFORMED),
        ("1,5", AmountReason.MALFORMED),
        ("1_000", AmountReason.MALFORMED),
        ("nan", AmountReason.MALFORMED),
        ("١٢", AmountReason.MALFORMED),
        ("1 ", AmountReason.MALFORMED),
        ("1\n", AmountReason.MALFORMED),
        ("0.0000000000000000001", AmountReason.TOO_FINE),
        ("9" * 40, AmountReason.TOO_LARGE),
        ("9" * 41, AmountReason.MALFORMED),
    ],
)
def test_what_is_no_amount_is_refused_by_name(text: str, reason: AmountReason) -> None:
    with pytest.raises(AmountRefusal) as refused:
        parse_open(text)
    assert refused.value.reason is reason
    assert repr(text) in str(refused.value)


@given(st.integers(0, MAX_PLANCK))
def test_what_is_written_is_read_back(planck: int) -> None:
    assert parse_open(format_open(planck)) == planck


@given(st.text(max_size=50))
def test_no_text_is_anything_but_an_amount_or_a_refusal(text: str) -> None:
    try:
        planck = parse_open(text)
    except AmountRefusal:
        return
    assert 0 <= planck <= MAX_PLANCK
