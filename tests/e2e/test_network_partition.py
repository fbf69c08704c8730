"""A network that falls into parts: at most one of them goes on, and all agree when it heals."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.e2e.block_claims import claimed
from tests.e2e.network_world import (
    SETTLING,
    World,
    agree,
    check_logs,
    grows,
    signs,
    wait_for_height,
    wait_until,
)
from tests.e2e.split_network import split_network

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PARTED_SECONDS = 12


def heights(world: World) -> list[int]:
    return [node.final for node in world.nodes]


def test_halves_stand_still_a_majority_goes_on_and_all_agree_when_it_heals(tmp_path: Path) -> None:
    with split_network(tmp_path / "net", 4) as (world, switches):
        wait_for_height(world, world.nodes, 5)
        switches.part([2, 3])
        time.sleep(1.0)
        before = heights(world)
        time.sleep(PARTED_SECONDS)
        assert max(heights(world)) <= max(before) + 1, "half of the validators finalise"
        stopped = max(heights(world))
        views = [(f.epoch or 0, f.view or 0) for f in (node.figures() for node in world.nodes)]
        switches.join([2, 3])
        healed = wait_for_height(world, world.nodes, stopped + 1)
        claim = claimed(world[0], stopped + 1).claim
        sys.stderr.write(
            f"\nhalves: parted in views {views}; block {stopped + 1} of view {claim.view} was "
            f"final {healed:.1f} s after the two met again\n"
        )
        grows(world, world.nodes, 5)
        agree(world.nodes)
        switches.part([3])
        grows(world, world.nodes[:3], 10)
        alone = world[3].final
        assert max(heights(world)[:3]) >= alone + 5
        switches.join([3])
        behind = max(heights(world))
        seconds = wait_for_height(world, world.nodes, behind)
        sys.stderr.write(f"the one that was alone was back after {seconds:.1f} s\n")
        wait_until(lambda: all(map(signs, world.nodes)), SETTLING, "all sign", world)
        grows(world, world.nodes, 5)
        agree(world.nodes)
    check_logs(world)
