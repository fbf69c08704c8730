"""Nodes and strangers for tests of the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from node.network import direct
from node.network.addresses import Address
from node.network.framing import Stream, frame, read_frame
from node.network.hello import (
    MAX_HELLO,
    PROTOCOL_VERSION,
    Hello,
    decode_reply,
    encode_hello,
    encode_reply,
)
from node.network.interface import Channel, MessageReceived, NetworkEvent, PeerJoined
from node.network.libp2p_network import Libp2pNetwork
from node.network.settings import NetworkSettings
from node.network.wire.host import Listener, WireHost
from tests.patience import PATIENCE

GENESIS = b"g" * 32
HERE = "/ip4/127.0.0.1/tcp/0"


class Running:
    """A node that runs in a nursery, with what happened to it."""

    def __init__(self, network: Libp2pNetwork) -> None:
        self.network = network
        self.events: list[NetworkEvent] = []
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    @property
    def id(self) -> str:
        return self.network.id

    @property
    def address(self) -> str:
        return self.network.addresses()[0]

    @property
    def neighbours(self) -> set[str]:
        return {peer.id for peer in self.network.peers()}

    def joined(self, peer: str) -> int:
        """Count how often a peer joined; it may have left again."""
        return sum(isinstance(e, PeerJoined) and e.peer.id == peer for e in self.events)

    def heard(self, channel: Channel) -> list[bytes]:
        return [m.data for m in self.messages() if m.channel is channel]

    def messages(self) -> list[MessageReceived]:
        return [event for event in self.events if isinstance(event, MessageReceived)]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self.network.run)
                    nursery.start_soon(self._listen)
                    task_status.started()
        finally:
            self._ended.set()

    async def stop(self) -> None:
        self._scope.cancel()
        await self._ended.wait()

    async def _listen(self) -> None:
        while True:
            self.events.append(await self.network.next_event())


class Street:
    """Starts nodes of one chain, each in a folder of its own."""

    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        self._nursery = nursery
        self._folder = folder

    def settings(self, name: str, **changes: object) -> NetworkSettings:
        values: dict[str, object] = {
            "folder": self._folder / name,
            "genesis_hash": GENESIS,
            "listen": (HERE,),
            "agent": name,
            **changes,
        }
        return NetworkSettings(**values)  # type: ignore[arg-type]

    async def start(self, name: str, **changes: object) -> Running:
        node = Running(Libp2pNetwork(self.settings(name, **changes)))
        await self._nursery.start(node.run)
        return node

    async def stranger(self, seed: bytes = b"s" * 32) -> Stranger:
        stranger = Stranger(seed)
        await self._nursery.start(stranger.host.run, [("127.0.0.1", 0)], ["t"])
        return stranger


class Stranger:
    """A bare host that sends what it likes."""

    def __init__(self, seed: bytes, topic_judge: bool = True) -> None:
        self.gossip: list[tuple[str, str, str, bytes]] = []
        self.garbage: list[str] = []
        self.left: list[str] = []

        def judge(*message: str | bytes) -> bool:
            self.gossip.append(message)  # type: ignore[arg-type]
            return topic_judge

        listener = Listener(
            admit=lambda _ip, _inbound: True,
            connected=lambda *_: None,
            disconnected=self.left.append,
            gossip=judge,
            garbage=lambda _peer, detail: self.garbage.append(detail),
            handshake_failed=lambda _ip, _detail: None,
        )
        self.host = WireHost(seed, listener, ())
        self.host.on_stream(direct.PROTOCOL, self._welcome)

    @property
    def id(self) -> str:
        return self.host.id

    async def call(self, node: Running) -> None:
        address = Address.parse(node.address)
        await self.host.dial(address.host, address.port, node.id)

    async def greet(self, node: Running, **changes: object) -> Stream:
        """Call a node and greet it; returns the stream to write on."""
        before = node.joined(self.id)
        await self.call(node)
        stream = await self.host.open(node.id, direct.PROTOCOL)
        await stream.write(frame(encode_hello(hello(**changes))))
        refused = decode_reply(await read_frame(stream, MAX_HELLO))
        if refused is not None:
            raise refused
        await until(lambda: node.joined(self.id) > before)
        return stream

    async def _welcome(self, _peer: str, stream: Stream) -> None:
        await read_frame(stream, MAX_HELLO)
        await stream.write(frame(encode_reply(None)))
        while await stream.read(65536):
            pass


def hello(**changes: object) -> Hello:
    values: dict[str, object] = {
        "version": PROTOCOL_VERSION,
        "genesis_hash": GENESIS,
        "fork_id": 0,
        "agent": "stranger",
        "role": "full",
        "addresses": (),
        **changes,
    }
    return Hello(**values)  # type: ignore[arg-type]


async def until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something holds; fails when it takes too long."""
    with trio.fail_after(seconds):
        while not true():
            await trio.sleep(0.01)
