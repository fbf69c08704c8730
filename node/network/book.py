"""Addresses and bans on disk: one file, replaced as a whole, bounded."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from node.log import Log
from node.network.addresses import Address

_log = Log("network")

MOST_PEERS = 1024
MOST_ADDRESSES = 4
MOST_BANS = 4096
FIRST_BAN_SECONDS = 600.0
LONGEST_BAN_SECONDS = 86400.0
FORGET_BAN_SECONDS = 7 * 86400.0
MOST_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class Known:
    """A peer that may be called. seen: when it last was connected (unix seconds; 0 for never)."""

    addresses: list[str]
    seen: float = 0.0
    failures: int = 0
    validator: str | None = None


@dataclass(slots=True)
class Ban:
    """until: unix seconds; times: bans so far, each twice as long as the one before."""

    until: float
    times: int
    reason: str


@dataclass(slots=True)
class _Content:
    peers: dict[str, Known] = field(default_factory=dict)
    bans: dict[str, Ban] = field(default_factory=dict)


class Book:
    """Who is known and who is banned; by peer id, or by `ip:<address>`."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """clock: unix seconds. A file that cannot be read is put aside, not fatal."""
        self._path = path
        self._clock = clock
        self._content = _load(path)
        self._changed = False

    def add(self, address: Address) -> bool:
        """Remember where a peer is; tells whether that was new."""
        if address.peer is None:
            return False
        known = self._content.peers.get(address.peer)
        text = str(address)
        if known is not None and text in known.addresses:
            return False
        if known is None:
            self._make_room()
            known = self._content.peers[address.peer] = Known([])
        known.addresses = [text, *known.addresses][:MOST_ADDRESSES]
        self._changed = True
        return True

    def peers(self) -> dict[str, Known]:
        """Return who is known."""
        return self._content.peers

    def connected(self, peer: str, address: Address | None, validator: bytes | None) -> None:
        """Note that a peer was reached or came, and prefer the address where it is."""
        if address is not None:
            self.add(address.of(peer))
        known = self._content.peers.get(peer)
        if known is None:
            return
        if address is not None:
            text = str(address.of(peer))
            known.addresses = [text, *(a for a in known.addresses if a != text)]
        known.seen, known.failures = self._clock(), 0
        known.validator = validator.hex() if validator else None
        self._changed = True

    def failed(self, peer: str) -> None:
        """Note that a peer was not reached; one that never was is forgotten after some tries."""
        known = self._content.peers.get(peer)
        if known is None:
            return
        known.failures += 1
        known.addresses = known.addresses[1:] + known.addresses[:1]
        self._changed = True
        if known.failures >= (8 if known.seen == 0 else 64):
            del self._content.peers[peer]

    def ban(self, key: str, reason: str) -> float:
        """Ban a peer id or `ip:<address>`; returns for how many seconds."""
        before = self._content.bans.get(key)
        times = before.times + 1 if before else 1
        seconds = min(FIRST_BAN_SECONDS * (1 << min(times - 1, 16)), LONGEST_BAN_SECONDS)
        while len(self._content.bans) >= MOST_BANS and key not in self._content.bans:
            del self._content.bans[min(self._content.bans, key=self._until)]
        self._content.bans[key] = Ban(self._clock() + seconds, times, reason[:200])
        self._changed = True
        return seconds

    def banned(self, key: str) -> Ban | None:
        """Return the ban in force, if there is one."""
        ban = self._content.bans.get(key)
        return ban if ban is not None and ban.until > self._clock() else None

    def bans(self) -> dict[str, Ban]:
        """Return the bans in force."""
        return {key: ban for key in self._content.bans if (ban := self.banned(key)) is not None}

    def unban(self, key: str) -> bool:
        """Lift a ban; tells whether there was one."""
        self._changed = True
        return self._content.bans.pop(key, None) is not None

    def save(self) -> None:
        """Write the file if anything changed; a disk that refuses costs a log line."""
        if not self._changed:
            return
        horizon = self._clock() - FORGET_BAN_SECONDS
        bans = {key: ban for key, ban in self._content.bans.items() if ban.until > horizon}
        self._content.bans = bans
        try:
            _replace(self._path, json.dumps(asdict(self._content), indent=1).encode())
            self._changed = False
        except OSError as error:
            _log.warning("address book not saved", path=self._path, error=error)

    def _until(self, key: str) -> float:
        return self._content.bans[key].until

    def _make_room(self) -> None:
        peers = self._content.peers
        while len(peers) >= MOST_PEERS:
            del peers[min(peers, key=lambda peer: (peers[peer].seen, -peers[peer].failures))]


def _load(path: Path) -> _Content:
    try:
        with path.open("rb") as file:
            raw: Any = json.loads(file.read(MOST_BYTES))
        peers = {str(peer): _known(entry) for peer, entry in raw["peers"].items()}
        bans = {
            str(key): Ban(float(b["until"]), int(b["times"]), str(b["reason"]))
            for key, b in raw["bans"].items()
        }
        return _Content(peers, bans)
    except FileNotFoundError:
        return _Content()
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        _log.warning("address book unreadable; starting an empty one", path=path, error=error)
        return _Content()


def _known(entry: dict[str, Any]) -> Known:
    validator = entry["validator"]
    return Known(
        [str(Address.parse(text)) for text in entry["addresses"][:MOST_ADDRESSES]],
        float(entry["seen"]),
        int(entry["failures"]),
        None if validator is None else bytes.fromhex(validator).hex(),
    )


def _replace(path: Path, content: bytes) -> None:
    """Replace a file by one that is whole, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
