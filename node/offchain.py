"""Small notes that the operator's programs keep on this node, outside of the chain."""

from __future__ import annotations

import json
import os
import secrets
from enum import Enum
from pathlib import Path

from runtime.primitives.errors import Refusal

MOST_ENTRIES = 1024
MOST_BYTES = 1 << 20
"""Keys and values together."""


class NotesReason(Enum):
    """Why a note is not kept."""

    FULL = f"at most {MOST_ENTRIES} notes of {MOST_BYTES} bytes together are kept; clear some first"
    UNREADABLE = "the file cannot be read or written; look at the disk, or move it away"


class NotesRefusal(Refusal):
    """Nothing was changed."""

    def __init__(self, reason: NotesReason, what: object = "") -> None:
        super().__init__(reason, f"{what}: {reason.value}" if what else reason.value)
        self.reason: NotesReason = reason


class Notes:
    """Byte strings by key in one file, replaced as a whole; read when first asked for.

    Call it from one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[bytes, bytes] | None = None

    def get(self, key: bytes) -> bytes | None:
        """Return a note; raises NotesRefusal."""
        return self._load().get(key)

    def set(self, key: bytes, value: bytes) -> None:
        """Keep a note; on the disk before this returns. Raises NotesRefusal."""
        entries = self._load() | {key: value}
        size = sum(len(k) + len(v) for k, v in entries.items())
        if len(entries) > MOST_ENTRIES or size > MOST_BYTES:
            raise NotesRefusal(NotesReason.FULL)
        self._save(entries)

    def clear(self, key: bytes) -> None:
        """Forget a note; an absent one stays absent. Raises NotesRefusal."""
        entries = dict(self._load())
        if entries.pop(key, None) is not None:
            self._save(entries)

    def _load(self) -> dict[bytes, bytes]:
        if self._entries is None:
            try:
                told = json.loads(self._path.read_text()) if self._path.exists() else {}
                self._entries = {bytes.fromhex(k): bytes.fromhex(v) for k, v in told.items()}
            except (OSError, ValueError, AttributeError, TypeError) as error:
                raise NotesRefusal(NotesReason.UNREADABLE, self._path) from error
        return self._entries

    def _save(self, entries: dict[bytes, bytes]) -> None:
        temporary = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w") as file:
                json.dump({key.hex(): value.hex() for key, value in entries.items()}, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise NotesRefusal(NotesReason.UNREADABLE, self._path) from error
        self._entries = entries
