"""Who may come: bans, and what leads to them."""

from __future__ import annotations

import time
from collections.abc import Container
from enum import Enum, auto

from node.log import Log
from node.network.addresses import is_loopback
from node.network.book import Book
from node.network.interface import Counters, Offence
from node.network.standing import Standing

_log = Log("network")

HANDSHAKE_FAULTS = 5
FAULT_SECONDS = 60.0
"""So many garbled handshakes in so many seconds ban an IP."""
MOST_IPS = 4096


class Verdict(Enum):
    """What an offence leads to."""

    NOTHING = auto()
    MUTE = auto()
    HANG_UP = auto()


class Gatekeeper:
    """Counts offences and keeps the bans; this machine's own address is never banned."""

    def __init__(self, own: str, book: Book, reserved: Container[str], counters: Counters) -> None:
        self._own = own
        self._book = book
        self._reserved = reserved
        self._counters = counters
        self._standing = Standing()
        self._faults: dict[str, list[float]] = {}

    def admits(self, ip: str) -> bool:
        """Tell whether an IP may connect."""
        return self._book.banned(f"ip:{ip}") is None

    def heeds(self, peer: str) -> bool:
        """Tell whether what a peer wrote is heard."""
        return peer in self._reserved or self._book.banned(peer) is None

    def score(self, peer: str) -> int:
        """Return a peer's points."""
        return self._standing.score(peer, time.monotonic())

    def offence(self, peer: str, offence: Offence, detail: str) -> Verdict:
        """Count an offence; enough of them ban a peer, a reserved one is muted."""
        _log.debug("peer offended", peer=peer, offence=offence.name, detail=detail)
        if peer == self._own or not self._standing.offend(peer, offence, time.monotonic()):
            return Verdict.NOTHING
        if peer in self._reserved:
            _log.warning("reserved peer is not heard", peer=peer, why=offence.name, detail=detail)
            return Verdict.MUTE
        self._ban(peer, f"{offence.name}: {detail}")
        return Verdict.HANG_UP

    def garbage_from(self, ip: str, detail: str) -> None:
        """Ban an IP from which something unreadable came."""
        if ip and not is_loopback(ip):
            self._ban(f"ip:{ip}", f"{Offence.GARBAGE.name}: {detail}")

    def handshake_failed(self, ip: str, detail: str) -> None:
        """Count a garbled handshake."""
        self._counters.handshakes_failed += 1
        if not ip or is_loopback(ip):
            return
        now = time.monotonic()
        recent = [*(at for at in self._faults.pop(ip, []) if at > now - FAULT_SECONDS), now]
        while len(self._faults) >= MOST_IPS:
            del self._faults[next(iter(self._faults))]
        self._faults[ip] = recent
        if len(recent) >= HANDSHAKE_FAULTS:
            self.garbage_from(ip, detail)

    def _ban(self, key: str, reason: str) -> None:
        if self._book.banned(key) is None:
            seconds = self._book.ban(key, reason)
            self._counters.bans += 1
            _log.warning("banned", who=key, why=reason, seconds=seconds)
