"""A validator whose disk is an old copy: it may have signed what it does not know of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.block_claims import claims, position
from tests.e2e.network_world import (
    SETTLING,
    Node,
    World,
    agree,
    copy_disk,
    grows,
    network,
    restore_disk,
    signs,
    wait_for_height,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
LONG_EPOCH = 600
EPOCH, SHORT_EPOCH = 25, 12
OBSERVES = "this validator only observes"
STOPPED = "signing stopped: something else may sign with this key"


def no_evidence(world: World) -> None:
    for node in world.nodes:
        assert "contradicted itself" not in node.log, f"{node.name}:\n{node.log[-4000:]}"


def go_back(world: World, node: Node, copy: Path, blocks: int) -> None:
    """Copy a validator's disk, let it sign so many blocks more, put the copy back, start it."""
    node.stop()
    copy_disk(node, copy)
    world.start(node)
    wait_until(lambda: signs(node), SETTLING, "it signs", world)
    grows(world, world.nodes, blocks)
    node.kill()
    grows(world, [other for other in world.nodes if other is not node], 2)
    restore_disk(node, copy)
    world.start(node)


def epochs_observed(node: Node) -> list[int]:
    return [int(epoch) for epoch in re.findall(rf"{OBSERVES} epoch=(\d+)", node.log)]


def test_in_a_later_epoch_an_old_copy_observes_until_the_next_epoch(tmp_path: Path) -> None:
    with network(tmp_path / "net", 4, epoch_length=SHORT_EPOCH) as world:
        restored, others = world[3], world.nodes[:3]
        go_back(world, restored, tmp_path / "copy", SHORT_EPOCH + 3)
        first = max(node.final for node in others) + 1
        wait_until(lambda: bool(epochs_observed(restored)), SETTLING, "it observes", world)
        wait_until(lambda: signs(restored), SETTLING, "it signs again in the next epoch", world)
        place, observed = position(world, 3), max(epochs_observed(restored))

        def votes_again() -> bool:
            later = claims(world[0], first, world[0].final)
            return any(place in found.voters for found in later if found.claim.epoch > observed)

        wait_until(votes_again, SETTLING, "its vote stands in a block", world)
        grows(world, world.nodes, 4)
        later = claims(world[0], first, agree(world.nodes))
        before = [found for found in later if found.claim.epoch <= observed]
        assert before
        assert not any(place in found.voters for found in before)
        no_evidence(world)


def test_in_the_same_epoch_an_old_copy_is_told_of_its_votes_and_signs_no_more(
    tmp_path: Path,
) -> None:
    with network(tmp_path / "net", 4, epoch_length=LONG_EPOCH) as world:
        restored, others = world[3], world.nodes[:3]
        go_back(world, restored, tmp_path / "copy", 8)
        first = max(node.final for node in others) + 1
        wait_until(lambda: STOPPED in restored.log, SETTLING, "it stops", world)
        wait_for_height(world, [restored], first)
        grows(world, world.nodes, 8)
        assert not signs(restored)
        place, height = position(world, 3), agree(world.nodes)
        assert not any(place in found.voters for found in claims(world[0], first, height))
        no_evidence(world)


def test_a_validator_whose_log_is_gone_observes_its_epoch(tmp_path: Path) -> None:
    with network(tmp_path / "net", 4, epoch_length=EPOCH) as world:
        lost = world[3]
        lost.stop()
        for log in lost.member.folder.rglob("epoch-*.log"):
            log.unlink()
        world.start(lost)
        wait_until(lambda: OBSERVES in lost.log, SETTLING, "it observes", world)
        wait_until(lambda: lost.final > 3, SETTLING, "it follows", world)
        figures = lost.figures()
        observed = max(epochs_observed(lost))
        assert not figures.signing or (figures.epoch or 0) > observed
        wait_until(lambda: signs(lost), SETTLING, "it signs again in the next epoch", world)
        grows(world, world.nodes, 3)
        agree(world.nodes)
        no_evidence(world)
