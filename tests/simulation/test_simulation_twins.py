"""Two programs with one key, and scripts of who hears whom: no fork, and progress afterwards."""

from __future__ import annotations

import pytest

from runtime.primitives.leaders import leader_of
from tests.simulation.twins import draw_script, entropy_for, play_twins

CHUNK = 20


@pytest.mark.parametrize("first", range(0, 4 * CHUNK, CHUNK))
def test_twins_cannot_fork_the_chain_or_stop_it(first: int) -> None:
    outcomes = [play_twins(draw_script(seed)) for seed in range(first, first + CHUNK)]
    assert [(o.seed, o.problem) for o in outcomes if o.problem is not None] == []
    assert min(o.blocks for o in outcomes) >= 3


@pytest.mark.parametrize("seed", range(3))
def test_twins_among_seven_validators_cannot_fork_the_chain(seed: int) -> None:
    assert play_twins(draw_script(seed, size=7)).problem is None


def test_a_script_is_led_as_it_says() -> None:
    seed = entropy_for((3, 1, 0, 3), (1, 1, 1, 1))
    assert [leader_of(seed, view, (1, 1, 1, 1)) for view in range(1, 5)] == [3, 1, 0, 3]
