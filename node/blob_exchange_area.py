"""Blobs that are being fetched: sparse files of their full size, written in any order.

What a file holds after a kill is found by hashing its chunks, so nothing is synced before the end.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from node.blob_errors import BlobReason, BlobRefusal
from node.blob_exchange_lists import ChunkHashes, hash_chunks
from node.blobs import CHUNK_BYTES, FETCHES, BlobStore, is_blob


class FetchArea:
    """The files of blobs under way; each is written by one fetch at a time, in any thread."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    def open(self, blob: bytes) -> int:
        """Make room for a whole blob, unless it is made; returns its size. Raises BlobRefusal."""
        size = self._store.declared_size(blob)
        path = self._path(blob)
        if path.exists() and path.stat().st_size == size:
            return size
        self.drop(blob)
        self._store.reserve(size)
        try:
            with path.open("wb") as file:
                file.truncate(size)
        except OSError as error:
            path.unlink(missing_ok=True)
            self._store.release(size)
            raise BlobRefusal(BlobReason.DISK, str(error)) from error
        return size

    def hashes(self, blob: bytes) -> ChunkHashes:
        """Hash each chunk as it is on the disk, written or not."""
        try:
            return tuple(hash_chunks(self._path(blob)))
        except FileNotFoundError:
            raise BlobRefusal(BlobReason.ABSENT) from None

    def write(self, blob: bytes, index: int, data: bytes) -> None:
        """Write a chunk; raises BlobRefusal: DISK, or ABSENT where the file was deleted."""
        try:
            with self._path(blob).open("r+b") as file:
                file.seek(index * CHUNK_BYTES)
                file.write(data)
        except FileNotFoundError:
            raise BlobRefusal(BlobReason.ABSENT) from None
        except OSError as error:
            raise BlobRefusal(BlobReason.DISK, str(error)) from error

    def finish(self, blob: bytes) -> bool:
        """Make the file the complete blob if it has the blob's hash; tells whether it has."""
        path = self._path(blob)
        digest = hashlib.blake2b(digest_size=32)
        try:
            with path.open("rb") as file:
                os.fsync(file.fileno())
                while data := file.read(CHUNK_BYTES):
                    digest.update(data)
        except FileNotFoundError:
            raise BlobRefusal(BlobReason.ABSENT) from None
        if digest.digest() != blob:
            return False
        self._store.admit(blob, path)
        return True

    def drop(self, blob: bytes) -> None:
        """Delete a file, if there is one."""
        path = self._path(blob)
        if path.exists():
            size = path.stat().st_size
            path.unlink()
            self._store.release(size)

    def drop_empty(self, blob: bytes) -> None:
        """Delete a file into which nothing was written."""
        path = self._path(blob)
        if path.exists() and not path.stat().st_blocks:
            self.drop(blob)

    def held(self) -> list[tuple[bytes, int]]:
        """List blobs under way or given up for now, with size; the one written last at the end."""
        files = [path for path in (self._store.root / FETCHES).iterdir() if is_blob(path)]
        found = [(p.stat().st_mtime_ns, bytes.fromhex(p.name), p.stat().st_size) for p in files]
        return [(blob, size) for _, blob, size in sorted(found)]

    def _path(self, blob: bytes) -> Path:
        return self._store.root / FETCHES / blob.hex()
