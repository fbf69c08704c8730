"""A libp2p host of TCP, noise and yamux, with streams and gossip, that no stranger can stop."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

# One window update per half window instead of one per read; read when libp2p is imported.
os.environ.setdefault("PY_YAMUX_RELEASE_ON_READ", "0")

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify_push.identify_push import ID_PUSH
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.tools.anyio_service import background_trio_service
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from node.network.framing import Stream, StreamBroken
from node.network.wire.gossip import HardGossipSub, HardPubsub
from node.network.wire.streams import WireStream
from node.network.wire.swarm import STREAMS_PER_CONNECTION, Admit, HardSwarm

_log = logging.getLogger("openledger.network")
logging.getLogger("libp2p").setLevel(logging.CRITICAL)

OPEN_SECONDS = 5.0
REFRESH_SECONDS = 1.0


class DialFailed(Exception):
    """Nobody answered at an address, or somebody else than expected."""


@dataclass(frozen=True, slots=True)
class Listener:
    """What a host tells of what happens; all are plain calls that return at once.

    connected: peer, whether it called us, its IP and port; gossip: forwarder, author, topic, data,
    returns whether to pass it on; garbage: who sent something unreadable, and what it was.
    """

    admit: Admit
    connected: Callable[[str, bool, str, int], None]
    disconnected: Callable[[str], None]
    gossip: Callable[[str, str, str, bytes], bool]
    garbage: Callable[[str, str], None]
    handshake_failed: Callable[[str, str], None]


class WireHost:
    """The host of one node."""

    def __init__(self, seed: bytes, listener: Listener, announce: Sequence[str]) -> None:
        """Prepare a host.

        seed: 32 bytes of the ed25519 identity; announce: addresses that identify tells besides
        those that are listened on.
        """
        self.listening = False
        pair = create_new_key_pair(seed)
        self._id = ID.from_pubkey(pair.public_key)
        self._listener = listener
        noise = Noise(pair, noise_privkey=create_noise_pair().private_key)
        upgrader = TransportUpgrader({NOISE: noise}, {TProtocol(YAMUX): Yamux}, 3)
        store = PeerStore()
        store.add_key_pair(self._id, pair)
        self._swarm = HardSwarm(
            self._id,
            store,
            upgrader,
            transports=[TCP()],
            admit=listener.admit,
            handshake_failed=listener.handshake_failed,
            connected=self._connected,
            disconnected=self._disconnected,
        )
        self._host = BasicHost(
            self._swarm,
            addrs_factory=lambda _: self._told(announce),
            disable_identify_address_discovery=True,
        )
        # Nobody needs to push us what we would not use.
        self._host.multiselect.handlers.pop(ID_PUSH, None)
        self._swarm.set_stream_handler(self._guard)
        self._router = HardGossipSub()
        self._pubsub = HardPubsub(self._host, self._router, listener.gossip, listener.garbage)

    @property
    def id(self) -> str:
        """The peer id as base58."""
        return str(self._id)

    @property
    def id_bytes(self) -> bytes:
        """The peer id as bytes."""
        raw: bytes = self._id.to_bytes()
        return raw

    @property
    def bound(self) -> tuple[tuple[str, int], ...]:
        """Hosts and ports that it listens on."""
        return tuple(self._swarm.bound)

    async def run(
        self,
        listen: Sequence[tuple[str, int]],
        topics: Sequence[str],
        *,
        task_status: Any = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; raises OSError where an address cannot be listened on."""
        # Subscribed before anybody can connect: an early graft would be answered with a prune.
        for topic in topics:
            await self._pubsub.subscribe(topic)
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self._host.run([]))
                await stack.enter_async_context(background_trio_service(self._pubsub))
                await stack.enter_async_context(background_trio_service(self._router))
                await self._pubsub.wait_until_ready()
                try:
                    for host, port in listen:
                        await self._swarm.listen_tcp(host, port)
                    self.listening = True
                    task_status.started()
                    while True:
                        await trio.sleep(REFRESH_SECONDS)
                        self._pubsub.refresh()
                finally:
                    # Before the services end, or sockets would stay open.
                    with trio.CancelScope(shield=True), trio.move_on_after(2.0):
                        await self._close()
        except BaseExceptionGroup as group:
            # libp2p starts tasks in nurseries that are closing; that must not hide a clean stop.
            _, rest = group.split(_is_stopping_noise)
            if rest is not None:
                raise rest from None

    async def dial(self, host: str, port: int, peer: str) -> None:
        """Connect to a peer; raises DialFailed."""
        try:
            await self._swarm.dial_tcp(host, port, peer_of(peer))
        except Exception as error:
            raise DialFailed(f"{type(error).__name__}: {error}") from error

    async def open(self, peer: str, protocol: str) -> Stream:
        """Open a stream to a connected peer; raises StreamBroken."""
        try:
            with trio.fail_after(OPEN_SECONDS):
                return WireStream(await self._host.new_stream(peer_of(peer), [TProtocol(protocol)]))
        except Exception as error:
            raise StreamBroken(f"no stream to {peer}: {error!r}") from error

    def on_stream(self, protocol: str, handler: Callable[[str, Stream], Awaitable[None]]) -> None:
        """Hand streams of a protocol that peers open to `handler`."""

        async def accept(stream: Any) -> None:
            await handler(str(stream.muxed_conn.peer_id), WireStream(stream))

        self._host.set_stream_handler(TProtocol(protocol), accept)

    async def drop(self, peer: str) -> None:
        """Close every connection to a peer, whether it reads or not."""
        for conn in self._swarm.held(peer_of(peer)):
            await self._swarm.abort(conn)

    async def drop_spare(self, peer: str, keep_inbound: bool) -> None:
        """Keep one connection to a peer: the newest of the given direction if there is one."""
        conns = self._swarm.held(peer_of(peer))
        liked = [c for c in conns if (c.direction.name == "INBOUND") == keep_inbound] or conns
        for conn in conns:
            if conn is not liked[-1]:
                await self._swarm.abort(conn)

    def connections(self, peer: str) -> int:
        """Count the connections to a peer."""
        return len(self._swarm.get_connections(peer_of(peer)))

    def admit_to_gossip(self, peer: str) -> None:
        """Exchange gossip with a peer from now on."""
        self._pubsub.admit(peer_of(peer))

    def dismiss_from_gossip(self, peer: str) -> None:
        """Exchange no more gossip with a peer."""
        self._pubsub.dismiss(peer_of(peer))

    async def publish(self, topic: str, data: bytes) -> None:
        """Gossip a message."""
        await self._pubsub.publish(topic, data)

    def _told(self, announce: Sequence[str]) -> list[Multiaddr]:
        own = [f"/ip{6 if ':' in ip else 4}/{ip}/tcp/{port}" for ip, port in self.bound]
        return [Multiaddr(text) for text in (*announce, *own)]

    def _connected(self, conn: Any) -> None:
        inbound = conn.direction.name == "INBOUND"
        remote = conn.wire.get_remote_address() or ("", 0)
        self._listener.connected(str(conn.muxed_conn.peer_id), inbound, conn.ip, remote[1])

    def _disconnected(self, conn: Any) -> None:
        self._listener.disconnected(str(conn.muxed_conn.peer_id))

    async def _guard(self, stream: Any) -> None:
        """Let a stream's handler fail alone."""
        conn = stream.swarm_conn
        try:
            if conn is not None and len(conn.streams) > STREAMS_PER_CONNECTION:
                raise StreamBroken("too many streams")
            await self._host._swarm_stream_handler(stream)
        except Exception as error:
            _log.debug("a stream failed", extra={"fields": {"error": repr(error)}})
            await WireStream(stream).reset()

    async def _close(self) -> None:
        async with trio.open_nursery() as nursery:
            for conn in self._swarm.held():
                nursery.start_soon(self._swarm.abort, conn)
        with suppress(Exception):
            await self._host.close()


def peer_of(text: str) -> ID:
    """Read a peer id; raises ValueError."""
    peer = ID.from_base58(text)
    if not 34 <= len(peer.to_bytes()) <= 42:
        raise ValueError(f"{text!r} is not a peer id")
    return peer


def peer_bytes(text: str) -> bytes:
    """Return the bytes of a peer id; raises ValueError."""
    raw: bytes = peer_of(text).to_bytes()
    return raw


def _is_stopping_noise(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and "closed to new arrivals" in str(error)


__all__ = ["DialFailed", "Listener", "WireHost", "peer_bytes", "peer_of"]
