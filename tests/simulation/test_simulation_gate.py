"""The engine's own gate and log files under the simulator's crashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.crypto import RealKey
from tests.simulation.draw import draw
from tests.simulation.gated import GatedNode
from tests.simulation.scenario import Scenario, build, conclude, launch
from tests.simulation.world import World


def _gated(scenario: Scenario, folder: Path) -> World:
    """Build the world of a scenario; honest members get the real gate."""
    scenario.real_keys = True
    world = build(scenario)
    for index, node in enumerate(world.nodes):
        if isinstance(node.key, RealKey) and not node.byzantine:
            path = folder / f"{scenario.seed}-{index}"
            hardware = node.hardware
            world.nodes[index] = GatedNode(world, index, node.key, scenario.pace, hardware, path)
    return launch(world, scenario)


@pytest.mark.parametrize("first", [0, 10, 20])
def test_random_crashes_never_have_the_real_gate_sign_against_its_files(
    first: int, tmp_path: Path
) -> None:
    problems, torn = [], 0
    for seed in range(first, first + 10):
        scenario = draw(seed, ("equivocator", "nuller", "withholder"))
        world = _gated(scenario, tmp_path)
        problems.append((seed, conclude(world, scenario)))
        torn += sum(node.torn for node in world.nodes if isinstance(node, GatedNode))
    assert [(seed, p) for seed, p in problems if p is not None] == []
    assert torn
