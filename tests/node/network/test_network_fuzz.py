"""Frames that nobody meant: they cost their sender its standing, and the node nothing."""

from __future__ import annotations

import msgpack
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils.varint import encode_varint_prefixed
from network_nodes import GENESIS, Stranger, hello, until

from node.network import direct
from node.network.framing import StreamBroken, frame, read_frame
from node.network.hello import (
    Hello,
    HelloRefused,
    decode_hello,
    decode_reply,
    encode_hello,
    encode_reply,
)
from node.network.interface import Channel, Counters, Offence, RequestFailed, RequestKind
from node.network.link import Link
from node.network.requests import Requests, _decode_status
from node.network.wire.gossip import PROTOCOL
from node.network.wire.host import peer_of


def genuine_rpc() -> bytes:
    control = rpc_pb2.ControlMessage(
        ihave=[rpc_pb2.ControlIHave(topicID="t", messageIDs=[b"i" * 20])],
        iwant=[rpc_pb2.ControlIWant(messageIDs=[b"w" * 20])],
        graft=[rpc_pb2.ControlGraft(topicID="t")],
        prune=[rpc_pb2.ControlPrune(topicID="t", backoff=1)],
        idontwant=[rpc_pb2.ControlIDontWant(messageIDs=[b"d" * 20])],
    )
    message = rpc_pb2.Message(
        data=b"data", topicIDs=["t"], from_id=b"\0\x24\x08\1\x12\x20" + b"k" * 32, seqno=b"1"
    )
    return rpc_pb2.RPC(
        publish=[message],
        subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid="t")],
        control=control,
    ).SerializeToString()


def mutated(genuine: bytes) -> st.SearchStrategy[bytes]:
    def mutate(edits: list[tuple[int, int]], end: int) -> bytes:
        data = bytearray(genuine)
        for position, value in edits:
            data[position] = value
        return bytes(data[:end])

    edit = st.tuples(st.integers(0, len(genuine) - 1), st.integers(0, 255))
    return st.builds(mutate, st.lists(edit, max_size=6), st.integers(1, len(genuine)))


RPC_FRAMES = st.one_of(
    mutated(genuine_rpc()).map(encode_varint_prefixed),
    st.binary(max_size=64).map(encode_varint_prefixed),
    st.binary(min_size=1, max_size=32),
)


@settings(max_examples=settings.default.max_examples // 4)
@given(st.lists(RPC_FRAMES, min_size=10, max_size=20))
def test_no_gossip_frame_stops_a_host(frames: list[bytes]) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            host, stranger, honest = (Stranger(seed * 32) for seed in (b"h", b"s", b"o"))
            await nursery.start(host.host.run, [("127.0.0.1", 0)], ["t"])
            await nursery.start(stranger.host.run, [], ["t"])
            await nursery.start(honest.host.run, [], ["t"])
            host.host.admit_to_gossip(stranger.id)
            await stranger.host.dial(*host.host.bound[0], host.id)
            for data in frames:
                stream = await stranger.host.open(host.id, PROTOCOL)
                await stream.write(data)
                await stream.close()
            await honest.host.dial(*host.host.bound[0], host.id)
            await until(lambda: host.host.connections(honest.id))
            host.host.admit_to_gossip(honest.id)
            honest.host.admit_to_gossip(host.id)
            await until(lambda: peer_of(host.id) in honest.host._router.mesh["t"])
            await honest.host.publish("t", b"still there")
            await until(lambda: b"still there" in [message[3] for message in host.gossip])
            nursery.cancel_scope.cancel()

    trio.run(main)


class Bytes:
    """A stream that was read from a tape."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.written = b""
        self.was_reset = False

    async def read(self, size: int) -> bytes:
        await trio.lowlevel.checkpoint()
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.written += data

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        await trio.lowlevel.checkpoint()
        self.was_reset = True


class Dribble(Bytes):
    """A stream that yields a byte at a time."""

    async def read(self, size: int) -> bytes:
        return await super().read(min(size, 1))


async def test_a_frame_may_arrive_byte_by_byte() -> None:
    assert await read_frame(Dribble(frame(b"x" * 5000)), 5000) == b"x" * 5000


class Owner:
    """Takes note."""

    def __init__(self) -> None:
        self.messages: list[tuple[Channel, bytes]] = []
        self.faults: list[str] = []

    def hello_for(self, _peer: str) -> Hello:
        return hello()

    def accept_hello(self, _link: Link, said: Hello) -> None:
        assert said.genesis_hash == GENESIS

    def greeted(self, _link: Link) -> None: ...

    def refused(self, _link: Link, refused: HelloRefused, *, by_us: bool) -> None:
        self.faults.append(f"{refused.reason.name} {by_us}")

    def message(self, _link: Link, channel: Channel, data: bytes) -> None:
        self.messages.append((channel, data))

    def garbage(self, _peer: str, detail: str) -> None:
        self.faults.append(detail)

    async def hang_up(self, _link: Link, _why: str) -> None:
        await trio.lowlevel.checkpoint()

    def penalise(self, _peer: str, offence: Offence, _detail: str) -> None:
        self.faults.append(offence.name)

    async def open(self, _peer: str, _protocol: str) -> Bytes:
        await trio.lowlevel.checkpoint()
        raise StreamBroken("nothing is opened here")


def link() -> Link:
    return Link.new("p", "127.0.0.1", 1, inbound=True, reserved=False, counters=Counters.zero())


DIRECT_FRAMES = st.one_of(
    st.binary(max_size=20).map(frame),
    st.binary(max_size=20),
    st.sampled_from(list(Channel)).map(lambda channel: frame(bytes([channel]) + b"data")),
)


@given(st.booleans(), st.lists(DIRECT_FRAMES, max_size=8))
def test_no_frame_stops_the_reader_of_a_direct_stream(greets: bool, frames: list[bytes]) -> None:
    async def main() -> tuple[Owner, Bytes]:
        owner = Owner()
        start = frame(encode_hello(hello())) if greets else b""
        stream = Bytes(start + b"".join(frames))
        await direct.listen(owner, link(), stream)
        return owner, stream

    clock = trio.testing.MockClock(autojump_threshold=0)
    owner, stream = trio.run(main, clock=clock)
    assert stream.was_reset
    assert greets or not owner.messages
    first = frames[0] if frames else b""
    if greets and first[4:] in [bytes([channel]) + b"data" for channel in Channel]:
        assert owner.messages[0] == (Channel(first[4]), b"data")


@given(st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(lambda b: b"\1" + frame(b))))
def test_no_request_stops_the_server(data: bytes) -> None:
    async def main() -> tuple[Owner, Bytes, list[bytes]]:
        owner, stream, bodies = Owner(), Bytes(data), list[bytes]()
        served = Requests(owner, owner, Counters.zero())

        async def answer(_peer: str, body: bytes) -> bytes:
            bodies.append(body)
            await trio.lowlevel.checkpoint()
            return body

        served.set_handler(RequestKind.CONSENSUS, answer)
        asker = link()
        await served.serve(asker, stream)
        assert asker.serving == 0
        return owner, stream, bodies

    owner, stream, bodies = trio.run(main)
    if data[:1] == b"\1" and data[1:] == frame(data[5:]):
        assert bodies == [data[5:]]
        tail = frame(data[5:]) + frame(b"") if data[5:] else frame(b"")
        assert stream.written == frame(msgpack.packb(["OK", ""])) + tail
        assert owner.faults == []


@given(st.one_of(st.binary(max_size=200), mutated(encode_hello(hello(addresses=("/ip4/1",))))))
def test_a_greeting_is_decoded_or_refused(data: bytes) -> None:
    try:
        said = decode_hello(data)
    except HelloRefused:
        return
    assert decode_hello(encode_hello(said)) == said


@given(st.one_of(st.binary(max_size=100), mutated(encode_reply(None))))
def test_an_answer_is_decoded_or_refused(data: bytes) -> None:
    for decode in (decode_reply, _decode_status):
        try:
            answer = decode(data)
        except ValueError:
            continue
        assert answer is None or isinstance(answer, HelloRefused | RequestFailed)
