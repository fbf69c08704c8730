"""The one file that imports plyvel: a key-value store with atomic synced batches and snapshots.

A failed write may leave a torn record at the end of LevelDB's log, and a record written behind
it would be lost at the next start. So the first failure closes the store for writing for good.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import plyvel

from node.errors import StorageClosed, StorageFailure, StorageFull, StorageLocked
from node.storage.layout import end_of

WRITE_BUFFER_BYTES = 16 << 20
CACHE_BYTES = 64 << 20
OPEN_FILES = 256
LOW_SPACE_BYTES = 8 << 20


class Reader(Protocol):
    """What can be read from: the store as it is now, or a snapshot of it."""

    def get(self, key: bytes) -> bytes | None:
        """Read one value."""

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Walk the keys that start with `prefix`, ascending; only those behind `after`."""


class Snapshot:
    """The store as it was at one moment; cheap, safe from any thread, dropped when unreferenced."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def get(self, key: bytes) -> bytes | None:
        """Read one value."""
        return _get(self._inner, key)

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Walk the keys that start with `prefix`, ascending; only those behind `after`."""
        return _iterate(self._inner, prefix, after)


class Database:
    """One LevelDB folder, held by one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failure: str | None = None
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._inner = plyvel.DB(
                str(path),
                create_if_missing=True,
                write_buffer_size=WRITE_BUFFER_BYTES,
                lru_cache_size=CACHE_BYTES,
                max_open_files=OPEN_FILES,
                bloom_filter_bits=10,
            )
        except (OSError, plyvel.Error) as error:
            raise _opening_error(path, error) from error

    def get(self, key: bytes) -> bytes | None:
        """Read one value."""
        return _get(self._inner, key)

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Walk the keys that start with `prefix`, ascending; only those behind `after`."""
        return _iterate(self._inner, prefix, after)

    def snapshot(self) -> Snapshot:
        """Freeze a view of everything written so far."""
        try:
            return Snapshot(self._inner.snapshot())
        except RuntimeError as error:
            raise StorageClosed("the database is closed") from error

    def write(self, changes: Iterable[tuple[bytes, bytes | None]], *, sync: bool = True) -> None:
        """Write (or with None delete) all or nothing; on the disk before this returns.

        Without `sync` a power failure may undo it, together with all unsynced writes behind it.
        Raises StorageFull or StorageFailure; after either no write is taken any more.
        """
        if self._failure is not None:
            raise StorageFailure(f"writing stopped after an earlier failure: {self._failure}")
        try:
            with self._inner.write_batch(transaction=True, sync=sync) as batch:
                for key, value in changes:
                    if value is None:
                        batch.delete(key)
                    else:
                        batch.put(key, value)
        except (OSError, plyvel.Error) as error:
            self._failure = _text(error)
            raise self._write_error(error) from error
        except RuntimeError as error:
            raise StorageClosed("the database is closed") from error

    def close(self) -> None:
        """Release the folder; reads of views that are still around raise StorageClosed."""
        self._inner.close()

    def _write_error(self, error: Exception) -> StorageFull | StorageFailure:
        text = _text(error)
        full = any(os.strerror(code) in text for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
        if full or shutil.disk_usage(self._path).free < LOW_SPACE_BYTES:
            return StorageFull(
                f"no space left for the database at {self._path} ({text}); free some space and "
                "start again: everything up to the last finalised block is kept"
            )
        return StorageFailure(f"writing to the database at {self._path} failed: {text}")


def _get(source: Any, key: bytes) -> bytes | None:
    try:
        value: bytes | None = source.get(key)
    except RuntimeError as error:
        raise StorageClosed("the database is closed") from error
    except (OSError, plyvel.Error) as error:
        raise StorageFailure(f"reading from the database failed: {_text(error)}") from error
    return value


def _iterate(source: Any, prefix: bytes, after: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    start = prefix if after is None else max(prefix, after + b"\0")
    try:
        with source.iterator(start=start, stop=end_of(prefix)) as entries:
            yield from entries
    except RuntimeError as error:
        raise StorageClosed("the database is closed") from error
    except (OSError, plyvel.Error) as error:
        raise StorageFailure(f"reading from the database failed: {_text(error)}") from error


def _text(error: Exception) -> str:
    told = error.args[0] if error.args else error
    return told.decode(errors="replace") if isinstance(told, bytes) else str(error)


def _opening_error(path: Path, error: Exception) -> StorageLocked | StorageFull | StorageFailure:
    text = _text(error)
    if "lock" in text.lower():
        return StorageLocked(
            f"another process uses the database at {path}; stop it, or choose another --base-path"
        )
    if os.strerror(errno.ENOSPC) in text:
        return StorageFull(f"no space left to open the database at {path}; free some space")
    return StorageFailure(f"the database at {path} cannot be opened: {text}")
