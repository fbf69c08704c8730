"""The file behind the session book: one SQLite database, synced at every commit, one process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from runtime.primitives.errors import Refusal

SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS vouchers (
    session INTEGER, nonce INTEGER, signed BLOB NOT NULL, body BLOB NOT NULL,
    max_fee TEXT NOT NULL, state INTEGER NOT NULL, PRIMARY KEY (session, nonce));
CREATE TABLE IF NOT EXISTS submissions (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, root BLOB NOT NULL, batch BLOB NOT NULL, voucher BLOB NOT NULL,
    chain_batch INTEGER, void INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS receipts (
    session INTEGER, nonce INTEGER, hash BLOB NOT NULL UNIQUE, signed BLOB NOT NULL,
    cost TEXT NOT NULL, prompt BLOB NOT NULL, output BLOB NOT NULL, sampling BLOB NOT NULL,
    model INTEGER NOT NULL, height INTEGER NOT NULL, logits BLOB NOT NULL,
    fingerprint BLOB NOT NULL, engine BLOB NOT NULL, attributed INTEGER NOT NULL DEFAULT 0,
    report BLOB, explanation BLOB, submission INTEGER REFERENCES submissions (id),
    PRIMARY KEY (session, nonce));
CREATE INDEX IF NOT EXISTS unsubmitted ON receipts (session) WHERE submission IS NULL;
CREATE INDEX IF NOT EXISTS unattributed ON receipts (session, nonce) WHERE attributed = 0;
CREATE INDEX IF NOT EXISTS open_vouchers ON vouchers (session, nonce) WHERE state = 0;
CREATE TABLE IF NOT EXISTS attestations (batch INTEGER PRIMARY KEY, value BLOB NOT NULL);
"""


class BookReason(Enum):
    """Why the session book cannot be used."""

    LOCKED = "another worker uses this folder: stop it, or give each worker a folder of its own"
    OTHER_CHAIN = "the book was kept for another chain or another key: choose another folder"
    UNREADABLE = "the book cannot be read: restore it, never start over with open sessions"


class BookError(Refusal):
    """The session book cannot be used."""

    def __init__(self, reason: BookReason, detail: str) -> None:
        super().__init__(reason, f"{detail}: {reason.value}")
        self.reason: BookReason = reason


class BookFile:
    """Transactions on the database; callable from any thread, one at a time."""

    def __init__(self, path: Path, owner: bytes) -> None:
        """Open or create; `owner` (genesis hash and worker key) must be the one it was made for."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._rows = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            # Exclusive, so that no second worker hands out the same nonces; FULL, so that what is
            # committed survives a power cut.
            self._rows.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._rows.execute("PRAGMA journal_mode = WAL")
            self._rows.execute("PRAGMA synchronous = FULL")
            self._rows.executescript(SCHEMA)
            self._rows.execute("INSERT OR IGNORE INTO facts VALUES ('owner', ?)", (owner,))
        except sqlite3.OperationalError as error:
            self._rows.close()
            locked = "locked" in str(error)
            reason = BookReason.LOCKED if locked else BookReason.UNREADABLE
            raise BookError(reason, str(path)) from error
        except sqlite3.DatabaseError as error:
            self._rows.close()
            raise BookError(BookReason.UNREADABLE, f"{path}: {error}") from error
        kept = self._rows.execute("SELECT value FROM facts WHERE name = 'owner'").fetchone()[0]
        if kept != owner:
            self._rows.close()
            raise BookError(BookReason.OTHER_CHAIN, str(path))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit all of a block, on disk when it ends, or nothing of it."""
        with self._lock:
            self._rows.execute("BEGIN IMMEDIATE")
            try:
                yield self._rows
            except BaseException:
                self._rows.execute("ROLLBACK")
                raise
            self._rows.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read while nobody writes."""
        with self._lock:
            yield self._rows

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._rows.close()
