"""libp2p's switch with its connection handling made safe.

As shipped (0.8.1) the switch counts an inbound connection for ever (250 and it is deaf), lets idle
sockets take all places, shares a listening port with other processes, waits 250 ms per dial, and
refuses for a minute to dial a peer that was unreachable once. Here an inbound connection ends its
task when it ends, handshakes have few places of their own from which the oldest is evicted, and
dialing is a single attempt whose timing the caller decides.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID

_log = logging.getLogger("openledger.network")

HANDSHAKE_SECONDS = 3.0
PENDING_HANDSHAKES = 128
CLOSE_SECONDS = 1.0
DIAL_SECONDS = 5.0
BUFFERED_BYTES = 48 * 1024 * 1024
"""A connection with more unread bytes than this ignores its flow control, and is dropped."""
STREAMS_PER_CONNECTION = 128

Admit = Callable[[str, bool], bool]
"""Tells whether a new connection from an IP is taken; the flag says whether it is inbound."""


class HardSwarm(Swarm):
    """A switch for TCP that survives strangers."""

    def __init__(
        self,
        *args: Any,
        admit: Admit,
        handshake_failed: Callable[[str, str], None],
        connected: Callable[[Any], None],
        disconnected: Callable[[Any], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._admit = admit
        self._handshake_failed = handshake_failed
        self._connected = connected
        self._disconnected = disconnected
        self._pending: dict[object, trio.CancelScope] = {}
        self.bound: list[tuple[str, int]] = []

    async def run(self) -> None:
        """Hold the tasks of all connections until the service is stopped."""
        try:
            async with trio.open_nursery() as nursery:
                self.background_nursery = nursery
                self.event_background_nursery_created.set()
                nursery.start_soon(self._watch_buffers)
                await self.manager.wait_finished()
                nursery.cancel_scope.cancel()
        finally:
            self.background_nursery = None

    async def listen_tcp(self, host: str, port: int) -> None:
        """Listen exclusively; raises OSError where the address is taken or not ours."""
        await self.event_background_nursery_created.wait()
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=1024)
        nursery = self._nursery()
        for listener in listeners:
            name = listener.socket.getsockname()
            self.bound.append((str(name[0]), int(name[1])))
            nursery.start_soon(_serve, listener, self._accept)

    async def dial_tcp(self, host: str, port: int, peer: ID) -> Any:
        """Connect once; raises SwarmException or OSError."""
        with trio.fail_after(DIAL_SECONDS):
            stream = await trio.open_tcp_stream(host, port)
            wire = TrioTCPStream(stream)
            wire.get_remote_address()
            raw = RawConnection(wire, True)
            try:
                secured = await self.upgrader.upgrade_security(raw, True, peer)
                muxed = await self.upgrader.upgrade_connection(secured, peer)
                return await self.add_conn(muxed, "outbound", wire=wire, ip=_ip(wire))
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise

    async def dial_peer(self, peer_id: ID) -> list[Any]:
        """Refuse: only `dial_tcp` opens connections."""
        raise SwarmException(f"not connected to {peer_id}")

    async def _accept(self, stream: trio.SocketStream) -> None:
        wire = TrioTCPStream(stream)
        ip = _ip(wire)
        if not self._admit(ip, True):
            await trio.aclose_forcefully(stream)
            return
        if len(self._pending) >= PENDING_HANDSHAKES:
            self._pending.pop(next(iter(self._pending))).cancel()
        conn = None
        ticket = object()
        with trio.move_on_after(HANDSHAKE_SECONDS) as scope:
            self._pending[ticket] = scope
            try:
                conn = await self._upgrade_inbound(wire, ip)
            finally:
                self._pending.pop(ticket, None)
        if conn is None:
            await trio.aclose_forcefully(stream)
            return
        await conn.muxed_conn.event_closed.wait()

    async def _upgrade_inbound(self, wire: TrioTCPStream, ip: str) -> Any:
        counted: Any = _Counting(wire)
        try:
            secured = await self.upgrader.upgrade_security(RawConnection(counted, False), False)
            peer = secured.get_remote_peer()
            muxed = await self.upgrader.upgrade_connection(secured, peer)
            return await self.add_conn(muxed, "inbound", wire=wire, ip=ip)
        except Exception as error:
            _log.debug("handshake failed", extra={"fields": {"ip": ip, "error": repr(error)}})
            if counted.received:
                self._handshake_failed(ip, f"{type(error).__name__}: {error}")
            return None

    async def add_conn(
        self, muxed_conn: Any, direction: str = "unknown", *, wire: Any = None, ip: str = ""
    ) -> Any:
        """Register a connection and start its tasks, none of which can end the switch."""
        nursery = self._nursery()
        conn: Any = SwarmConn(muxed_conn, self, direction=direction)
        conn.wire = wire
        conn.ip = ip
        conn.listed = False
        nursery.start_soon(self._hold, conn)
        await muxed_conn.event_started.wait()
        nursery.start_soon(_survive, conn.start)
        await conn.event_started.wait()
        if muxed_conn.event_shutting_down.is_set() or conn.is_closed:
            await self.abort(conn)
            raise SwarmException("the connection closed while it started")
        self.connections.setdefault(muxed_conn.peer_id, []).append(conn)
        conn.listed = True
        self._connected(conn)
        return conn

    async def abort(self, conn: Any) -> None:
        """Close a connection though its peer may not read any more."""
        with trio.CancelScope(shield=True):
            with suppress(Exception), trio.move_on_after(CLOSE_SECONDS):
                await conn.close()
            if conn.wire is not None:
                await trio.aclose_forcefully(conn.wire.stream)
            conn.muxed_conn.event_closed.set()
        self.remove_conn(conn)
        if conn.listed:
            conn.listed = False
            self._disconnected(conn)

    def held(self, peer: ID | None = None) -> list[Any]:
        """Return the connections to a peer, or all."""
        return list(self.get_connections(peer))

    async def _hold(self, conn: Any) -> None:
        """Run the multiplexer of a connection, and take the connection down with it."""
        try:
            await conn.muxed_conn.start()
        except Exception as error:
            _log.debug("a connection failed", extra={"fields": {"error": repr(error)}})
        finally:
            conn.muxed_conn.event_started.set()
            await self.abort(conn)

    async def _notify(self, method: str, *args: Any) -> None:
        """Tell nobody: connections are announced by `add_conn` and `abort` alone."""

    def _nursery(self) -> trio.Nursery:
        if self.background_nursery is None:
            raise SwarmException("the switch is stopping")
        return self.background_nursery

    async def _watch_buffers(self) -> None:
        while True:
            await trio.sleep(0.5)
            for conn in self.held():
                unread = sum(len(b) for b in conn.muxed_conn.stream_buffers.values())
                if unread > BUFFERED_BYTES:
                    _log.warning("dropping a peer that ignores flow control")
                    await self.abort(conn)


class _Counting:
    """Passes reads and writes on and remembers whether anything was received."""

    def __init__(self, wire: TrioTCPStream) -> None:
        self._wire = wire
        self.received = False

    async def read(self, n: int | None = None) -> bytes:
        data: bytes = await self._wire.read(n)
        self.received |= bool(data)
        return data

    async def write(self, data: bytes) -> None:
        await self._wire.write(data)

    async def close(self) -> None:
        await self._wire.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        address: tuple[str, int] | None = self._wire.get_remote_address()
        return address


async def _serve(
    listener: trio.SocketListener, handler: Callable[[trio.SocketStream], Awaitable[None]]
) -> None:
    """Accept for ever; a full table of descriptors is waited out, not died of."""
    async with listener, trio.open_nursery() as nursery:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                _log.warning("cannot accept", extra={"fields": {"error": repr(error)}})
                await trio.sleep(0.1)
                continue
            nursery.start_soon(_survive, handler, stream)


async def _survive(task: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    """Run a task of a connection; what a stranger makes it raise ends that task alone."""
    try:
        await task(*arguments)
    except Exception as error:
        _log.debug("a connection failed", extra={"fields": {"error": repr(error)}})


def _ip(wire: TrioTCPStream) -> str:
    remote = wire.get_remote_address()
    if remote is None:
        with suppress(OSError, IndexError, TypeError):
            remote = wire.stream.socket.getpeername()[:2]
            wire._cached_remote_address = (str(remote[0]), int(remote[1]))
    if remote is None:
        return ""
    address = ipaddress.ip_address(str(remote[0]).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
