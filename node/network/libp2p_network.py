"""The network over libp2p."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import aclosing
from typing import Any

import trio

from node.log import Log
from node.network import direct, requests
from node.network.addresses import Address, is_loopback
from node.network.book import Book
from node.network.dialing import Dialer, Situation
from node.network.exchange import AddressExchange
from node.network.framing import Stream
from node.network.gatekeeper import Gatekeeper, Verdict
from node.network.greeting import Greeting
from node.network.hearing import Hearing
from node.network.hello import Hello, HelloRefused
from node.network.identity import load_or_make_key
from node.network.inbox import Inbox
from node.network.interface import (
    Channel,
    Check,
    Counters,
    FailReason,
    Handler,
    NetworkEvent,
    Offence,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    RequestFailed,
    RequestKind,
)
from node.network.limits import CHANNELS
from node.network.link import Link
from node.network.requests import Requests
from node.network.reserved import Reserved
from node.network.settings import NetworkSettings
from node.network.wire.host import Listener, WireHost, peer_bytes

_log = Log("network")

PRESENT_SECONDS = 10.0
"""A connection whose greeting takes longer is closed."""
SAVE_SECONDS = 30.0
MUTE_SECONDS = 60.0
GOSSIPED = (Channel.PROPOSALS, Channel.TRANSACTIONS)
UNHEARD = (Channel.VOTES, Channel.CERTIFICATES)
"""Told directly, and gossiped too while not every validator is a neighbour."""


class Libp2pNetwork:
    """A node among its peers; see `interface.Network`."""

    def __init__(self, settings: NetworkSettings) -> None:
        """Read or make the key and the address book.

        Raises ValueError for addresses that cannot be read or a damaged key, OSError.
        """
        self._settings = settings
        self._counters = Counters.zero()
        self._listen = [Address.parse(text) for text in settings.listen]
        self.reserved = Reserved(settings.reserved)
        self.reserved.changed = self._reserved_changed
        seed = load_or_make_key(settings.folder / "key")
        self._book = Book(settings.folder / "peers.json", time.time)
        listener = Listener(
            admit=self._admit,
            connected=self._connected,
            disconnected=self._disconnected,
            gossip=self._gossip,
            garbage=self.garbage,
            handshake_failed=lambda ip, detail: self._gate.handshake_failed(ip, detail),
        )
        self._host = WireHost(seed, listener, settings.announce)
        self._links: dict[str, Link] = {}
        self._gate = Gatekeeper(self._host.id, self._book, self.reserved, self._counters)
        self._inbox = Inbox(self._counters)
        self._hearing = Hearing(self, self._inbox, self._counters)
        self._validators: frozenset[bytes] = frozenset()
        self._topics = {c: f"/{settings.genesis_hash.hex()}/{c.name.lower()}/1" for c in Channel}
        self._channels = {topic: channel for channel, topic in self._topics.items()}
        self._requests = Requests(self._host, self, self._counters)
        self._dialer = Dialer(
            settings,
            self.reserved,
            self._book,
            self._host,
            self._host.id,
            self._situation,
            self._count_dial,
        )
        self._greeting = Greeting(
            settings, self._host.id, self._book, self._links, lambda: self._validators
        )
        self._exchange = AddressExchange(self._host.id, self._book, self._links)
        self._requests.set_handler(RequestKind.ADDRESSES, self._exchange.answer)
        self._nursery: trio.Nursery | None = None
        self._host.on_stream(direct.PROTOCOL, self._accept_direct)
        self._host.on_stream(requests.PROTOCOL, self._accept_request)

    @property
    def id(self) -> str:
        """This node's peer id."""
        return self._host.id

    @property
    def counters(self) -> Counters:
        """What was counted so far."""
        return self._counters

    @property
    def book(self) -> Book:
        """The addresses and bans."""
        return self._book

    def _reserved_changed(self, peer: str, reserved: bool) -> None:
        link = self._links.get(peer)
        if link is not None:
            link.reserved = reserved
        self._dialer.joined(peer)

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses under which this node listens, with its id."""
        own = [Address.parse(text).of(self.id) for text in self._settings.announce]
        return tuple(str(a) for a in (*own, *(place.of(self.id) for place in self._places())))

    def peers(self) -> tuple[PeerInfo, ...]:
        """Return who is connected and greeted."""
        return tuple(link.info(self._gate.score) for link in self._links.values() if link.joined)

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Tell everybody; never waits. Raises ValueError beyond the channel's limit."""
        self._check_size(channel, data)
        if channel not in GOSSIPED:
            for link in self._links.values():
                if link.joined:
                    link.outbox.put(channel, data)
        if channel in GOSSIPED or (channel in UNHEARD and self._is_anybody_apart()):
            traffic = self._counters.channels[channel]
            traffic.messages_out += 1
            traffic.bytes_out += len(data)
            self._start(self._host.publish, self._topics[channel], data)

    def send(self, peer: str, channel: Channel, data: bytes) -> None:
        """Tell one peer; never waits, lost where it is gone."""
        self._check_size(channel, data)
        link = self._links.get(peer)
        if link is not None and link.joined:
            link.outbox.put(channel, data)

    async def request(
        self,
        peer: str,
        kind: RequestKind,
        body: bytes,
        *,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> bytes:
        """Ask a connected peer; raises RequestFailed."""
        link = self._links.get(peer)
        if link is None or not link.joined:
            await trio.lowlevel.checkpoint()
            raise RequestFailed(FailReason.NOT_CONNECTED, f"{peer} is not connected")
        return await self._requests.ask(link, kind, body, timeout, limit)

    def penalise(self, peer: str, offence: Offence, detail: str) -> None:
        """Count an offence against a peer, connected or not; enough of them ban it."""
        verdict = self._gate.offence(peer, offence, detail)
        link = self._links.get(peer)
        if link is None:
            return
        if verdict is Verdict.MUTE:
            link.muted_until = trio.current_time() + MUTE_SECONDS
        elif verdict is Verdict.HANG_UP:
            self._start(self.hang_up, link, "it is banned")

    def unban(self, key: str) -> bool:
        """Lift a ban of a peer id or `ip:<address>`; tells whether there was one."""
        return self._book.unban(key)

    def note_heads(self, peer: str, best: int | None, final: int | None) -> None:
        """Remember how far a peer is."""
        link = self._links.get(peer)
        if link is not None:
            link.best_number = best if best is not None else link.best_number
            link.final_number = final if final is not None else link.final_number

    def set_handler(self, kind: RequestKind, handler: Handler) -> None:
        """Answer requests of a kind; without a handler they are refused."""
        self._requests.set_handler(kind, handler)

    def set_check(self, channel: Channel, check: Check) -> None:
        """Drop, and do not pass on, what is not well formed."""
        self._hearing.set_check(channel, check)

    def set_validators(self, keys: Iterable[bytes]) -> None:
        """Name the session keys that should be reached, directly or by relays."""
        self._validators = frozenset(keys)

    async def next_event(self) -> NetworkEvent:
        """Wait for what happens next; for one caller."""
        return await self._inbox.take()

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started when it listens. Raises OSError for a taken address."""
        places = [(address.host, address.port) for address in self._listen]
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(self._host.run, places, tuple(self._topics.values()))
                _log.info(
                    "peers reach this node", id=self.id, at=" ".join(map(str, self._places()))
                )
                nursery.start_soon(self._dialer.run)
                nursery.start_soon(self._exchange.run, self)
                nursery.start_soon(self._tidy)
                if self._settings.mdns:
                    nursery.start_soon(self._discover)
                task_status.started()
        except BaseExceptionGroup as group:
            refused = _first(group, OSError)
            if self._host.listening or refused is None:
                raise
            raise OSError(
                f"cannot listen on {' '.join(self._settings.listen)}: {refused}"
            ) from None
        finally:
            self._nursery = None
            self._book.save()

    # What the streams report.

    def hello_for(self, peer: str) -> Hello:
        """Make the greeting for a peer."""
        return self._greeting.make(peer, self._places(), self._host.id_bytes, peer_bytes(peer))

    def accept_hello(self, link: Link, hello: Hello) -> None:
        """Take a peer's greeting or raise HelloRefused."""
        self._greeting.check(link, hello, self._host.id_bytes, peer_bytes(link.peer))
        link.hello = hello

    def greeted(self, link: Link) -> None:
        """Announce a peer when both have greeted."""
        if link.joined or link.hello is None or not link.welcomed:
            return
        if self._links.get(link.peer) is not link:
            return
        link.joined = True
        self._dialer.joined(link.peer)
        self._exchange.learn(link)
        self._host.admit_to_gossip(link.peer)
        _log.info("peer joined", peer=link.peer, agent=link.hello.agent, role=link.hello.role)
        self._inbox.put(PeerJoined(link.info(self._gate.score)))

    def refused(self, link: Link, refused: HelloRefused, *, by_us: bool) -> None:
        """Log a refusal and leave the peer alone for a while."""
        link.refused = True
        self._counters.refused_hellos += 1
        who = "peer refused" if by_us else "peer refuses us"
        _log.warning(
            who, peer=link.peer, ip=link.ip, why=refused.reason.name, detail=refused.detail
        )
        self._dialer.refused(link.peer, refused.reason)

    def message(self, link: Link, channel: Channel, data: bytes) -> None:
        """Take a message that a peer wrote to us."""
        if link.joined:
            self._hearing.told(link, channel, data)

    def garbage(self, peer: str, detail: str) -> None:
        """Ban who sends what nobody can read; also its IP if it did not greet."""
        link = self._links.get(peer)
        if link is not None and not link.joined:
            self._gate.garbage_from(link.ip, detail)
        self.penalise(peer, Offence.GARBAGE, detail)
        if link is not None:
            self._start(self.hang_up, link, "it sends garbage")

    async def hang_up(self, link: Link, why: str) -> None:
        """Close the connections to a peer."""
        _log.debug("hanging up", peer=link.peer, why=why)
        if self._links.get(link.peer) is link:
            await self._host.drop(link.peer)

    # What the host reports.

    def _admit(self, ip: str, inbound: bool) -> bool:
        if not self._gate.admits(ip):
            return False
        if not inbound or not ip or is_loopback(ip):
            return True
        came = sum(link.ip == ip for link in self._links.values() if link.inbound)
        return came < self._settings.inbound_per_ip

    def _connected(self, peer: str, inbound: bool, ip: str, port: int) -> None:
        if peer in self._links:
            # Both called each other: both keep the call of the lesser id.
            self._start(self._host.drop_spare, peer, peer < self.id)
            return
        link = self._links[peer] = Link.new(
            peer,
            ip,
            port,
            inbound=inbound,
            reserved=peer in self.reserved,
            counters=self._counters,
        )
        self._start(self._attend, link)

    def _disconnected(self, peer: str) -> None:
        if self._host.connections(peer):
            return
        link = self._links.pop(peer, None)
        self._host.dismiss_from_gossip(peer)
        if link is None:
            return
        link.scope.cancel()
        if link.joined:
            link.joined = False
            _log.info("peer left", peer=peer)
            self._inbox.put(PeerLeft(peer))

    def _gossip(self, forwarder: str, author: str, topic: str, data: bytes) -> bool:
        link = self._links.get(forwarder)
        if link is None or not link.joined or not self._gate.heeds(author):
            return False
        return self._hearing.relayed(link, author, self._channels[topic], data)

    # The rest.

    def _is_anybody_apart(self) -> bool:
        """Tell whether a validator is not a neighbour, or unknown who they are."""
        return not self._validators or bool(self._missing())

    def _missing(self) -> frozenset[bytes]:
        near = {link.validator for link in self._links.values() if link.joined}
        return self._validators - near - {self._settings.session_key}

    def _situation(self) -> Situation:
        outbound = sum(not link.inbound for link in self._links.values())
        return Situation(frozenset(self._links), outbound, self._missing())

    def _places(self) -> list[Address]:
        return [Address.of_ip(ip, port) for ip, port in self._host.bound]

    def _count_dial(self, succeeded: bool) -> None:
        self._counters.dials += 1
        self._counters.dials_failed += not succeeded

    def _check_size(self, channel: Channel, data: bytes) -> None:
        if len(data) > CHANNELS[channel].size:
            most = CHANNELS[channel].size
            raise ValueError(f"{len(data)} bytes on {channel.name}, where {most} are allowed")

    def _start(self, task: Any, *arguments: Any) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(_contained, task, arguments)

    async def _attend(self, link: Link) -> None:
        """Speak with a peer while it is connected, and see that it greets."""
        with link.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(direct.speak, self, self._host, link)
                await trio.sleep(PRESENT_SECONDS)
                if not link.joined:
                    await self.hang_up(link, "it does not greet")

    async def _accept_direct(self, peer: str, stream: Stream) -> None:
        link = self._links.get(peer)
        if link is None or link.refused:
            await stream.reset()
            return
        await _contained(direct.listen, (self, link, stream))

    async def _accept_request(self, peer: str, stream: Stream) -> None:
        link = self._links.get(peer)
        if link is None or not link.joined or trio.current_time() < link.muted_until:
            await stream.reset()
            return
        await _contained(self._requests.serve, (link, stream))

    async def _tidy(self) -> None:
        while True:
            await trio.sleep(SAVE_SECONDS)
            self._book.save()

    async def _discover(self) -> None:
        # Imported here: the library starts threads' machinery that few nodes need.
        from node.network.mdns import discover

        found = discover(self._settings.genesis_hash, self.id, self._places())
        async with aclosing(found):
            async for address in found:
                self._book.add(address)


def _first(group: BaseExceptionGroup[BaseException], kind: type[OSError]) -> OSError | None:
    """Find an error of a kind in a group of groups."""
    for error in group.exceptions:
        found = _first(error, kind) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, kind):
            return found
    return None


async def _contained(task: Any, arguments: tuple[Any, ...]) -> None:
    """Run a task about one peer; its failure must not end the others'."""
    try:
        await task(*arguments)
    except Exception as error:
        _log.fault("a task about a peer failed", error)
