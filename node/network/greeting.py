"""What this node says when it meets a peer, and whom it lets in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from node.network.addresses import Address
from node.network.book import Book
from node.network.hello import (
    MAX_ADDRESSES,
    PROTOCOL_VERSION,
    Hello,
    HelloReason,
    HelloRefused,
    check_hello,
)
from node.network.link import Link
from node.network.settings import NetworkSettings


class Greeting:
    """Makes greetings and judges those of others."""

    def __init__(
        self,
        settings: NetworkSettings,
        own: str,
        book: Book,
        links: Mapping[str, Link],
        validators: Callable[[], frozenset[bytes]],
    ) -> None:
        self._settings = settings
        self._own = own
        self._book = book
        self._links = links
        self._validators = validators

    def make(self, peer: str, places: Iterable[Address], own: bytes, remote: bytes) -> Hello:
        """Greet a peer; own, remote: the bytes of the two peer ids."""
        settings = self._settings
        told = (*settings.announce, *map(str, places))
        sign = settings.sign_hello
        return Hello(
            PROTOCOL_VERSION,
            settings.genesis_hash,
            settings.fork_id,
            settings.agent,
            settings.role,
            told[:MAX_ADDRESSES],
            settings.session_key if sign is not None else None,
            sign(own, remote) if sign is not None else None,
        )

    def check(self, link: Link, hello: Hello, own: bytes, remote: bytes) -> None:
        """Check a peer's greeting; raises HelloRefused."""
        if link.peer == self._own:
            raise HelloRefused(HelloReason.SELF)
        check_hello(hello, self._settings.genesis_hash, self._settings.fork_id, own, remote)
        if link.reserved:
            return
        if self._settings.reserved_only:
            raise HelloRefused(HelloReason.RESERVED_ONLY)
        ban = self._book.banned(link.peer)
        if ban is not None:
            raise HelloRefused(HelloReason.BANNED, f"banned for {ban.reason}")
        if link.inbound and hello.session_key not in self._validators() and not link.joined:
            came = [other for other in self._links.values() if other.inbound and other.hello]
            if len(came) >= self._settings.inbound:
                raise HelloRefused(HelloReason.FULL)
