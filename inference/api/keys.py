"""Local API keys: a file with a line per key, read again whenever it changes.

    # name:key, or name:sha256:<hex digest of the key>; "admin" behind it allows loading adapters
    alice:sk-1b0c…
    bob:sha256:9f86d081884c7d65…
    ops:sha256:60303ae22b998861… admin

A name may stand in several lines, so that keys can be replaced one after the other.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from starlette.datastructures import Headers

from inference.api.errors import ApiReason, ApiRefused
from inference.log import Log
from runtime.primitives.errors import Refusal

_LOG = Log("keys")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASHED = "sha256:"
ADMIN = "admin"
LEAST_KEY = 8
LOOK_SECONDS = 1.0
"""The file is looked at this often at most."""


class KeysReason(Enum):
    """Why a file of keys is refused."""

    UNREADABLE = "unreadable"
    BAD_LINE = "bad_line"
    NO_KEYS = "no_keys"


class KeysRefused(Refusal):
    """A file of keys that cannot be used."""

    def __init__(self, reason: KeysReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: KeysReason = reason


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the tenant whose share of the engine it is, and whether it may load adapters."""

    tenant: str
    is_admin: bool = False


class Authority(Protocol):
    """Tells who sent a request."""

    def caller(self, headers: Headers) -> Caller:
        """Return who asks; raises ApiRefused."""


@dataclass(frozen=True, slots=True)
class _Key:
    caller: Caller
    digest: bytes


class KeyFile:
    """Knows callers by their bearer keys."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises KeysRefused."""
        self._path = path
        self._seen = _state(path)
        self._keys = _read(path)
        self._look_at = time.monotonic() + LOOK_SECONDS

    @property
    def count(self) -> int:
        """Number of keys."""
        return len(self._keys)

    def caller(self, headers: Headers) -> Caller:
        """Return whose key a request carries; raises BAD_KEY."""
        self._look()
        scheme, _, key = headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(key.strip().encode()).digest()
        found: Caller | None = None
        for known in self._keys:  # all of them: the time tells nothing of where a match stands
            if hmac.compare_digest(known.digest, digest):
                found = known.caller
        if found is None or scheme.lower() != "bearer":
            raise ApiRefused(ApiReason.BAD_KEY)
        return found

    def _look(self) -> None:
        """Read the file again if it changed; one that cannot be used leaves the old keys valid."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        state = _state(self._path)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._keys = _read(self._path)
        except KeysRefused as refusal:
            _LOG.warning("keys not read again; the old ones stay valid", cause=refusal)
        else:
            _LOG.info("keys read again", keys=len(self._keys))


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> tuple[_Key, ...]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise KeysRefused(KeysReason.UNREADABLE, f"{path}: {error}") from error
    keys = parse_keys(lines, str(path))
    if not keys:
        raise KeysRefused(KeysReason.NO_KEYS, f"{path} holds no key; write lines name:key")
    return keys


def parse_keys(lines: Sequence[str], where: str = "keys") -> tuple[_Key, ...]:
    """Read the lines of a file of keys; raises BAD_LINE, which names the line, never the key."""
    keys = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            key = _key(text)
            if key is None:
                raise KeysRefused(
                    KeysReason.BAD_LINE,
                    f"{where}, line {number}: write name:key or name:sha256:<64 hex digits>, then "
                    f"{ADMIN} if it may load adapters; a key has at least {LEAST_KEY} characters",
                )
            keys.append(key)
    return tuple(keys)


def _key(text: str) -> _Key | None:
    entry, *flags = text.split()
    name, _, secret = entry.partition(":")
    if not _NAME.fullmatch(name) or flags not in ([], [ADMIN]):
        return None
    caller = Caller(name, is_admin=bool(flags))
    if not secret.startswith(_HASHED):
        found = len(secret) >= LEAST_KEY
        return _Key(caller, hashlib.sha256(secret.encode()).digest()) if found else None
    try:
        digest = bytes.fromhex(secret.removeprefix(_HASHED))
    except ValueError:
        return None
    return _Key(caller, digest) if len(digest) == hashlib.sha256().digest_size else None
