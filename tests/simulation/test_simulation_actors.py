"""Each byzantine behaviour on its own: harmless, and named where it signs against itself."""

from __future__ import annotations

import pytest

from consensus.core.actions import Fault
from tests.simulation.actors import ACTORS
from tests.simulation.links import Quality
from tests.simulation.oracle import Oracle
from tests.simulation.scenario import Scenario, build, check_end, launch, progressed

PROVABLE = {
    "equivocator": {1},
    "conflicter": {1, 2, 4},
    "nuller": {3},
    "double_boundary": {1},
}
"""Which evidence (E1 to E4) a behaviour must leave with somebody."""
NOTICED = {
    "impersonator": Fault.BAD_SIGNATURE,
    "certificate_spammer": Fault.BAD_CERTIFICATE,
    "mutating_disrupter": Fault.BAD_SIGNATURE,
}


def _played(actor: str, stakes: tuple[int, ...], bad: tuple[int, ...], seed: int) -> Oracle:
    scenario = Scenario(
        seed=seed,
        stakes=stakes,
        length=4,
        byzantine=dict.fromkeys(bad, actor),
        heal=1_500,
        rough=Quality(10, 30, loss=30),
    )
    world = launch(build(scenario), scenario)
    honest = [node for node in world.nodes if not node.byzantine]
    assert world.run(400_000, progressed(world, honest, 10)), f"no progress, seed {seed}"
    check_end(world, scenario)
    return world.oracle


@pytest.mark.parametrize("actor", ACTORS)
def test_one_actor_of_four_stops_nothing_and_frames_nobody(actor: str) -> None:
    kinds: set[int] = set()
    penalties: set[Fault] = set()
    for seed in range(4):
        oracle = _played(actor, (1, 1, 1, 1), (seed,), seed)
        kinds |= {kind for _, kind in oracle.kinds}
        penalties |= {fault for _, fault in oracle.penalties}
    assert kinds >= PROVABLE.get(actor, set())
    if actor in NOTICED:
        assert NOTICED[actor] in penalties


@pytest.mark.parametrize("actor", ACTORS)
def test_actors_with_nearly_a_third_of_the_stake_stop_nothing(actor: str) -> None:
    _played(actor, (4, 3, 3, 3, 3, 2, 1), (0, 5), 11)


def test_validators_without_malice_leave_no_evidence() -> None:
    oracle = _played("silent", (1, 1, 1, 1), (2,), 5)
    assert not oracle.guilty
    assert not oracle.penalties
