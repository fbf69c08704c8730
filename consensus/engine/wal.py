"""The log of an epoch: what this validator signed and saw, on the disk before it is shown.

A file is `MAGIC`, then records: u32 length and u32 CRC-32C of the body (little-endian), then the
body, a SCALE `Record` whose first byte is its type. A crash may tear the last record: it is cut
off, for nothing that depended on it was shown. Anything else that does not fit is damage.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from consensus.core.records import (
    EpochOpened,
    Floor,
    OwnVote,
    Record,
    SeenCertificate,
    SeenProposal,
)
from consensus.core.votes import Certificate
from consensus.engine.checksum import crc32c
from consensus.engine.refusals import LogDamaged, LogFailed
from runtime.primitives.scale import DecodeError, decode, encode

MAGIC = b"open-simplex-log-v1\n"
HEAD = 8
MAX_RECORD = 64 << 20
KINDS = 5
SEARCH_BYTES = 64 << 20
"""So many bytes are summed at most to learn whether records follow an unreadable one."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A record in the file; view: None for the first, which every view needs."""

    view: int | None
    is_floor: bool
    start: int
    end: int


@dataclass(slots=True)
class EpochLog:
    """An open log. Records are buffered by `append` and on the disk after `sync`."""

    path: Path
    _file: int
    _entries: list[_Entry]
    size: int
    """Bytes, those that are buffered included."""
    _buffer: list[bytes] = field(default_factory=list)
    failed: bool = False

    @classmethod
    def make(cls, path: Path, opened: EpochOpened) -> EpochLog:
        """Make the log of an epoch, whole and on the disk; raises LogFailed, FileExistsError."""
        if path.exists():
            raise FileExistsError(f"there is a log at {path}")
        framed = frame(opened)
        try:
            _replace(path, [MAGIC, framed])
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise _failure(path, error) from error
        size = len(MAGIC) + len(framed)
        return cls(path, file, [_Entry(None, False, len(MAGIC), size)], size)

    @classmethod
    def open(cls, path: Path) -> tuple[EpochLog, tuple[Record, ...]]:
        """Open a log and read it, oldest record first; raises LogDamaged, LogFailed."""
        try:
            data = path.read_bytes()
            records, entries, end = _read(data, path)
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            try:
                if end < len(data):
                    os.ftruncate(file, end)
                    os.fsync(file)
            except OSError:
                os.close(file)
                raise
        except OSError as error:
            raise _failure(path, error) from error
        return cls(path, file, entries, end), tuple(records)

    @property
    def dirty(self) -> bool:
        """Whether `sync` has something to do."""
        return bool(self._buffer)

    def append(self, record: Record) -> None:
        """Put a record at the end; on the disk after the next `sync`. Raises LogFailed."""
        self._check()
        framed = frame(record)
        start, self.size = self.size, self.size + len(framed)
        self._entries.append(_entry(record, start, self.size))
        self._buffer.append(framed)

    def sync(self) -> None:
        """Bring what was appended to the disk; raises LogFailed, and from then on always."""
        self._check()
        if not self._buffer:
            return
        data = memoryview(b"".join(self._buffer))
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError as error:
            self.failed = True
            raise _failure(self.path, error) from error
        self._buffer.clear()

    def compact(self, final: Certificate) -> None:
        """Drop what is of views up to a final one; raises LogFailed.

        The caller has the block of `final` on the disk. Votes above its view are all kept.
        """
        self.sync()
        kept = [e for e in self._entries if e.view is None or e.view > final.view]
        if any(entry.is_floor for entry in kept):
            return
        floor = frame(Floor(final))
        try:
            pieces = [os.pread(self._file, e.end - e.start, e.start) for e in kept]
            pieces.insert(1, floor)
            _replace(self.path, [MAGIC, *pieces])
            replaced = self._file
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            os.close(replaced)
        except OSError as error:
            self.failed = True
            raise _failure(self.path, error) from error
        self._renumber(kept, len(floor), final.view)

    def close(self) -> None:
        """Close the file; what was not synced is forgotten."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self.failed = -1, True

    def _renumber(self, kept: list[_Entry], floor: int, view: int) -> None:
        at = len(MAGIC)
        entries = []
        for entry in (kept[0], _Entry(view, True, 0, floor), *kept[1:]):
            end = at + entry.end - entry.start
            entries.append(_Entry(entry.view, entry.is_floor, at, end))
            at = end
        self._entries, self.size = entries, at

    def _check(self) -> None:
        if self.failed:
            detail = f"the log {self.path} is closed, or a write to it failed earlier"
            raise LogFailed(errno.EIO, detail)


def frame(record: Record) -> bytes:
    """Return a record as it stands in the file."""
    body = encode(Record, record)
    return len(body).to_bytes(4, "little") + crc32c(body).to_bytes(4, "little") + body


def view_of(record: Record) -> int | None:
    """Return the view that a record is about; None for the one that opens the epoch."""
    match record:
        case EpochOpened():
            return None
        case OwnVote(vote):
            return vote.view
        case SeenProposal(proposal):
            return proposal.view
        case SeenCertificate(certificate) | Floor(certificate):
            return certificate.view


def _entry(record: Record, start: int, end: int) -> _Entry:
    return _Entry(view_of(record), isinstance(record, Floor), start, end)


def _read(data: bytes, path: Path) -> tuple[list[Record], list[_Entry], int]:
    """Return the records, where they stand, and where the sound part ends."""
    if not data.startswith(MAGIC):
        raise LogDamaged(f"{path} does not begin like a log that this release knows")
    records: list[Record] = []
    entries = []
    end = len(MAGIC)
    for start, end, body in _bodies(data, path):
        record = _decoded(body, path, start)
        if isinstance(record, EpochOpened) is not (start == len(MAGIC)):
            raise LogDamaged(f"{path} has the record of its epoch in the wrong place")
        records.append(record)
        entries.append(_entry(record, start, end))
    if not records:
        raise LogDamaged(f"{path} does not say which epoch it is of")
    return records, entries, end


def _bodies(data: bytes, path: Path) -> Iterator[tuple[int, int, bytes]]:
    start = len(MAGIC)
    while start < len(data):
        end = _end(data, start)
        if end is not None and _is_sound(data, start, end):
            yield start, end, data[start + HEAD : end]
            start = end
            continue
        torn = end == len(data) if end is not None else not _records_follow(data, start)
        if not torn:
            raise LogDamaged(f"{path} is damaged at byte {start}, and goes on behind that")
        return


def _end(data: bytes, start: int) -> int | None:
    """Return where the record ends that begins at `start`; None where that is not in the file."""
    length = int.from_bytes(data[start : start + 4], "little")
    end = start + HEAD + length
    return end if 0 < length <= MAX_RECORD and end <= len(data) else None


def _is_sound(data: bytes, start: int, end: int) -> bool:
    body = memoryview(data)[start + HEAD : end]
    return crc32c(body) == int.from_bytes(data[start + 4 : start + HEAD], "little")


def _records_follow(data: bytes, start: int) -> bool:
    """Tell a wrong length from a torn record: behind the latter nothing is sound any more."""
    left = SEARCH_BYTES
    for place in range(start + 1, len(data) - HEAD):
        end = _end(data, place)
        if end is None or data[place + HEAD] >= KINDS:
            continue
        left -= end - place
        if left < 0 or _is_sound(data, place, end):
            return True
    return False


def _decoded(body: bytes, path: Path, start: int) -> Record:
    try:
        record: Record = decode(Record, body)
    except DecodeError as error:
        raise LogDamaged(f"{path} has an unknown record at byte {start}: {error}") from error
    return record


def _replace(path: Path, pieces: list[bytes]) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failure(path: Path, error: OSError) -> LogFailed:
    detail = f"the log {path} cannot be used: {error.strerror}; free or mend the disk, then restart"
    return LogFailed(error.errno, detail)
