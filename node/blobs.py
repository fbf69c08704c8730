"""Content-addressed blobs on disk: uploads in chunks, resumable, visible once their hash holds.

    <root>/<first byte of the hash>/<hash>      complete blobs
    <root>/uploads/<hash>                       bytes received so far, in order
    <root>/fetches/<hash>                       chunks fetched from peers, in any order
    <root>/lists/<hash>                         hashes of a complete blob's chunks

Only hashes that the chain declares are taken, with the size it declares. All methods may be
called from any thread; a folder belongs to one process.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from node.blob_errors import BlobReason, BlobRefusal

CHUNK_BYTES = 1 << 20
UPLOADS = "uploads"
FETCHES = "fetches"
LISTS = "lists"
STRIPES = 64
"""Locks: two writes to one blob take turns, as do a few others by chance."""

_NAME = re.compile(r"[0-9a-f]{64}")

Declared = Callable[[bytes], int | None]


@dataclass(frozen=True, slots=True)
class BlobLimits:
    """Bounds of the store, in bytes but for `uploads`."""

    blob_bytes: int = 4 << 30
    total_bytes: int = 64 << 30
    uploads: int = 256


@dataclass(frozen=True, slots=True)
class BlobStatus:
    """How much of a declared blob is here, in bytes."""

    size: int
    received: int
    complete: bool


class BlobStore:
    """Blobs by blake2b-256; `declared` names the size of a hash that the chain knows, or None."""

    def __init__(self, root: Path, declared: Declared, limits: BlobLimits | None = None) -> None:
        self._root = root
        self._declared = declared
        self._limits = limits or BlobLimits()
        self._guard = threading.Lock()
        self._locks = tuple(threading.Lock() for _ in range(STRIPES))
        self._digests: OrderedDict[bytes, tuple[int, hashlib.blake2b]] = OrderedDict()
        for folder in (UPLOADS, FETCHES, LISTS):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self._used = sum(path.stat().st_size for path in self._all_files())
        self._count = sum(1 for _ in self._complete_files())

    @property
    def root(self) -> Path:
        """The folder of the store."""
        return self._root

    @property
    def limits(self) -> BlobLimits:
        """What the store takes at most."""
        return self._limits

    @property
    def count(self) -> int:
        """The number of complete blobs."""
        return self._count

    @property
    def used_bytes(self) -> int:
        """The bytes on disk, complete or not; of a blob that is being fetched all of them."""
        return self._used

    def status(self, blob_hash: bytes) -> BlobStatus | None:
        """Tell how much of a blob is here; None for one that is neither declared nor here."""
        path = self._path(blob_hash)
        if path.exists():
            size = path.stat().st_size
            return BlobStatus(size, size, complete=True)
        size_declared = self._declared(blob_hash)
        if size_declared is None:
            return None
        return BlobStatus(size_declared, _size(self._upload(blob_hash)), complete=False)

    def declared_size(self, blob_hash: bytes) -> int:
        """Return the size of a blob that may be stored; raises BlobRefusal."""
        size = self._declared(blob_hash)
        if size is None:
            raise BlobRefusal(BlobReason.UNDECLARED)
        if size > self._limits.blob_bytes:
            raise BlobRefusal(BlobReason.TOO_LARGE)
        return size

    def put(self, blob_hash: bytes, offset: int, data: bytes) -> None:
        """Take the chunk at the end of what was received; the last one makes the blob visible.

        Repeating the last chunk, or any chunk of a complete blob, changes nothing. Raises
        BlobRefusal(reason).
        """
        if not 0 < len(data) <= CHUNK_BYTES:
            raise BlobRefusal(BlobReason.CHUNK_SIZE)
        size = self.declared_size(blob_hash)
        if offset < 0 or offset + len(data) > size:
            raise BlobRefusal(BlobReason.TOO_LONG, f"the declared size is {size} bytes")
        with self._lock_of(blob_hash):
            if self._path(blob_hash).exists():
                return
            received = _size(self._upload(blob_hash))
            if offset + len(data) == received:
                return
            if offset != received:
                raise BlobRefusal(BlobReason.WRONG_OFFSET, f"the next chunk begins at {received}")
            self._reserve(received, len(data))
            self._append(blob_hash, received, data)
            if received + len(data) == size:
                self._complete(blob_hash)

    def read(self, blob_hash: bytes, offset: int, length: int) -> bytes:
        """Read at most a mebibyte of a complete blob; raises BlobRefusal(ABSENT or RANGE)."""
        try:
            with self._path(blob_hash).open("rb") as file:
                if not 0 <= offset <= os.fstat(file.fileno()).st_size:
                    raise BlobRefusal(BlobReason.RANGE)
                file.seek(offset)
                return file.read(min(length, CHUNK_BYTES))
        except FileNotFoundError:
            raise BlobRefusal(BlobReason.ABSENT) from None

    def path(self, blob_hash: bytes) -> Path | None:
        """Find the file of a complete blob."""
        path = self._path(blob_hash)
        return path if path.exists() else None

    def hashes(self) -> Iterator[bytes]:
        """List the complete blobs."""
        for path in self._complete_files():
            yield bytes.fromhex(path.name)

    def collect(self) -> int:
        """Delete what the chain declares no more; returns the bytes freed."""
        freed = 0
        for path in list(self._all_files()):
            blob_hash = bytes.fromhex(path.name)
            with self._lock_of(blob_hash):
                if self._declared(blob_hash) is None:
                    freed += self._remove(path)
                    self._digests.pop(blob_hash, None)
        for path in (self._root / LISTS).iterdir():
            if is_blob(path) and self.path(bytes.fromhex(path.name)) is None:
                path.unlink(missing_ok=True)
        return freed

    def discard(self, blob_hash: bytes) -> None:
        """Delete a complete blob whose bytes the disk has spoilt."""
        with self._lock_of(blob_hash):
            self._remove(self._path(blob_hash))

    def reserve(self, length: int) -> None:
        """Count bytes that will be written into the folder; raises BlobRefusal(QUOTA)."""
        with self._guard:
            if self._used + length > self._limits.total_bytes:
                raise BlobRefusal(BlobReason.QUOTA)
            self._used += length

    def release(self, length: int) -> None:
        """Count bytes that are there no more."""
        with self._guard:
            self._used -= length

    def admit(self, blob_hash: bytes, file: Path) -> None:
        """Make a reserved file of exactly these bytes, synced and checked, the complete blob."""
        path = self._path(blob_hash)
        with self._lock_of(blob_hash):
            self._remove(self._upload(blob_hash))
            self._digests.pop(blob_hash, None)
            if path.exists():
                self._remove(file)
            else:
                self._show(file, path)

    def _remove(self, path: Path) -> int:
        """Delete a file of the store, if it is there, under its lock; returns the bytes freed."""
        if not path.exists():
            return 0
        size = path.stat().st_size
        path.unlink()
        with self._guard:
            self._used -= size
            self._count -= path.parent.name not in (UPLOADS, FETCHES)
        return size

    def _reserve(self, received: int, length: int) -> None:
        self.reserve(length)
        if not received:
            uploads = sum(1 for _ in (self._root / UPLOADS).iterdir())
            if uploads >= self._limits.uploads:
                self.release(length)
                raise BlobRefusal(BlobReason.UPLOADS)

    def _append(self, blob_hash: bytes, received: int, data: bytes) -> None:
        upload = self._upload(blob_hash)
        digest = self._digest(blob_hash, received)
        try:
            with upload.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.release(len(data))
            if upload.exists():
                os.truncate(upload, received)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            if full:
                raise BlobRefusal(BlobReason.DISK) from error
            raise
        digest.update(data)
        self._remember(blob_hash, received + len(data), digest)

    def _digest(self, blob_hash: bytes, received: int) -> hashlib.blake2b:
        """Return the hash state behind `received` bytes: remembered, or made from the file."""
        known = self._digests.pop(blob_hash, None)
        if known is not None and known[0] == received:
            return known[1]
        digest = hashlib.blake2b(digest_size=32)
        if received:
            with self._upload(blob_hash).open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    digest.update(chunk)
        return digest

    def _remember(self, blob_hash: bytes, received: int, digest: hashlib.blake2b) -> None:
        with self._guard:
            self._digests[blob_hash] = (received, digest)
            while len(self._digests) > self._limits.uploads:
                self._digests.popitem(last=False)

    def _complete(self, blob_hash: bytes) -> None:
        upload, path = self._upload(blob_hash), self._path(blob_hash)
        known = self._digests.pop(blob_hash, None)
        if known is None or known[1].digest() != blob_hash:
            self._remove(upload)
            raise BlobRefusal(BlobReason.WRONG_HASH)
        self._show(upload, path)

    def _show(self, file: Path, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        file.replace(path)
        with self._guard:
            self._count += 1
        for folder in (path.parent, self._root):
            _sync(folder)

    def _lock_of(self, blob_hash: bytes) -> threading.Lock:
        return self._locks[blob_hash[0] % STRIPES]

    def _path(self, blob_hash: bytes) -> Path:
        name = blob_hash.hex()
        return self._root / name[:2] / name

    def _upload(self, blob_hash: bytes) -> Path:
        return self._root / UPLOADS / blob_hash.hex()

    def _complete_files(self) -> Iterator[Path]:
        return filter(is_blob, self._root.glob("[0-9a-f][0-9a-f]/*"))

    def _all_files(self) -> Iterator[Path]:
        yield from self._complete_files()
        for folder in (UPLOADS, FETCHES):
            yield from filter(is_blob, (self._root / folder).iterdir())


def is_blob(path: Path) -> bool:
    """Tell a blob from what somebody else put into the folder."""
    return _NAME.fullmatch(path.name) is not None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
