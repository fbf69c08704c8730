"""Faults of the library below, each of which once stopped or deafened a node."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils.varint import encode_varint_prefixed
from network_nodes import Running, Stranger, Street, until
from trio.testing import MockClock

from node.network import direct
from node.network.addresses import Address
from node.network.framing import Stream, StreamBroken, frame, read_exactly, read_frame
from node.network.hello import MAX_HELLO, encode_reply
from node.network.interface import Channel, RequestKind
from node.network.libp2p_network import Libp2pNetwork
from node.network.wire import gossip, swarm
from node.network.wire.gossip import PROTOCOL, HardGossipSub
from node.network.wire.host import DialFailed, peer_of
from tests.patience import PATIENCE


async def assert_serves(node: Running, seed: bytes = b"honest" * 5 + b"!!") -> None:
    """A newcomer is greeted, so the node lives and hears."""
    async with trio.open_nursery() as nursery:
        newcomer = Stranger(seed)
        await nursery.start(newcomer.host.run, [("127.0.0.1", 0)], ["t"])
        with trio.fail_after(PATIENCE):
            await newcomer.greet(node)
        nursery.cancel_scope.cancel()


async def star(nursery: trio.Nursery, count: int, topic: str = "t") -> list[Stranger]:
    """Hosts of which the first is connected with all others; all exchange gossip."""
    hosts = [Stranger(bytes([i + 1]) * 32) for i in range(count)]
    for stranger in hosts:
        await nursery.start(stranger.host.run, [("127.0.0.1", 0)], [topic])
    for stranger in hosts[1:]:
        await join(hosts[0], stranger)
    return hosts


async def join(first: Stranger, second: Stranger) -> None:
    await first.host.dial(*second.host.bound[0], second.id)
    await until(lambda: second.host.connections(first.id))
    first.host.admit_to_gossip(second.id)
    second.host.admit_to_gossip(first.id)
    await until(lambda: meets(first, second) and meets(second, first))


def meets(one: Stranger, other: Stranger, topic: str = "t") -> bool:
    return peer_of(other.id) in one.host._pubsub.peer_topics.get(topic, ())


def count_heartbeats(router: HardGossipSub) -> list[None]:
    """Return a list that grows with each heartbeat of a router."""
    beats: list[None] = []
    beat = router.mesh_heartbeat

    def counted() -> object:
        beats.append(None)
        return beat()

    router.mesh_heartbeat = counted  # type: ignore[method-assign, assignment]
    return beats


async def test_more_connections_may_come_and_go_than_there_are_places(street: Street) -> None:
    node = await street.start("node")
    address = Address.parse(node.address)
    stranger = await street.stranger()
    await trio.testing.wait_all_tasks_blocked()  # they start tasks of their own first
    tasks = trio.lowlevel.current_statistics().tasks_living

    async def come_and_go() -> None:
        for _ in range(9):
            with suppress(DialFailed):  # the other end may give up a spare one while it starts
                await stranger.host.dial(address.host, address.port, node.id)

    for _ in range(3):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(come_and_go)
        async with trio.open_nursery() as nursery:
            for conn in stranger.host._swarm.held():
                nursery.start_soon(stranger.host._swarm.abort, conn)
    await until(lambda: not node.network._links)
    assert node.network._host._swarm.held() == []
    await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)
    await assert_serves(node)


async def test_a_failing_stream_handler_ends_its_stream_alone(street: Street) -> None:
    node = await street.start("node")
    stranger = await street.stranger()

    async def fail(_peer: str, stream: Stream) -> None:
        await stream.read(1)
        raise RuntimeError("planted")

    node.network._host.on_stream("/fails/1", fail)
    await stranger.call(node)
    stream = await stranger.host.open(node.id, "/fails/1")
    await stream.write(b"x")
    with pytest.raises(StreamBroken):
        await read_exactly(stream, 1)
    assert stranger.host.connections(node.id) == 1
    await (await stranger.host.open(node.id, "/fails/1")).write(b"x")
    await assert_serves(node)


async def test_one_garbage_frame_on_the_gossip_stream_does_not_stop_the_host(
    street: Street,
) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    await stranger.greet(node)
    stream = await stranger.host.open(node.id, PROTOCOL)
    await stream.write(encode_varint_prefixed(b"\xff\xff\xff\xff"))
    await until(lambda: stranger.id not in node.neighbours)
    assert stranger.id in node.network.book.bans()
    await assert_serves(node)


async def test_a_gossip_message_with_an_unreadable_key_does_not_stop_the_host(
    street: Street,
) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    await stranger.greet(node)
    message = rpc_pb2.Message(
        data=b"x",
        topicIDs=[node.network._topics[Channel.PROPOSALS]],
        from_id=b"\x12\x20" + b"f" * 32,
        seqno=b"1",
        key=b"\x08\x63not a key",
        signature=b"s" * 64,
    )
    stream = await stranger.host.open(node.id, PROTOCOL)
    await stream.write(encode_varint_prefixed(rpc_pb2.RPC(publish=[message]).SerializeToString()))
    await until(lambda: stranger.id not in node.neighbours)
    assert node.heard(Channel.PROPOSALS) == []
    await assert_serves(node)


async def test_the_mesh_is_mended_within_two_heartbeats(nursery: trio.Nursery) -> None:
    one, other = await star(nursery, 2)
    await until(lambda: peer_of(other.id) in one.host._router.mesh["t"])
    router = one.host._router
    heartbeats = count_heartbeats(router)
    router.mesh["t"].clear()
    await until(lambda: peer_of(other.id) in router.mesh["t"] or len(heartbeats) > 2)
    assert peer_of(other.id) in router.mesh["t"]


async def test_a_burst_of_gossip_arrives_whole(nursery: trio.Nursery) -> None:
    one, other = await star(nursery, 2)
    await until(lambda: one.host._router.mesh["t"] and other.host._router.mesh["t"])
    for i in range(500):
        await one.host.publish("t", b"%d" % i)
    await until(lambda: len(other.gossip) == 500)


async def test_gossip_from_two_neighbours_is_delivered_once(nursery: trio.Nursery) -> None:
    hosts = await star(nursery, 3)
    await join(hosts[1], hosts[2])
    await until(lambda: all(len(h.host._router.mesh["t"]) == 2 for h in hosts))
    for i in range(20):
        await hosts[0].host.publish("t", b"%d" % i)
    await until(lambda: all(len(h.gossip) >= 20 for h in hosts[1:]))
    await trio.sleep(1.5)
    assert [len(h.gossip) for h in hosts[1:]] == [20, 20]


async def test_gossip_reaches_everybody_where_neighbours_exceed_the_mesh(
    nursery: trio.Nursery,
) -> None:
    hosts = await star(nursery, 6)
    for stranger in hosts:
        router = stranger.host._router
        router.degree, router.degree_low, router.degree_high = 2, 1, 2
    router = hosts[0].host._router
    heartbeats = count_heartbeats(router)
    await until(lambda: len(heartbeats) >= 2 and len(router.mesh["t"]) <= 3)
    for i in range(20):
        await hosts[i % 6].host.publish("t", b"%d" % i)
        await trio.sleep(0.02)
    await until(lambda: all(len({m[3] for m in h.gossip}) >= 16 for h in hosts))


async def test_recent_messages_for_a_newcomer_do_not_mingle_with_new_ones(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await star(nursery, 2)
    monkeypatch.setattr(one.host._router.mcache, "shift", lambda: None)  # all stay recent
    late = Stranger(b"late" * 8)
    await nursery.start(late.host.run, [("127.0.0.1", 0)], ["t"])
    for i in range(12):
        await one.host.publish("t", bytes([i]) * 300_000)
    await one.host.dial(*late.host.bound[0], late.id)
    late.host.admit_to_gossip(one.id)
    one.host.admit_to_gossip(late.id)
    for i in range(12, 24):
        await one.host.publish("t", bytes([i]) * 300_000)
        await trio.sleep(0.01)
    await until(lambda: len({m[3][0] for m in late.gossip}) == 24)
    assert late.garbage == other.garbage == []


async def test_what_its_author_sends_again_is_news(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gossip, "SEEN_SECONDS", 0.1)
    one, other = await star(nursery, 2)
    await until(lambda: one.host._router.mesh["t"])
    for count in (1, 2):
        await one.host.publish("t", b"proposal")
        await until(lambda c=count: len(other.gossip) == c)
        await trio.sleep(0.3)


async def test_a_host_leaves_no_thread_behind(nursery: trio.Nursery) -> None:
    before = set(threading.enumerate())
    Stranger(b"t" * 32)
    assert set(threading.enumerate()) <= before  # one of another test may end meanwhile


async def test_a_pruned_peer_fetches_what_it_is_told_of(nursery: trio.Nursery) -> None:
    one, other = await star(nursery, 2)
    for here, there in ((one, other), (other, one)):
        here.host._router._add_back_off(peer_of(there.id), "t", False)
        here.host._router.mesh["t"].clear()
    await one.host.publish("t", b"only announced")
    assert other.gossip == []
    await until(lambda: [m[3] for m in other.gossip] == [b"only announced"])
    for host in (one.host, other.host):
        names = list(host._router.mcache.msgs)
        assert [host._pubsub.seen_messages.has(name) for name in names] == [True]


async def test_a_restarted_node_is_heard_at_once(street: Street) -> None:
    node = await street.start("node")
    for i in range(2):
        other = await street.start("other", bootnodes=(node.address,))
        topic = node.network._topics[Channel.TRANSACTIONS]
        pubsub = other.network._host._pubsub
        await until(lambda p=pubsub, t=topic: peer_of(node.id) in p.peer_topics.get(t, ()))
        other.network.broadcast(Channel.TRANSACTIONS, b"%d" % i)
        heartbeats = count_heartbeats(other.network._host._router)

        def heard(i: int = i) -> bool:
            return node.heard(Channel.TRANSACTIONS)[-1:] == [b"%d" % i]

        await until(lambda h=heard, beats=heartbeats: h() or len(beats) > 20)
        assert heard()
        await other.stop()
        await until(lambda: not node.neighbours)


async def test_a_node_is_subscribed_before_it_can_be_called(street: Street) -> None:
    node = await street.start("node")
    assert set(node.network._host._pubsub.topic_ids) == set(node.network._topics.values())
    assert set(node.network._host._router.mesh) == set(node.network._topics.values())


async def test_no_whole_messages_are_kept_to_find_equivocations(nursery: trio.Nursery) -> None:
    one, other = await star(nursery, 2)
    await one.host.publish("t", b"x" * 1000)
    await until(lambda: other.gossip)
    assert one.host._router.equivocation_detection == {}
    assert other.host._router.equivocation_detection == {}


async def test_addresses_in_a_prune_are_not_dialed(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialed: list[object] = []

    async def note(_self: object, peers: object) -> None:
        dialed.append(peers)

    monkeypatch.setattr(GossipSub, "_do_px", note)
    one, other = await star(nursery, 2)
    prune = rpc_pb2.ControlPrune(topicID="t", backoff=1, peers=[rpc_pb2.PeerInfo(peerID=b"x")])
    control = rpc_pb2.ControlMessage(prune=[prune])
    await other.host._router.emit_control_message(control, peer_of(one.id))
    await until(lambda: "t" in one.host._router.back_off)
    assert dialed == []


async def test_a_connection_takes_no_fixed_pause(street: Street, idle_clock: MockClock) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    best = 1.0
    for _ in range(20):
        start = trio.current_time()
        await stranger.call(node)
        best = min(best, trio.current_time() - start)
        if best < 0.2:
            return
    raise AssertionError(f"every connection waited for {best:.1f} s or longer")


async def test_a_peer_that_was_away_can_be_called_when_it_is_back(
    street: Street, nursery: trio.Nursery
) -> None:
    stranger = await street.stranger()
    node = await street.start("node")
    address = Address.parse(node.address)
    await node.stop()
    with pytest.raises(DialFailed):
        await stranger.host.dial(address.host, address.port, node.id)
    again = await street.start("node", listen=(f"/ip4/127.0.0.1/tcp/{address.port}",))
    await stranger.call(again)
    assert stranger.host.connections(node.id) == 1


async def test_a_silent_peer_is_dropped(
    street: Street, monkeypatch: pytest.MonkeyPatch, idle_clock: MockClock
) -> None:
    monkeypatch.setattr(direct, "SILENCE_SECONDS", 1.0)
    node = await street.start("node")
    stranger = await street.stranger()
    await stranger.greet(node)
    since = trio.current_time()
    await until(lambda: stranger.id not in node.neighbours)
    assert trio.current_time() - since < 2
    await until(lambda: stranger.left == [node.id])


async def test_a_thousand_idle_connections_do_not_keep_an_honest_peer_out(
    street: Street, monkeypatch: pytest.MonkeyPatch, idle_clock: MockClock
) -> None:
    monkeypatch.setattr(swarm, "HANDSHAKE_SECONDS", 60.0)
    node = await street.start("node")
    address = Address.parse(node.address)
    idle = [await trio.open_tcp_stream(address.host, address.port) for _ in range(1000)]
    await assert_serves(node)
    assert len(node.network._host._swarm._pending) <= swarm.PENDING_HANDSHAKES
    for stream in idle:
        await trio.aclose_forcefully(stream)


async def test_a_peer_that_does_not_read_stalls_nobody(
    street: Street, monkeypatch: pytest.MonkeyPatch, idle_clock: MockClock
) -> None:
    monkeypatch.setattr(direct, "SILENCE_SECONDS", 2.5)
    node = await street.start("node")
    reader = await street.start("reader", bootnodes=(node.address,))
    stranger = await street.stranger()

    async def hold(_peer: str, stream: Stream) -> None:
        await read_frame(stream, MAX_HELLO)
        await stream.write(frame(encode_reply(None)))
        await trio.sleep_forever()

    stranger.host.on_stream(direct.PROTOCOL, hold)
    await stranger.greet(node)
    await until(lambda: len(node.neighbours) == 2)
    for i in range(20):
        node.network.broadcast(Channel.CERTIFICATES, bytes([i]) * 100_000)
        await trio.sleep(0.02)
    await until(lambda: len(reader.heard(Channel.CERTIFICATES)) == 20)
    await until(lambda: node.neighbours == {reader.id})


async def test_a_frozen_peer_is_dropped_though_its_buffers_are_full(
    street: Street, monkeypatch: pytest.MonkeyPatch, idle_clock: MockClock
) -> None:
    monkeypatch.setattr(direct, "SILENCE_SECONDS", 1.0)
    node = await street.start("node")
    stranger = await street.stranger()
    await stranger.greet(node)
    (conn,) = stranger.host._swarm.held()
    monkeypatch.setattr(conn.wire.stream, "receive_some", lambda _n: trio.sleep_forever())
    for i in range(120):
        node.network.broadcast(Channel.CERTIFICATES, bytes([i]) * 100_000)
        await trio.sleep(0)
    sending = node.network._host._swarm.held()[0].muxed_conn._write_lock
    await until(lambda: sending.locked())
    await until(lambda: not node.neighbours and not node.network._host._swarm.held())
    await until(lambda: not sending.locked())
    await assert_serves(node)


async def test_an_answer_of_many_megabytes_arrives_whole(street: Street) -> None:
    node = await street.start("node")
    asker = await street.start("asker", bootnodes=(node.address,))
    answer = os.urandom(12 << 20)

    async def give(_peer: str, _body: bytes) -> bytes:
        return answer

    node.network.set_handler(RequestKind.CONSENSUS, give)
    await until(lambda: asker.neighbours)
    assert await asker.network.request(node.id, RequestKind.CONSENSUS, b"") == answer


async def test_no_answer_is_overtaken_by_the_end_of_its_stream(street: Street) -> None:
    node = await street.start("node")
    asker = await street.start("asker", bootnodes=(node.address,))

    async def give(_peer: str, body: bytes) -> bytes:
        return body * 100

    node.network.set_handler(RequestKind.CONSENSUS, give)
    await until(lambda: asker.neighbours)

    async def ask(i: int) -> None:
        body = bytes([i]) * 2000
        assert await asker.network.request(node.id, RequestKind.CONSENSUS, body) == body * 100

    async with trio.open_nursery() as nursery:
        for i in range(60):
            nursery.start_soon(ask, i)


async def test_a_stopped_node_leaves_no_descriptors_open(street: Street) -> None:
    node = await street.start("node")
    await trio.sleep(0)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        other = await street.start("other", bootnodes=(node.address,))
        await until(lambda o=other: o.neighbours)
        await other.stop()
    await until(lambda: not node.network._links)
    await until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)


async def test_a_stop_under_traffic_is_clean(tmp_path: Path) -> None:
    for attempt in range(2):
        async with trio.open_nursery() as nursery:
            street = Street(nursery, tmp_path / str(attempt))
            first = await street.start("0")
            nodes = [first] + [
                await street.start(str(i), bootnodes=(first.address,)) for i in range(1, 4)
            ]
            await until(lambda n=nodes: all(node.neighbours for node in n))

            async def chatter(node: Running) -> None:
                for i in range(10000):
                    node.network.broadcast(Channel.VOTES, b"%s %d" % (node.id.encode(), i))
                    node.network.broadcast(Channel.TRANSACTIONS, b"%d" % i * 1000)
                    await trio.sleep(0.005)

            for node in nodes:
                nursery.start_soon(chatter, node)
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel()


async def test_a_listening_address_is_not_shared(street: Street) -> None:
    node = await street.start("node")
    taken = str(Address.parse(node.address)).partition("/p2p/")[0]
    other = Libp2pNetwork(street.settings("other", listen=(taken,)))
    with pytest.raises(OSError, match=r"cannot listen on .* in use"):
        await other.run()


async def test_before_the_greeting_no_gossip_is_read(street: Street) -> None:
    node = await street.start("node")
    stranger = await street.stranger()
    await stranger.call(node)
    stream = await stranger.host.open(node.id, PROTOCOL)
    await stream.write(encode_varint_prefixed(b"\xff\xff\xff\xff"))
    await trio.sleep(0.3)
    assert node.network.counters.bans == 0
