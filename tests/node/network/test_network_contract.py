"""What holds of every network, over libp2p and simulated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from network_nodes import Street, until

from node.network.interface import (
    Channel,
    FailReason,
    MessageReceived,
    Network,
    NetworkEvent,
    Offence,
    PeerJoined,
    PeerLeft,
    RequestFailed,
    RequestKind,
)
from node.network.libp2p_network import Libp2pNetwork
from node.network.limits import CHANNELS
from node.network.simulated import Conditions, Ether

Start = Callable[[Network], Awaitable[Callable[[], None]]]


class Town:
    """Three nodes of either kind and what happened to them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.networks: list[Network] = []
        self.events: list[list[NetworkEvent]] = []
        self._scopes: list[trio.CancelScope] = []

    async def add(self, network: Network) -> None:
        events: list[NetworkEvent] = []
        scope = trio.CancelScope()

        async def run(task_status: trio.TaskStatus[None]) -> None:
            with scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(network.run)
                    task_status.started()
                    while True:
                        events.append(await network.next_event())

        await self._nursery.start(lambda task_status: run(task_status))
        self.networks.append(network)
        self.events.append(events)
        self._scopes.append(scope)

    def stop(self, index: int) -> None:
        self._scopes[index].cancel()

    def heard(self, index: int) -> list[MessageReceived]:
        return [event for event in self.events[index] if isinstance(event, MessageReceived)]


@pytest.fixture(params=["libp2p", "simulated"])
async def town(request: pytest.FixtureRequest, nursery: trio.Nursery, tmp_path: Path) -> Town:
    town = Town(nursery)
    if request.param == "simulated":
        ether = Ether(1, Conditions(latency=(0.001, 0.005)))
        await nursery.start(ether.run)
        for name in "abc":
            await town.add(ether.node(name))
    else:
        street = Street(nursery, tmp_path)
        for name in "abc":
            known = tuple(network.addresses()[0] for network in town.networks)
            await town.add(Libp2pNetwork(street.settings(name, bootnodes=known)))
    await until(lambda: all(len(network.peers()) == 2 for network in town.networks))
    return town


async def test_everybody_joins_once(town: Town) -> None:
    ids = [network.id for network in town.networks]
    for index, events in enumerate(town.events):

        def joined(events: list[NetworkEvent] = events) -> list[str]:
            return [event.peer.id for event in events if isinstance(event, PeerJoined)]

        await until(lambda joined=joined: len(joined()) >= 2)
        assert sorted(joined()) == sorted(set(ids) - {ids[index]})


@pytest.mark.parametrize("channel", list(Channel))
async def test_a_broadcast_is_heard_once_by_everybody_else(town: Town, channel: Channel) -> None:
    await trio.sleep(0.1)
    town.networks[0].broadcast(channel, b"news")
    await until(lambda: town.heard(1) and town.heard(2))
    await trio.sleep(0.2)
    expected = MessageReceived(town.networks[0].id, channel, b"news")
    heard = [[replace(m, relayed_by=None) for m in town.heard(i)] for i in range(3)]
    assert heard == [[], [expected], [expected]]


async def test_a_message_to_one_is_heard_by_one(town: Town) -> None:
    town.networks[0].send(town.networks[1].id, Channel.VOTES, b"only for you")
    await until(lambda: town.heard(1))
    await trio.sleep(0.05)
    assert town.heard(2) == []
    town.networks[0].send("nobody", Channel.VOTES, b"lost")


async def test_the_same_vote_again_is_not_heard_again_soon(town: Town) -> None:
    for _ in range(3):
        town.networks[0].send(town.networks[1].id, Channel.VOTES, b"vote")
        town.networks[0].send(town.networks[1].id, Channel.STATUSES, b"status")
    await until(lambda: len(town.heard(1)) == 4)
    await trio.sleep(0.05)
    channels = [message.channel for message in town.heard(1)]
    assert (channels.count(Channel.VOTES), channels.count(Channel.STATUSES)) == (1, 3)


async def test_too_large_a_message_is_refused_where_it_is_made(town: Town) -> None:
    with pytest.raises(ValueError, match="VOTES"):
        town.networks[0].broadcast(Channel.VOTES, bytes(CHANNELS[Channel.VOTES].size + 1))


async def test_a_request_is_answered_by_the_handler(town: Town) -> None:
    asked: list[tuple[str, bytes]] = []

    async def answer(peer: str, body: bytes) -> bytes | None:
        asked.append((peer, body))
        return body[::-1] if body else None

    asker, server = town.networks[0], town.networks[1]
    server.set_handler(RequestKind.CONSENSUS, answer)
    assert await asker.request(server.id, RequestKind.CONSENSUS, b"abc") == b"cba"
    assert asked == [(asker.id, b"abc")]
    for body, limit, reason in ((b"", 9, FailReason.REFUSED), (b"long", 3, FailReason.TOO_LARGE)):
        with pytest.raises(RequestFailed) as caught:
            await asker.request(server.id, RequestKind.CONSENSUS, body, limit=limit)
        assert caught.value.reason is reason
    with pytest.raises(RequestFailed) as caught:
        await asker.request("nobody", RequestKind.CONSENSUS, b"")
    assert caught.value.reason is FailReason.NOT_CONNECTED


async def test_a_request_ends_in_time(town: Town) -> None:
    async def never(_peer: str, _body: bytes) -> bytes | None:
        await trio.sleep_forever()
        return None

    town.networks[1].set_handler(RequestKind.CONSENSUS, never)
    with pytest.raises(RequestFailed) as caught:
        await town.networks[0].request(town.networks[1].id, RequestKind.CONSENSUS, b"", timeout=0.1)
    assert caught.value.reason is FailReason.TIMEOUT


async def test_who_stops_has_left(town: Town) -> None:
    gone = town.networks[2].id
    town.stop(2)
    await until(lambda: all(PeerLeft(gone) in town.events[i] for i in range(2)))
    assert all(gone not in {p.id for p in network.peers()} for network in town.networks[:2])


async def test_who_offends_is_dropped(town: Town) -> None:
    bad = town.networks[2].id
    town.networks[0].penalise(bad, Offence.GARBAGE, "planted")
    await until(lambda: PeerLeft(bad) in town.events[0])
    assert town.networks[0].counters.bans == 1
    await trio.sleep(0.5)
    assert bad not in {peer.id for peer in town.networks[0].peers()}


async def test_how_far_a_peer_is_can_be_noted(town: Town) -> None:
    peer = town.networks[1].id
    town.networks[0].note_heads(peer, 9, None)
    town.networks[0].note_heads(peer, None, 7)
    (info,) = [info for info in town.networks[0].peers() if info.id == peer]
    assert (info.best_number, info.final_number) == (9, 7)
