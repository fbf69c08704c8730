"""What the simulated network does that no real one can be told to."""

from __future__ import annotations

import trio
import trio.testing

from node.network.interface import Channel, MessageReceived, PeerJoined, PeerLeft
from node.network.simulated import Conditions, Ether, SimulatedNetwork

Trace = list[tuple[str, float, str]]


async def watch(node: SimulatedNetwork, trace: Trace) -> None:
    while True:
        event = await node.next_event()
        text = {
            PeerJoined: lambda e: f"joined {e.peer.id}",
            PeerLeft: lambda e: f"left {e.peer}",
            MessageReceived: lambda e: f"{e.data.decode()} of {e.peer} by {e.relayed_by}",
        }[type(event)](event)
        trace.append((node.id, round(trio.current_time(), 6), text))


async def play(seed: int, conditions: Conditions, script: str = "abc") -> Trace:
    trace: Trace = []
    async with trio.open_nursery() as nursery:
        ether = Ether(seed, conditions)
        await nursery.start(ether.run)
        nodes = {name: ether.node(name) for name in script}
        for node in nodes.values():
            await nursery.start(node.run)
            nursery.start_soon(watch, node, trace)
        for i in range(20):
            nodes["a"].broadcast(Channel.VOTES, b"v%d" % i)
            await trio.sleep(0.1)
        ether.partition("a")
        nodes["a"].broadcast(Channel.VOTES, b"lost")
        await trio.sleep(1)
        ether.heal()
        ether.cut("a", "c")
        nodes["a"].broadcast(Channel.VOTES, b"relayed")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return trace


def run(seed: int, conditions: Conditions) -> Trace:
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(play, seed, conditions, clock=clock)


def test_the_same_seed_gives_the_same_deliveries() -> None:
    conditions = Conditions(loss=0.2, duplication=0.2)
    assert sorted(run(7, conditions)) == sorted(run(7, conditions))
    assert sorted(run(7, conditions)) != sorted(run(8, conditions))


def test_a_partition_parts_and_a_cut_is_bridged_by_gossip() -> None:
    said = [(name, text) for name, _, text in run(1, Conditions())]
    assert ("b", "left a") in said
    assert ("b", "lost of a by None") not in said
    assert ("b", "relayed of a by None") in said
    assert ("c", "relayed of a by b") in said
    assert said.count(("b", "joined a")) == 2


def test_loss_loses_about_its_share() -> None:
    heard = [t for _, _, t in run(3, Conditions(loss=0.5)) if t.startswith("v")]
    assert 8 <= len(heard) <= 32
    assert len([t for _, _, t in run(3, Conditions()) if t.startswith("v")]) == 40
