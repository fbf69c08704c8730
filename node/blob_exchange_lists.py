"""The hashes of a blob's chunks: what makes each chunk checkable by itself.

    <store>/lists/<blob hash>       the list, then its own blake2b-256

A list is made once from a complete blob and kept as long as that.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from node.blobs import CHUNK_BYTES, LISTS, BlobStore
from runtime.primitives.hashing import blake2_256

HASH = 32
REMEMBERED_BYTES = 8 << 20

ChunkHashes = tuple[bytes, ...]


def count_chunks(size: int) -> int:
    """Return how many chunks a blob of so many bytes has."""
    return -(-size // CHUNK_BYTES)


def chunk_length(size: int, index: int) -> int:
    """Return the bytes of a chunk of a blob."""
    return min(CHUNK_BYTES, size - index * CHUNK_BYTES)


def hash_chunks(file: Path) -> Iterator[bytes]:
    """Yield the hash of each chunk of a file; raises FileNotFoundError."""
    with file.open("rb") as stream:
        while data := stream.read(CHUNK_BYTES):
            yield blake2_256(data)


def join_hashes(hashes: ChunkHashes) -> bytes:
    """Write a list as bytes."""
    return b"".join(hashes)


def split_hashes(data: bytes, size: int) -> ChunkHashes | None:
    """Read the list of a blob of `size` bytes; None where it has another length."""
    if len(data) != count_chunks(size) * HASH:
        return None
    return tuple(data[at : at + HASH] for at in range(0, len(data), HASH))


class ChunkLists:
    """The lists of complete blobs; may be called from any thread."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, ChunkHashes] = OrderedDict()
        self._bytes = 0

    def known(self, blob: bytes) -> ChunkHashes | None:
        """Return a list that is in memory."""
        with self._lock:
            hashes = self._known.get(blob)
            if hashes is not None:
                self._known.move_to_end(blob)
            return hashes

    def load(self, blob: bytes) -> ChunkHashes | None:
        """Return the list of a complete blob, made now if need be; None where it is not here."""
        file = self._store.path(blob)
        if file is None:
            return None
        try:
            size = file.stat().st_size
            hashes = self.known(blob) or self._stored(blob, size)
            if hashes is None:
                hashes = tuple(hash_chunks(file))
                self.save(blob, hashes)
        except FileNotFoundError:
            return None
        self._remember(blob, hashes)
        return hashes

    def save(self, blob: bytes, hashes: ChunkHashes) -> None:
        """Keep a list that is known to be right."""
        data = join_hashes(hashes)
        path = self._path(blob)
        part = path.with_name(f"{path.name}.{threading.get_ident()}.part")
        part.write_bytes(data + blake2_256(data))
        part.replace(path)

    def forget(self, blob: bytes) -> None:
        """Delete the list of a blob."""
        with self._lock:
            self._bytes -= HASH * len(self._known.pop(blob, ()))
        self._path(blob).unlink(missing_ok=True)

    def _stored(self, blob: bytes, size: int) -> ChunkHashes | None:
        try:
            data = self._path(blob).read_bytes()
        except FileNotFoundError:
            return None
        data, mark = data[:-HASH], data[-HASH:]
        return split_hashes(data, size) if blake2_256(data) == mark else None

    def _remember(self, blob: bytes, hashes: ChunkHashes) -> None:
        with self._lock:
            if blob not in self._known:
                self._known[blob] = hashes
                self._bytes += HASH * len(hashes)
            while self._bytes > REMEMBERED_BYTES:
                _, gone = self._known.popitem(last=False)
                self._bytes -= HASH * len(gone)

    def _path(self, blob: bytes) -> Path:
        return self._store.root / LISTS / blob.hex()
