"""The network as the agreement sees it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from consensus.core.messages import Status, Vote, encode_message
from node.network.interface import Channel, RequestKind
from node.network.simulated import Conditions, Ether
from node.peers import NetworkPeers, is_message

VOTE = encode_message(Vote(1, 0, 1, 0, 0, bytes(32), 0, bytes(64)))
STATUS = encode_message(Status(2, 3, 4, 500, bytes(32)))


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def ignore(peer: str, data: bytes) -> None:
    raise AssertionError("no transactions here")


def test_a_channel_takes_its_own_kind_of_message_only() -> None:
    assert is_message(Channel.VOTES)(VOTE)
    assert is_message(Channel.STATUSES)(STATUS)
    for channel in (Channel.PROPOSALS, Channel.CERTIFICATES, Channel.STATUSES):
        assert not is_message(channel)(VOTE)
    for bad in (b"", VOTE[:-1], VOTE + b"\0", b"\0" * 40):
        assert not is_message(Channel.VOTES)(bad)


async def test_messages_go_by_channel_and_statuses_tell_how_far_a_peer_is(
    autojump_clock: MockClock,
) -> None:
    ether = Ether(3, Conditions(latency=(0.001, 0.002)))
    first, second = ether.node("a"), ether.node("b")
    speaker, listener = NetworkPeers(first, ignore), NetworkPeers(second, ignore)
    async with trio.open_nursery() as nursery:
        for task in (ether.run, first.run, second.run):
            nursery.start_soon(task)
        joined = await listener.next()
        assert (joined.peer, joined.joined, joined.message) == ("a", True, None)
        speaker.broadcast(VOTE)
        speaker.send("b", STATUS)
        heard = {(await listener.next()).message for _ in range(2)}
        assert heard == {VOTE, STATUS}
        assert [peer.final_number for peer in second.peers()] == [500]
        nursery.cancel_scope.cancel()


async def test_a_request_goes_to_the_next_peer_when_one_refuses(
    autojump_clock: MockClock,
) -> None:
    ether = Ether(4, Conditions(latency=(0.001, 0.002)))
    asker, mute, helpful = ether.node("a"), ether.node("b"), ether.node("c")

    async def refuse(peer: str, body: bytes) -> bytes | None:
        return None

    async def echo(peer: str, body: bytes) -> bytes | None:
        return body[::-1]

    mute.set_handler(RequestKind.CONSENSUS, refuse)
    helpful.set_handler(RequestKind.CONSENSUS, echo)
    async with trio.open_nursery() as nursery:
        for task in (ether.run, asker.run, mute.run, helpful.run):
            nursery.start_soon(task)
        await trio.sleep(1)
        peers = NetworkPeers(asker, ignore)
        assert await peers.ask(b"123", "b") == ("c", b"321")
        assert await peers.ask_state(b"123", None) is None
        assert sorted(peers.connected()) == ["b", "c"]
        nursery.cancel_scope.cancel()
