"""The costs that the protocol promises, and bounds that hold for long and in a stall (I13)."""

from __future__ import annotations

import pytest

from tests.simulation.figures import soak, stalled, unpaced


@pytest.mark.parametrize(("validators", "blocks"), [(4, 20), (10, 10), (31, 5), (100, 2)])
def test_a_block_takes_two_delays_and_finality_three(validators: int, blocks: int) -> None:
    found = unpaced(validators, blocks)
    assert (found.interval, found.finality) == (2.0, 3.0)
    assert found.messages_per_view < 4 * validators * validators


def test_stalled_validators_keep_and_send_no_more_with_time() -> None:
    found = stalled(600)
    assert found.entries_at_the_end == found.entries_in_the_middle
    assert found.bytes_per_second < 20_000


def test_a_node_keeps_no_more_after_an_hour_than_after_a_quarter() -> None:
    samples = soak(1.0, samples=4, length=150, interval=4_000)
    assert samples[-1].block > 800
    assert samples[-1].entries < 2 * samples[0].entries
    assert samples[-1].records < 2 * 3 * 150
