"""The writable state of a block under construction: pending writes over a reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

from runtime.state.ordering import SortedKeys, merge
from runtime.state.store import StateReader


class NoTransaction(RuntimeError):
    """`commit` or `rollback` without a `begin`: a bug of the caller."""


class _Absent(Enum):
    ABSENT = 0


_ABSENT: Final = _Absent.ABSENT


class Overlay:
    """Reads through to `reader`, keeps writes to itself, in nested transactions.

    A transaction is a journal of what its writes replaced, so beginning one costs nothing and
    ending one costs as much as it wrote. `reads` counts the values asked of the reader (each key
    once, and every entry that an iteration draws from it), `writes` counts puts and deletes; both
    only grow, since the work of what is rolled back was done.
    """

    __slots__ = ("_journals", "_keys", "_pending", "_reader", "_seen", "reads", "writes")

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader
        self._seen: dict[bytes, bytes | None] = {}
        self._pending: dict[bytes, bytes | None] = {}
        self._keys = SortedKeys()
        self._journals: list[dict[bytes, bytes | _Absent | None]] = []
        self.reads = 0
        self.writes = 0

    @property
    def depth(self) -> int:
        """Return the number of open transactions."""
        return len(self._journals)

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`."""
        if key in self._pending:
            return self._pending[key]
        if key in self._seen:
            return self._seen[key]
        self.reads += 1
        value = self._seen[key] = self._reader.get(key)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Write a value."""
        self._write(key, value)

    def delete(self, key: bytes) -> None:
        """Remove a value; an absent one stays absent."""
        self._write(key, None)

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries under `prefix`, ascending by key, as they are at this moment.

        Writes during the iteration do not show in it, so a loop may delete what it visits.
        """
        pending = self._pending
        keys = self._keys.under(prefix, after)
        changed = [(key, pending[key]) for key in keys if key in pending]
        return merge(self._drawn(self._reader.iterate(prefix, after)), changed)

    def begin(self) -> None:
        """Open a transaction inside the current one."""
        self._journals.append({})

    def commit(self) -> None:
        """Close the innermost transaction and keep its writes; raises NoTransaction."""
        journal = self._close()
        if self._journals:
            outer = self._journals[-1]
            for key, previous in journal.items():
                outer.setdefault(key, previous)

    def rollback(self) -> None:
        """Close the innermost transaction and undo its writes; raises NoTransaction."""
        pending = self._pending
        for key, previous in self._close().items():
            if previous is _ABSENT:
                del pending[key]
            else:
                pending[key] = previous

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit at the end of the block, roll back when an exception leaves it."""
        self.begin()
        try:
            yield
        except BaseException:
            self.rollback()
            raise
        self.commit()

    def changes(self) -> dict[bytes, bytes | None]:
        """Return what differs from the reader, ascending by key; None is a deletion.

        Writes of open transactions are included. Comparing does not count as reading.
        """
        seen, reader = self._seen, self._reader
        return {
            key: value
            for key, value in sorted(self._pending.items())
            if value != (seen[key] if key in seen else reader.get(key))
        }

    def _write(self, key: bytes, value: bytes | None) -> None:
        self.writes += 1
        pending = self._pending
        if self._journals:
            journal = self._journals[-1]
            if key not in journal:
                journal[key] = pending.get(key, _ABSENT)
        if key not in pending:
            self._keys.add(key)
        pending[key] = value

    def _close(self) -> dict[bytes, bytes | _Absent | None]:
        if not self._journals:
            raise NoTransaction("no transaction is open: call begin() first")
        return self._journals.pop()

    def _drawn(self, entries: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        for entry in entries:
            self.reads += 1
            yield entry
