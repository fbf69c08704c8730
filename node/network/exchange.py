"""Learning where others are, and telling it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Protocol

import msgpack
import trio

from node.network.addresses import Address, believable
from node.network.book import Book
from node.network.interface import RequestFailed, RequestKind
from node.network.link import Link

MOST_TOLD = 64
MOST_LEARNED = 64
EVERY_SECONDS = 30.0
SOON_SECONDS = 0.5


class Asker(Protocol):
    """Asks peers."""

    async def request(self, peer: str, kind: RequestKind, body: bytes) -> bytes:
        """Ask a connected peer; raises RequestFailed."""


class AddressExchange:
    """Asks neighbours whom they know; tells them whom this node was connected to."""

    def __init__(self, own: str, book: Book, links: Mapping[str, Link]) -> None:
        self._own = own
        self._book = book
        self._links = links
        self._asked: set[str] = set()

    def learn(self, link: Link) -> None:
        """Remember where a peer listens, as it says, seen from here."""
        if link.hello is None:
            return
        best: Address | None = None
        if not link.inbound:
            best = Address.of_ip(link.ip, link.port, link.peer)
        for text in link.hello.addresses:
            address = _parsed(text)
            if address is None or address.peer not in (None, link.peer):
                continue
            if address.is_wildcard:
                address = Address.of_ip(link.ip, address.port)
            if believable(address, link.ip):
                self._book.add(address.of(link.peer))
        self._book.connected(link.peer, best, link.validator)

    async def answer(self, peer: str, _body: bytes) -> bytes:
        """Tell some addresses of peers that were reached, those that the asker can believe."""
        link = self._links.get(peer)
        known = [
            entry.addresses[0]
            for other, entry in self._book.peers().items()
            if entry.seen and entry.addresses and other != peer
        ]
        told = [t for t in known if link is not None and believable(Address.parse(t), link.ip)]
        await trio.lowlevel.checkpoint()
        return bytes(msgpack.packb(random.sample(told, min(len(told), MOST_TOLD))))

    async def run(self, asker: Asker) -> None:
        """Ask each new neighbour soon, and one of all every half minute."""
        next_at = trio.current_time() + EVERY_SECONDS
        while True:
            await trio.sleep(SOON_SECONDS)
            joined = [peer for peer, link in self._links.items() if link.joined]
            self._asked &= set(joined)
            new = [peer for peer in joined if peer not in self._asked]
            if joined and trio.current_time() >= next_at:
                next_at = trio.current_time() + EVERY_SECONDS
                new.append(random.choice(joined))
            for peer in new[:1]:
                self._asked.add(peer)
                await self._ask(asker, peer)

    async def _ask(self, asker: Asker, peer: str) -> None:
        link = self._links.get(peer)
        try:
            answer = await asker.request(peer, RequestKind.ADDRESSES, b"")
            texts = msgpack.unpackb(answer)
        except (RequestFailed, ValueError, msgpack.UnpackException):
            return
        if link is None or not isinstance(texts, list):
            return
        for text in texts[:MOST_LEARNED]:
            address = _parsed(text)
            if address is None or address.peer in (None, self._own):
                continue
            if believable(address, link.ip):
                self._book.add(address)


def _parsed(text: object) -> Address | None:
    try:
        return Address.parse(text) if isinstance(text, str) else None
    except ValueError:
        return None
