"""Who to call: reserved peers always, validators next, then enough of whoever is known."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from node.log import Log
from node.network.addresses import Address
from node.network.book import Book
from node.network.hello import HelloReason
from node.network.reserved import Reserved, by_peer
from node.network.settings import NetworkSettings

_log = Log("network")

FIRST_BACKOFF = 0.5
WANTED_BACKOFF = 5.0
LONGEST_BACKOFF = 60.0
AT_ONCE = 8
EVERY_SECONDS = 0.25
PATIENCE: dict[HelloReason, float] = {
    HelloReason.GENESIS: 3600.0,
    HelloReason.PROTOCOL_VERSION: 1800.0,
    HelloReason.FORK: 600.0,
    HelloReason.BANNED: 600.0,
    HelloReason.SELF: 86400.0,
    HelloReason.RESERVED_ONLY: 600.0,
    HelloReason.FULL: 30.0,
}
"""How many seconds to wait before a peer that refused for a reason is called again."""


class Caller(Protocol):
    """Makes calls."""

    async def dial(self, host: str, port: int, peer: str) -> None:
        """Connect; raises DialFailed."""


@dataclass(slots=True)
class _Attempt:
    next_at: float = 0.0
    backoff: float = FIRST_BACKOFF
    running: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """Who is connected now: all, how many by our call; validators: keys not reached directly."""

    connected: frozenset[str]
    outbound: int
    validators: frozenset[bytes]


class Dialer:
    """Calls peers until there are enough; a peer that is away is tried ever more seldom."""

    def __init__(
        self,
        settings: NetworkSettings,
        reserved: Reserved,
        book: Book,
        caller: Caller,
        own: str,
        situation: Callable[[], Situation],
        count: Callable[[bool], None],
    ) -> None:
        """count: told of every call, whether it succeeded."""
        self._settings = settings
        self._book = book
        self._caller = caller
        self._own = own
        self._situation = situation
        self._count = count
        self._attempts: dict[str, _Attempt] = {}
        self._reserved = reserved
        self._bootnodes = by_peer(settings.bootnodes)

    async def run(self) -> None:
        """Call until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                running = sum(attempt.running for attempt in self._attempts.values())
                for peer in self._candidates():
                    if running >= AT_ONCE:
                        break
                    running += 1
                    self._attempt(peer).running = True
                    nursery.start_soon(self._call, peer)
                await trio.sleep(EVERY_SECONDS)

    def refused(self, peer: str, reason: HelloReason) -> None:
        """Leave a peer alone that does not want us, or that we do not want."""
        attempt = self._attempt(peer)
        attempt.next_at = trio.current_time() + PATIENCE.get(reason, LONGEST_BACKOFF)

    def joined(self, peer: str) -> None:
        """Call at once again when a peer that was fine goes away."""
        attempt = self._attempt(peer)
        attempt.backoff, attempt.next_at = FIRST_BACKOFF, 0.0

    def _candidates(self) -> list[str]:
        situation = self._situation()
        now = trio.current_time()

        def free(peer: str) -> bool:
            attempt = self._attempts.get(peer)
            idle = attempt is None or (not attempt.running and attempt.next_at <= now)
            apart = peer != self._own and peer not in situation.connected
            return idle and apart and self._book.banned(peer) is None

        wanted = [peer for peer in self._reserved if free(peer)]
        if self._settings.reserved_only:
            return wanted
        missing = {key.hex() for key in situation.validators}
        known = self._book.peers()
        wanted += [p for p, entry in known.items() if entry.validator in missing and free(p)]
        room = self._settings.outbound - situation.outbound
        if missing:
            # One of those we know nothing of may be a validator, or lead to one.
            room = max(room, 2)
        if room > 0:
            others = [
                p for p in {**dict.fromkeys(self._bootnodes), **dict.fromkeys(known)} if free(p)
            ]
            random.shuffle(others)
            wanted += others[:room]
        return list(dict.fromkeys(wanted))

    async def _call(self, peer: str) -> None:
        attempt = self._attempt(peer)
        try:
            known = self._book.peers().get(peer)
            told = [Address.parse(text) for text in known.addresses[:2]] if known else []
            fixed = (*self._reserved.places(peer), *self._bootnodes.get(peer, ()))
            for address in dict.fromkeys((*told, *fixed)):
                if await self._reach(address, peer):
                    return
                if peer in self._situation().connected:  # it called us, and ours was one too many
                    return
            self._book.failed(peer)
        finally:
            wanted = peer in self._reserved or peer in self._bootnodes
            most = WANTED_BACKOFF if wanted else LONGEST_BACKOFF
            attempt.running = False
            pause = attempt.backoff * random.uniform(0.8, 1.2)
            attempt.next_at = max(attempt.next_at, trio.current_time() + pause)
            attempt.backoff = min(attempt.backoff * 2, most)

    async def _reach(self, address: Address, peer: str) -> bool:
        try:
            await self._caller.dial(address.host, address.port, peer)
        except Exception as error:
            _log.debug("no answer", address=address, error=error)
            self._count(False)
            return False
        self._count(True)
        return True

    def _attempt(self, peer: str) -> _Attempt:
        if len(self._attempts) > 4096:
            idle = [p for p, a in self._attempts.items() if not a.running]
            for old in idle[:1024]:
                del self._attempts[old]
        return self._attempts.setdefault(peer, _Attempt())
