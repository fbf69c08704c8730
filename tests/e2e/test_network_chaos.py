"""Validators are killed, frozen and started again at random moments: one chain, and it goes on."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.network_world import SETTLING, World, agree, grows, network, signs, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SECONDS = float(os.environ.get("OPENLEDGER_CHAOS_SECONDS", "25"))
SEEDS = [int(seed) for seed in os.environ.get("OPENLEDGER_CHAOS_SEEDS", "1").split(",")]

SHORT_EPOCH = 6
"""Many of the bad moments are then at the end of an epoch."""


def disturb(world: World, dice: random.Random) -> None:
    """Do one bad thing, and help whoever suffers from an earlier one for a while."""
    frozen: dict[str, float] = {}
    until = time.monotonic() + SECONDS
    told: list[str] = []
    while time.monotonic() < until:
        node = dice.choice(world.nodes)
        what = dice.choices(("kill", "freeze", "stop", "all"), (5, 4, 3, 1))[0]
        told.append(f"{what} {node.name}")
        if what == "all":
            for each in world.nodes:
                each.kill()
        elif what == "freeze":
            node.freeze()
            frozen[node.name] = time.monotonic() + dice.uniform(0.5, 9)
        elif what == "stop":
            node.thaw()
            node.child.stop()
            node.child.wait(SETTLING)  # one that ends later would not be started again
        else:
            node.kill()
        time.sleep(dice.uniform(0.3, 5))
        help_up(world, frozen, dice)
    for node in world.nodes:
        node.thaw()
        if not node.child.alive:
            world.start(node)
    sys.stderr.write(f"\n{', '.join(told)}\n")


def help_up(world: World, frozen: dict[str, float], dice: random.Random) -> None:
    for node in world.nodes:
        if frozen.get(node.name, 0.0) < time.monotonic():
            node.thaw()
        if not node.child.alive and dice.random() < 0.8:
            world.start(node)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_to_four_validators_they_agree_and_go_on(
    tmp_path: Path, seed: int
) -> None:
    with network(tmp_path / "net", 4, epoch_length=SHORT_EPOCH) as world:
        disturb(world, random.Random(seed))
        healed = grows(world, world.nodes, 3)
        signing = wait_until(lambda: all(map(signs, world.nodes)), SETTLING, "all sign", world)
        grows(world, world.nodes, 3)
        height = agree(world.nodes)
        for node in world.nodes:
            assert "contradicted itself" not in node.log
        sys.stderr.write(
            f"seed {seed}: height {height}; blocks at all after {healed:.1f} s, all sign after "
            f"{signing:.1f} s more\n"
        )
