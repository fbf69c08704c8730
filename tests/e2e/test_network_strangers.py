"""What strangers send to the ports of real nodes: it is refused by name, and the chain goes on."""

from __future__ import annotations

import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import pytest
import trio

from node.localnet.plan import peer_id
from node.network import direct
from node.network.addresses import Address
from node.network.framing import Stream, StreamBroken, frame, read_frame
from node.network.hello import MAX_HELLO, decode_reply, encode_hello
from node.network.interface import Channel
from node.network.wire.host import DialFailed
from tests.e2e.network_world import (
    SETTLING,
    Node,
    World,
    agree,
    grows,
    network,
    planned,
    wait_until,
)
from tests.node.network.network_nodes import Stranger, hello
from tests.patience import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
MULTISTREAM = b"\x13/multistream/1.0.0\n"
NOISE = b"\x07/noise\n"
Mischief = Callable[[Stream], Awaitable[None]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two validators: neither makes a block final without the other."""
    with network(tmp_path_factory.mktemp("pair"), 2) as world:
        yield world


@pytest.fixture
def unharmed(pair: World) -> Iterator[World]:
    """Check that the two stay connected with each other, and go on."""
    left = [node.log.count("peer left") for node in pair.nodes]
    # A stranger of the test before may be on its way out.
    wait_until(
        lambda: [node.figures().peers for node in pair.nodes] == [1, 1], SETTLING, "two", pair
    )
    yield pair
    grows(pair, pair.nodes, 4)
    assert agree(pair.nodes)
    ids = [str(Address.parse(node.member.address(pair.spec)).peer) for node in pair.nodes]
    for node, other, before in zip(pair.nodes, reversed(ids), left, strict=True):
        departed = [line for line in node.log.splitlines() if "peer left" in line]
        assert not any(other in line for line in departed[before:])


def test_bytes_of_no_protocol_and_silence_stop_nothing(unharmed: World) -> None:
    dice = random.Random(7)
    opened = []
    for node in unharmed.nodes:
        for first in (b"", MULTISTREAM, MULTISTREAM + NOISE, b"GET / HTTP/1.1\r\n\r\n"):
            for size in (0, 1, 40, 5000):
                stranger = socket.create_connection(("127.0.0.1", node.member.ports.peers), 5)
                stranger.settimeout(5)
                opened.append(stranger)
                with suppress(OSError):  # it may be hung up on at once
                    stranger.sendall(first + dice.randbytes(size))
    grows(unharmed, unharmed.nodes, 3)
    for stranger in opened:
        stranger.close()


async def _meet(node: Node, world: World, seed: bytes, mischief: Mischief) -> None:
    """Open the stream of greetings to a node, and do mischief on it."""
    address = Address.parse(node.member.address(world.spec))
    assert address.peer is not None
    stranger = Stranger(seed)
    async with trio.open_nursery() as nursery:
        await nursery.start(stranger.host.run, [("127.0.0.1", 0)], ["t"])
        with trio.fail_after(PATIENCE):
            await stranger.host.dial(address.host, address.port, address.peer)
            stream = await stranger.host.open(address.peer, direct.PROTOCOL)
            await mischief(stream)
        nursery.cancel_scope.cancel()


def genesis_of(world: World) -> bytes:
    return bytes.fromhex(str(world[0].hash(0))[2:])


def greeting(world: World, **changes: object) -> bytes:
    return frame(encode_hello(hello(**{"genesis_hash": genesis_of(world)} | changes)))


async def _reason(stream: Stream) -> str:
    refused = decode_reply(await read_frame(stream, MAX_HELLO))
    assert refused is not None, "the stranger is welcome"
    return refused.reason.name


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 2}, "PROTOCOL_VERSION"),
        ({"genesis_hash": b"x" * 32}, "GENESIS"),
        ({"fork_id": 3}, "FORK"),
        ({"session_key": b"k" * 32, "signature": b"s" * 64}, "WRONG_SIGNATURE"),
    ],
)
def test_a_greeting_that_does_not_fit_is_refused_by_name(
    unharmed: World, changes: dict[str, object], reason: str
) -> None:
    told: list[str] = []

    async def greet(stream: Stream) -> None:
        await stream.write(greeting(unharmed, **changes))
        told.append(await _reason(stream))

    trio.run(_meet, unharmed[0], unharmed, reason.encode().ljust(32, b"!"), greet)
    assert told == [reason]
    wait_until(lambda: f"why={reason}" in unharmed[0].log, SETTLING, "it is logged", unharmed)


def test_a_greeting_that_nobody_can_read_is_refused_and_its_sender_is_banned(
    unharmed: World,
) -> None:
    told: list[str] = []

    async def greet(stream: Stream) -> None:
        await stream.write(frame(b"\xc1" * 64))
        told.append(await _reason(stream))

    trio.run(_meet, unharmed[0], unharmed, b"unreadable".ljust(32, b"!"), greet)
    assert told == ["MALFORMED"]
    wait_until(lambda: "why=MALFORMED" in unharmed[0].log, SETTLING, "it is logged", unharmed)


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff\xff\xff\xff",
        frame(b"\xee of an unknown channel"),
        b"".join(frame(bytes([channel]) + b"\xff" * 500) for channel in Channel) * 40,
    ],
    ids=["huge", "unknown", "unreadable"],
)
def test_a_peer_that_sends_garbage_after_its_greeting_is_banned(
    unharmed: World, sent: bytes, request: pytest.FixtureRequest
) -> None:
    node = unharmed[1]

    async def greet(stream: Stream) -> None:
        await stream.write(greeting(unharmed))
        assert decode_reply(await read_frame(stream, MAX_HELLO)) is None
        with suppress(StreamBroken):
            await stream.write(sent)
            await stream.read(1)

    seed = request.node.name.encode()[-32:].rjust(32, b"!")
    trio.run(_meet, node, unharmed, seed, greet)
    banned = f" banned who={peer_id(seed)}"
    wait_until(lambda: banned in node.log, SETTLING, "it is banned", unharmed)
    with pytest.raises((DialFailed, StreamBroken, ExceptionGroup)):
        trio.run(_meet, node, unharmed, seed, _must_not_be_heard)


async def _must_not_be_heard(stream: Stream) -> None:
    refused = await _reason(stream)
    raise StreamBroken(refused)


def test_a_node_of_another_chain_is_refused_by_name_on_both_sides(unharmed: World) -> None:
    other = planned(unharmed.folder / "other", 1, epoch_length=7)
    entry = unharmed[0].member.address(unharmed.spec)
    other.start(other[0], bootnodes=(entry,))
    try:
        for node in (other[0], unharmed[0]):
            wait_until(lambda n=node: "why=GENESIS" in n.log, SETTLING, "it is told why", other)
        grows(other, other.nodes, 4)
        assert "peer joined" not in other[0].log
        # Two calls can cross: each side calls the other once, refuses it and is refused.
        assert unharmed[0].log.count("GENESIS") <= 4, "it goes on calling"
    finally:
        other[0].stop()
