"""Random worlds: nothing of I1 to I12 breaks, and after the heal everybody gets on (L1, L2)."""

from __future__ import annotations

import pytest

from tests.simulation.actors import ACTORS
from tests.simulation.attempt import attempt
from tests.simulation.draw import draw
from tests.simulation.scenario import play

CHUNK = 25


@pytest.mark.parametrize("first", range(0, 12 * CHUNK, CHUNK))
def test_random_scenarios_keep_every_invariant_and_recover(first: int) -> None:
    outcomes = [attempt(seed, tuple(ACTORS)) for seed in range(first, first + CHUNK)]
    assert [(o.seed, o.problem) for o in outcomes if o.problem is not None] == []
    assert sum(o.blocks for o in outcomes) > 5 * CHUNK
    assert sum(o.epochs for o in outcomes) > CHUNK


@pytest.mark.parametrize("first", range(100_000, 100_000 + 4 * CHUNK, CHUNK))
def test_random_scenarios_of_honest_validators_keep_every_invariant(first: int) -> None:
    outcomes = [attempt(seed, ()) for seed in range(first, first + CHUNK)]
    assert [(o.seed, o.problem) for o in outcomes if o.problem is not None] == []


@pytest.mark.parametrize("first", range(0, 40, 20))
def test_dozens_of_crashes_break_nothing(first: int) -> None:
    seeds = range(first, first + 20)
    outcomes = [attempt(seed, tuple(ACTORS), hostile=True) for seed in seeds]
    assert [(o.seed, o.problem) for o in outcomes if o.problem is not None] == []


@pytest.mark.parametrize("seed", range(3))
def test_scenarios_with_the_real_signatures_and_proofs_hold(seed: int) -> None:
    scenario = draw(seed + 200, ("equivocator", "nuller", "mutating_disrupter"))
    scenario.real_keys = True
    outcome = play(scenario)
    assert outcome.problem is None


def test_a_hundred_validators_with_a_third_of_byzantine_stake_finalize() -> None:
    scenario = draw(7, ())
    names = tuple(ACTORS)
    scenario.stakes = tuple(1 + i % 3 for i in range(100))
    scenario.outsiders, scenario.faults, scenario.cuts, scenario.late = 0, (), (), {}
    scenario.hardware, scenario.heal, scenario.length = (), 300, 1_000
    scenario.rotating = False
    evil = 0
    for index in range(0, 100, 3):
        if 3 * (evil + scenario.stakes[index]) < sum(scenario.stakes) and index < 45:
            scenario.byzantine[index] = names[index % len(names)]
            evil += scenario.stakes[index]
    scenario.finals = 1
    assert play(scenario).problem is None
