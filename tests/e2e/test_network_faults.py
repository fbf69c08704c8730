"""Real validators over libp2p, killed, frozen and started again: one chain, and it goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest
import trio

from genesis.presets import UNIT
from node.client.rpc import NodeClient
from node.client.signing import from_uri
from runtime.construct import encode_call
from runtime.primitives.types import Id
from tests.e2e.block_claims import claimed, claims, leaders, position
from tests.e2e.network_world import (
    BLOCK_MS,
    SETTLING,
    Node,
    World,
    agree,
    grows,
    network,
    signs,
    wait_for_height,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
FROZEN_SECONDS = 15
STILL_SECONDS = 6
MOST_LOST = 1
"""So many views whose leader was there may pass before a healed network's next block is final."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with network(tmp_path_factory.mktemp("four"), 4) as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    """Four validators that all sign."""
    for node in shared.nodes:
        if not node.child.alive:
            shared.start(node)
    signs_everywhere(shared)
    return shared


def peers_of(node: Node) -> int:
    figures = node.figures_or_none()
    return 0 if figures is None else figures.peers


def signs_everywhere(world: World) -> None:
    wait_until(lambda: all(map(signs, world.nodes)), SETTLING, "all validators sign", world)


def tell(text: str) -> None:
    sys.stderr.write(f"\n{text}\n")


def test_four_validators_finalise_one_chain_and_all_of_them_vote(world: World) -> None:
    grows(world, world.nodes, 5)

    def all_took_part() -> bool:
        found = claims(world[0], 1, world[0].final)
        voters = set().union(*(each.voters for each in found[1:]))
        return voters == {0, 1, 2, 3} and len({each.claim.leader for each in found}) > 1

    wait_until(all_took_part, SETTLING, "all have voted, and not one leads alone", world)
    agree(world.nodes)


def test_finality_goes_on_without_one_of_four_which_rejoins_when_it_comes_back(
    world: World,
) -> None:
    others, killed = world.nodes[:3], world[3]
    killed.kill()
    grows(world, others, 5)
    world.start(killed)
    behind = max(node.final for node in others)
    seconds = wait_for_height(world, world.nodes, behind)
    signs_everywhere(world)
    assert agree(world.nodes) >= behind
    tell(f"a killed validator was back at the tip after {seconds:.1f} s")


def test_a_bootnode_that_was_killed_is_found_again(world: World) -> None:
    world[0].kill()
    grows(world, world.nodes[1:], 3)
    world.start(world[0])
    wait_until(lambda: peers_of(world[0]) == 3, SETTLING, "the bootnode has three peers", world)
    grows(world, world.nodes, 3)
    agree(world.nodes)


def test_a_validator_that_was_frozen_for_a_while_catches_up(world: World) -> None:
    others, frozen = world.nodes[:3], world[3]
    frozen.freeze()
    until = time.monotonic() + FROZEN_SECONDS
    grows(world, others, 5)
    time.sleep(max(0.0, until - time.monotonic()))
    frozen.thaw()
    behind = max(node.final for node in others)
    seconds = wait_for_height(world, world.nodes, behind)
    signs_everywhere(world)
    agree(world.nodes)
    tell(f"a thawed validator was back at the tip after {seconds:.1f} s")


def test_without_a_quorum_nothing_is_final_and_with_it_again_the_next_view_is(
    world: World,
) -> None:
    left, killed = world.nodes[:2], world.nodes[2:]
    for node in killed:
        node.kill()
    # What the killed had sent is taken before their end is.
    wait_until(lambda: all(peers_of(node) == 1 for node in left), SETTLING, "two are gone", world)
    time.sleep(2 * BLOCK_MS / 1000)
    stopped = max(node.final for node in left)
    time.sleep(STILL_SECONDS)
    assert max(node.final for node in left) <= stopped + 1, world.tell()
    stopped = max(node.final for node in left)
    last = max((claimed(node, stopped).claim for node in left), key=lambda c: (c.epoch, c.view))
    for node in killed:
        world.start(node)
    back = wait_until(
        lambda: all(peers_of(node) == len(world.nodes) - 1 for node in world.nodes),
        SETTLING,
        "all are back",
        world,
    )
    # While they start, they take the processor from those that lead.
    places = [(f.epoch or 0, f.view or 0) for f in (node.figures() for node in left)]
    epoch, view = max([(last.epoch, last.view), *places])
    seconds = back + wait_for_height(world, world.nodes, stopped + 1)
    claim = claimed(world[0], stopped + 1).claim
    first = view + 1 if claim.epoch == epoch else 1
    passed = range(first, claim.view if claim.epoch >= epoch else first)
    tell(f"{stopped + 1} was final {seconds:.1f} s after the restart, {len(passed)} views passed")
    there = {position(world, world.nodes.index(node)) for node in left}
    lost = leaders(world[0], world.spec, claim.epoch, passed)
    assert sum(leader in there for leader in lost) <= MOST_LOST, (
        f"stalled in view {view}, went on in {claim.view}; {lost} led in between"
    )
    signs_everywhere(world)
    grows(world, world.nodes, 3)
    agree(world.nodes)


def test_all_validators_killed_at_once_go_on_where_they_were(world: World) -> None:
    height = agree(world.nodes)
    known = world[0].hash(height)
    for node in world.nodes:
        node.kill()
    for node in world.nodes:
        world.start(node)
    seconds = wait_for_height(world, world.nodes, height + 3)
    signs_everywhere(world)
    assert {node.hash(height) for node in world.nodes} == {known}
    agree(world.nodes)
    tell(f"all were killed; three more blocks were final {seconds:.1f} s after their start")


@pytest.mark.parametrize("mode", ["full", "snapshot"])
def test_a_fresh_node_gets_the_chain_while_blocks_are_made(world: World, mode: str) -> None:
    node = world.add(f"follower-{mode}")
    world.start(node, "--sync", mode)
    try:
        behind = world[0].final
        seconds = wait_for_height(world, [node], behind)
        grows(world, [*world.nodes], 3)
        wait_until(
            lambda: all(node.hash(number) for number in range(behind)),
            SETTLING,
            "all blocks",
            world,
        )
        assert agree(world.nodes) >= behind
        assert node.figures().signing is False
        tell(f"{behind} blocks came by --sync {mode} in {seconds:.1f} s")
    finally:
        node.stop()
        world.nodes.remove(node)


def test_a_transfer_that_one_node_takes_stands_in_a_block_of_another(world: World) -> None:
    own = position(world, 0)
    bob = from_uri("//Bob").account_id
    found = trio.run(_transfers_until_led_by_another, world[0].member.url, bob, own, world)
    assert found
    grows(world, world.nodes, 1)
    keys = {node.name: trio.run(_free, node.member.url, bob) for node in world.nodes}
    assert len(set(keys.values())) == 1, keys
    agree(world.nodes)


async def _transfers_until_led_by_another(url: str, to: bytes, own: int, world: World) -> bool:
    call = encode_call("Balances", "transfer_keep_alive", dest=Id(to), value=UNIT)
    async with NodeClient.connect(url) as client:
        for _ in range(10):
            included = await client.submit(call, from_uri("//Alice"))
            assert included.block_hash is not None
            header = await client.header(included.block_hash)
            assert header is not None
            if claimed(world[0], header.number).claim.leader != own:
                return True
    return False


async def _free(url: str, account: bytes) -> int:
    async with NodeClient.connect(url) as client:
        info = await client.storage("System", "Account", account, at=await client.finalized_head())
        free: int = info.data.free
        return free
