"""Who is let in, who is kept out, who is found again."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from pathlib import Path

import msgpack
import pytest
import trio
from nacl.signing import SigningKey
from network_nodes import GENESIS, HERE, Running, Street, hello, until
from trio.testing import MockClock

from consensus.session_key import hello_bytes
from node.network import libp2p_network, requests
from node.network.addresses import Address, believable
from node.network.book import FIRST_BAN_SECONDS, Book
from node.network.framing import Stream, StreamBroken, frame, read_exactly, read_frame
from node.network.gatekeeper import HANDSHAKE_FAULTS
from node.network.hello import (
    Hello,
    HelloReason,
    HelloRefused,
    check_hello,
    decode_hello,
    encode_hello,
)
from node.network.identity import load_or_make_key
from node.network.interface import (
    Channel,
    Counters,
    FailReason,
    Offence,
    RequestFailed,
    RequestKind,
)
from node.network.limits import CHANNELS, REQUESTS, Bucket
from node.network.link import Link
from node.network.outbox import Outbox
from node.network.standing import HALF_LIFE_SECONDS, Standing
from node.network.wire.host import DialFailed, peer_bytes, peer_of


def banned(node: Running, peer: str) -> bool:
    return peer in node.network.book.bans()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"genesis_hash": b"x" * 32}, HelloReason.GENESIS),
        ({"version": 99}, HelloReason.PROTOCOL_VERSION),
        ({"fork_id": 1}, HelloReason.FORK),
    ],
)
async def test_a_peer_of_another_chain_is_told_why_it_is_refused_and_not_banned(
    street: Street, idle_clock: MockClock, changes: dict[str, object], reason: HelloReason
) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    with pytest.raises(HelloRefused) as caught:
        await stranger.greet(node, **changes)
    assert caught.value.reason is reason
    await until(lambda: stranger.left == [node.id])
    assert (node.neighbours, node.events, banned(node, stranger.id)) == (set(), [], False)
    assert node.network.counters.refused_hellos == 1


async def test_nodes_of_different_chains_call_each_other_once(street: Street) -> None:
    node = await street.start("node")
    other = await street.start("other", genesis_hash=b"x" * 32, bootnodes=(node.address,))
    await until(lambda: other.network.counters.refused_hellos)
    await trio.sleep(1.5)
    assert other.network.counters.dials == 1


async def test_a_garbled_greeting_is_refused_and_banned(
    street: Street, idle_clock: MockClock
) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    await stranger.call(node)
    stream = await stranger.host.open(node.id, libp2p_network.direct.PROTOCOL)
    await stream.write(frame(b"\xc1 garbage"))
    assert msgpack.unpackb(await read_frame(stream, 4096))[0] == "MALFORMED"
    await until(lambda: banned(node, stranger.id))


async def test_a_session_key_must_have_signed_the_greeting(
    street: Street, idle_clock: MockClock
) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    key = SigningKey(b"k" * 32)
    wrong = key.sign(b"another text").signature
    with pytest.raises(HelloRefused) as caught:
        await stranger.greet(node, session_key=bytes(key.verify_key), signature=wrong)
    assert caught.value.reason is HelloReason.WRONG_SIGNATURE


async def test_a_validator_is_known_by_its_session_key(street: Street) -> None:
    key = SigningKey(b"v" * 32)
    public = bytes(key.verify_key)

    def sign(own: bytes, remote: bytes) -> bytes:
        return key.sign(hello_bytes(GENESIS, 0, own, remote)).signature

    node = await street.start("node")
    other = await street.start(
        "other", bootnodes=(node.address,), session_key=public, sign_hello=sign, role="authority"
    )
    await until(lambda: node.neighbours)
    (info,) = node.network.peers()
    assert (info.id, info.validator, info.role) == (other.id, public, "authority")
    assert node.network.book.peers()[other.id].validator == public.hex()


def test_a_greeting_to_one_node_says_nothing_to_another() -> None:
    key = SigningKey(b"k" * 32)
    signature = key.sign(hello_bytes(GENESIS, 0, b"me", b"you")).signature
    greeting = hello(session_key=bytes(key.verify_key), signature=signature)
    check_hello(greeting, GENESIS, 0, b"you", b"me")
    for own, remote in ((b"them", b"me"), (b"you", b"them"), (b"me", b"you")):
        with pytest.raises(HelloRefused, match="WRONG_SIGNATURE"):
            check_hello(greeting, GENESIS, 0, own, remote)


def test_a_greeting_survives_its_bytes_and_later_fields() -> None:
    greeting: Hello = hello(addresses=("/ip4/1.2.3.4/tcp/5",), session_key=None)
    data = encode_hello(greeting)
    assert decode_hello(data) == greeting
    assert decode_hello(msgpack.packb([*msgpack.unpackb(data), "later"])) == greeting


async def test_an_oversized_frame_bans(street: Street) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    stream = await stranger.greet(node)
    await stream.write((1 << 31).to_bytes(4, "big"))
    await until(lambda: banned(node, stranger.id) and not node.neighbours)


async def test_an_oversized_vote_bans(street: Street) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    stream = await stranger.greet(node)
    vote = bytes(CHANNELS[Channel.VOTES].size + 1)
    await stream.write(frame(bytes([Channel.VOTES]) + vote))
    await until(lambda: banned(node, stranger.id) and not node.neighbours)
    assert node.heard(Channel.VOTES) == []


async def test_a_flood_of_messages_is_cut_off(street: Street, idle_clock: MockClock) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    stream = await stranger.greet(node)
    for i in range(40):
        flood = b"".join(
            frame(bytes([Channel.STATUSES]) + b"%d" % (1000 * i + j)) for j in range(20)
        )
        with suppress(StreamBroken):
            await stream.write(flood)
    await until(lambda: banned(node, stranger.id))
    await until(lambda: len(node.heard(Channel.STATUSES)) >= 200)
    assert len(node.heard(Channel.STATUSES)) <= 220


async def test_a_malformed_message_is_neither_heard_nor_passed_on(street: Street) -> None:
    node = await street.start("node")
    node.network.set_check(Channel.TRANSACTIONS, lambda data: data.startswith(b"good"))
    author = await street.start("author", bootnodes=(node.address,))
    # Whom it does not forward to it tells of a message again and again.
    mesh = author.network._host._router.mesh[author.network._topics[Channel.TRANSACTIONS]]
    await until(lambda: node.neighbours and peer_of(node.id) in mesh)
    author.network.broadcast(Channel.TRANSACTIONS, b"bad")
    author.network.broadcast(Channel.TRANSACTIONS, b"good")
    await until(lambda: node.heard(Channel.TRANSACTIONS))
    assert node.heard(Channel.TRANSACTIONS) == [b"good"]
    await until(lambda: node.network.peers()[0].score)
    assert node.network.peers()[0].score == 33


async def test_a_reserved_peer_is_muted_where_others_are_banned(street: Street) -> None:
    stranger = await street.stranger()
    reserved = f"/ip4/127.0.0.1/tcp/1/p2p/{stranger.id}"
    node = await street.start("node", reserved=(reserved,))
    stream = await stranger.greet(node)
    node.network.penalise(stranger.id, Offence.GARBAGE, "planted")
    await stream.write(frame(bytes([Channel.VOTES]) + b"unheard"))
    await until(lambda: node.network.counters.channels[Channel.VOTES].dropped_in)
    assert (banned(node, stranger.id), node.heard(Channel.VOTES)) == (False, [])
    assert node.neighbours == {stranger.id}


async def test_bans_and_addresses_outlive_a_restart(street: Street) -> None:
    node = await street.start("node")
    good = await street.start("good", bootnodes=(node.address,))
    stranger = await street.stranger()
    await stranger.greet(node)
    await until(lambda: len(node.neighbours) == 2)
    node.network.penalise(stranger.id, Offence.GARBAGE, "planted")
    await until(lambda: node.neighbours == {good.id})
    port = Address.parse(node.address).port
    await node.stop()
    await until(lambda: not good.neighbours)
    with socket.create_server(("127.0.0.1", port)):
        again = await street.start("node", listen=(HERE,))
    assert again.id == node.id
    assert Address.parse(again.address).port != port
    await until(lambda: again.neighbours == {good.id})
    with pytest.raises(HelloRefused) as caught:
        await stranger.greet(again)
    assert caught.value.reason is HelloReason.BANNED


async def test_a_peer_that_restarts_is_called_again(street: Street) -> None:
    node = await street.start("node")
    caller = await street.start("caller", bootnodes=(node.address,))
    await until(lambda: caller.neighbours)
    place = str(Address.parse(node.address)).partition("/p2p/")[0]
    await node.stop()
    await until(lambda: not caller.neighbours)
    again = await street.start("node", listen=(place,))
    await until(lambda: again.neighbours == {caller.id})


async def test_nodes_find_each_other_through_a_third(street: Street) -> None:
    hub = await street.start("hub")
    nodes = [await street.start(str(i), bootnodes=(hub.address,)) for i in range(3)]
    everybody = {hub.id, *(node.id for node in nodes)}
    await until(lambda: all(node.neighbours == everybody - {node.id} for node in nodes))


async def test_two_nodes_that_call_each_other_keep_one_connection(street: Street) -> None:
    one = await street.start("one")
    other = await street.start("other")
    here, there = Address.parse(one.address), Address.parse(other.address)

    async def dial(node: Running, to: Address, peer: str) -> None:
        with suppress(DialFailed):  # the other end may give up a spare one while it starts
            await node.network._host.dial(to.host, to.port, peer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial, one, there, other.id)
        nursery.start_soon(dial, other, here, one.id)
    await until(lambda: one.neighbours and other.neighbours)
    ends = ((one, other), (other, one))
    await until(lambda: all(a.network._host.connections(b.id) == 1 for a, b in ends))
    await trio.sleep(1)
    assert one.network._host.connections(other.id) == 1
    assert other.network._host.connections(one.id) == 1
    one.network.broadcast(Channel.VOTES, b"a vote")
    await until(lambda: other.heard(Channel.VOTES))


async def test_a_vote_reaches_a_validator_that_is_only_a_neighbours_neighbour(
    street: Street,
) -> None:
    relay = await street.start("relay", outbound=0)
    author = await street.start("author", reserved=(relay.address,), reserved_only=True)
    far = await street.start("far", reserved=(relay.address,), reserved_only=True)
    for node in (relay, author, far):
        node.network.set_validators([b"a" * 32, b"f" * 32])
    await until(lambda: len(relay.neighbours) == 2)
    await trio.sleep(1.2)
    author.network.broadcast(Channel.VOTES, b"a vote")
    await until(lambda: far.heard(Channel.VOTES) == [b"a vote"])
    (message,) = far.messages()
    assert (message.peer, message.relayed_by) == (author.id, relay.id)
    assert relay.heard(Channel.VOTES) == [b"a vote"]


async def test_votes_are_not_gossiped_where_every_validator_is_a_neighbour(street: Street) -> None:
    key = SigningKey(b"v" * 32)
    public = bytes(key.verify_key)
    node = await street.start("node")
    await street.start(
        "validator",
        bootnodes=(node.address,),
        session_key=public,
        sign_hello=lambda own, remote: key.sign(hello_bytes(GENESIS, 0, own, remote)).signature,
    )
    await until(lambda: node.neighbours)
    node.network.set_validators([public])
    assert not node.network._is_anybody_apart()
    node.network.set_validators([public, b"x" * 32])
    assert node.network._is_anybody_apart()


async def test_inbound_places_are_kept_for_validators(street: Street) -> None:
    key = SigningKey(b"v" * 32)
    public = bytes(key.verify_key)
    node = await street.start("node", inbound=1)
    node.network.set_validators([public])
    first = await street.stranger(b"1" * 32)
    await first.greet(node)
    second = await street.stranger(b"2" * 32)
    with pytest.raises(HelloRefused) as caught:
        await second.greet(node)
    assert caught.value.reason is HelloReason.FULL
    third = await street.stranger(b"3" * 32)
    remote = peer_bytes(node.id)
    signature = key.sign(hello_bytes(GENESIS, 0, peer_bytes(third.id), remote)).signature
    await third.greet(node, session_key=public, signature=signature)
    assert node.neighbours == {first.id, third.id}


async def test_an_ip_has_few_places_and_this_machine_has_many(street: Street) -> None:
    network = libp2p_network.Libp2pNetwork(street.settings("node", inbound_per_ip=2))
    for i in range(2):
        network._links[str(i)] = Link(
            str(i), "8.8.8.8", 1, True, False, 0.0, Outbox(network.counters)
        )
    assert not network._admit("8.8.8.8", True)
    assert network._admit("8.8.4.4", True)
    assert network._admit("127.0.0.1", True)


async def test_an_ip_that_garbles_handshakes_is_banned_but_never_this_machine(
    street: Street,
) -> None:
    network = libp2p_network.Libp2pNetwork(street.settings("node"))
    for _ in range(HANDSHAKE_FAULTS):
        assert network._admit("8.8.8.8", True)
        network._gate.handshake_failed("8.8.8.8", "planted")
        network._gate.handshake_failed("127.0.0.1", "planted")
    assert not network._admit("8.8.8.8", True)
    assert network._admit("127.0.0.1", True)


@pytest.mark.parametrize(
    ("address", "told_by", "believed"),
    [
        ("/ip4/8.8.8.8/tcp/1", "9.9.9.9", True),
        ("/ip4/10.0.0.1/tcp/1", "9.9.9.9", False),
        ("/ip4/127.0.0.1/tcp/1", "9.9.9.9", False),
        ("/ip4/127.0.0.1/tcp/1", "10.0.0.2", False),
        ("/ip4/10.0.0.1/tcp/1", "10.0.0.2", True),
        ("/ip4/127.0.0.1/tcp/1", "127.0.0.1", True),
        ("/ip4/8.8.8.8/tcp/0", "9.9.9.9", False),
        ("/ip4/0.0.0.0/tcp/1", "127.0.0.1", False),
        ("/ip4/224.0.0.1/tcp/1", "9.9.9.9", False),
        ("/ip6/fe80::1/tcp/1", "9.9.9.9", False),
        ("/dns/example.org/tcp/1", "9.9.9.9", True),
    ],
)
def test_a_stranger_cannot_send_us_into_our_own_network(
    address: str, told_by: str, believed: bool
) -> None:
    assert believable(Address.parse(address), told_by) is believed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:30333",
        "/ip4/127.0.0.1/udp/1",
        "/ip4/::1/tcp/1",
        "/ip4/127.0.0.1/tcp/65536",
        "/ip4/127.0.0.1/tcp/-1",
        "/dns/bad host/tcp/1",
        "/ip4/127.0.0.1/tcp/1/p2p/0OIl",
        "/ip4/127.0.0.1/tcp/1/p2p/",
    ],
)
def test_a_bad_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        Address.parse(text)


async def test_a_bootnode_needs_a_peer_id(street: Street) -> None:
    with pytest.raises(ValueError, match="peer id"):
        libp2p_network.Libp2pNetwork(street.settings("n", bootnodes=("/ip4/1.2.3.4/tcp/5",)))


async def test_a_request_that_nobody_answers_fails_with_a_reason(street: Street) -> None:
    node = await street.start("node")
    asker = await street.start("asker", bootnodes=(node.address,))
    await until(lambda: asker.neighbours)

    async def slow(_peer: str, _body: bytes) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    async def bug(_peer: str, _body: bytes) -> bytes:
        raise RuntimeError("planted")

    async def huge(_peer: str, _body: bytes) -> bytes:
        return bytes(REQUESTS[RequestKind.STATE].answer + 1)

    async def fails(kind: RequestKind, **options: float) -> FailReason:
        with pytest.raises(RequestFailed) as caught:
            await asker.network.request(node.id, kind, b"", **options)  # type: ignore[arg-type]
        return caught.value.reason

    node.network.set_handler(RequestKind.CONSENSUS, slow)
    node.network.set_handler(RequestKind.BLOB, bug)
    node.network.set_handler(RequestKind.STATE, huge)
    assert await fails(RequestKind.CONSENSUS, timeout=0.1) is FailReason.TIMEOUT
    assert await fails(RequestKind.PRIVATE) is FailReason.REFUSED
    assert await fails(RequestKind.BLOB) is FailReason.REFUSED
    assert await fails(RequestKind.STATE) is FailReason.TOO_LARGE
    async with trio.open_nursery() as nursery:

        async def cut_off() -> None:
            assert await fails(RequestKind.CONSENSUS) is FailReason.DISCONNECTED

        nursery.start_soon(cut_off)
        await trio.sleep(0.1)
        await node.stop()
    await until(lambda: not asker.neighbours)
    assert await fails(RequestKind.CONSENSUS) is FailReason.NOT_CONNECTED


async def test_more_requests_at_a_time_than_allowed_are_put_off(street: Street) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    await stranger.greet(node)

    all_asked = trio.Event()

    async def slow(_peer: str, _body: bytes) -> bytes:
        await all_asked.wait()
        return b""

    async def ask(stream: Stream) -> None:
        await stream.write(bytes([RequestKind.CONSENSUS]) + frame(b""))

    async def told(stream: Stream) -> str:
        said: str = msgpack.unpackb(await read_frame(stream, 1024))[0]
        return said

    node.network.set_handler(RequestKind.CONSENSUS, slow)
    link = node.network._links[stranger.id]
    first, *others = [await stranger.host.open(node.id, requests.PROTOCOL) for _ in range(9)]
    await until(lambda: link.serving == 9)
    await ask(first)
    assert await told(first) == "BUSY"
    await until(lambda: link.serving == 8)
    for stream in others:
        await ask(stream)
    await until(lambda: node.network.counters.requests_in[RequestKind.CONSENSUS] == 9)
    all_asked.set()
    assert [await told(stream) for stream in others] == ["OK"] * 8


async def test_an_oversized_request_bans(street: Street) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    await stranger.greet(node)
    stream = await stranger.host.open(node.id, requests.PROTOCOL)
    await stream.write(bytes([RequestKind.BLOB]) + (1 << 30).to_bytes(4, "big"))
    await until(lambda: banned(node, stranger.id))


async def test_without_a_greeting_no_request_is_answered(street: Street) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    await stranger.call(node)
    with pytest.raises(StreamBroken):
        stream = await stranger.host.open(node.id, requests.PROTOCOL)
        await stream.write(bytes([RequestKind.ADDRESSES]) + frame(b""))
        await read_exactly(stream, 1)


def test_the_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "network" / "key"
    seed = load_or_make_key(path)
    assert (len(seed), path.stat().st_mode & 0o777) == (32, 0o600)
    assert load_or_make_key(path) == seed
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="remove it"):
        load_or_make_key(path)


def test_offences_add_up_and_fade() -> None:
    standing = Standing()
    assert not standing.offend("p", Offence.INVALID, 0)
    assert standing.score("p", 0) == 50
    assert standing.score("p", HALF_LIFE_SECONDS) == 25
    assert not standing.offend("p", Offence.INVALID, HALF_LIFE_SECONDS)
    assert standing.offend("p", Offence.MALFORMED, HALF_LIFE_SECONDS)
    assert standing.score("p", HALF_LIFE_SECONDS) == 0


def test_a_ban_ends_and_the_next_one_is_twice_as_long(tmp_path: Path) -> None:
    now = [1000.0]
    book = Book(tmp_path / "peers.json", lambda: now[0])
    assert book.ban("p", "planted") == FIRST_BAN_SECONDS
    book.save()
    book = Book(tmp_path / "peers.json", lambda: now[0])
    assert book.banned("p") is not None
    now[0] += FIRST_BAN_SECONDS
    assert book.banned("p") is None
    assert book.ban("p", "planted") == 2 * FIRST_BAN_SECONDS


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"peers": {"p": {}}, "bans": {}}', '{"peers": [], "bans": []}', "\x00"],
)
def test_a_damaged_address_book_is_an_empty_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "peers.json"
    path.write_text(content)
    book = Book(path, lambda: 0.0)
    assert (book.peers(), book.bans()) == ({}, {})
    book.add(Address.parse("/ip4/1.2.3.4/tcp/5").of("p" * 50))
    book.save()
    assert list(json.loads(path.read_text())["peers"]) == ["p" * 50]


def test_the_address_book_is_bounded(tmp_path: Path) -> None:
    book = Book(tmp_path / "peers.json", lambda: 5.0)
    good = Address.parse("/ip4/1.2.3.4/tcp/5").of("good")
    book.add(good)
    book.connected("good", good, None)
    for i in range(3000):
        book.add(Address.parse(f"/ip4/1.2.3.4/tcp/{i + 1}").of(f"peer{i}"))
    for i in range(20):
        book.add(Address.parse(f"/ip4/1.2.3.5/tcp/{i + 1}").of("good"))
    assert len(book.peers()) == 1024
    assert len(book.peers()["good"].addresses) == 4


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    bucket = Bucket(10)
    assert sum(bucket.take(1, 0.0) for _ in range(200)) == 100
    assert sum(bucket.take(1, 1.0) for _ in range(200)) == 10


def test_a_full_outbox_drops_the_oldest_and_sends_the_urgent_first() -> None:
    counters = Counters.zero()
    outbox = Outbox(counters)
    most = CHANNELS[Channel.STATUSES].queued
    for i in range(most + 2):
        outbox.put(Channel.STATUSES, bytes([i]))
    outbox.put(Channel.CERTIFICATES, b"c")
    sent = outbox.take()
    expected = [b"\x03c"] + [bytes([Channel.STATUSES, i]) for i in range(2, most + 2)]
    assert sent == b"".join(map(frame, expected))
    assert counters.channels[Channel.STATUSES].dropped_out == 2
    assert outbox.take() == b""
