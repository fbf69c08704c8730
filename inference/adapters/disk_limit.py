"""What a folder of adapters or artifacts takes on the disk, and which leave it beyond a limit."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

SPARE = 16
"""A sixteenth of the limit is made free at a time, so that few writes have to look for room."""
_FILE = re.compile(r"([0-9a-f]{64})\.(safetensors|artifact|.+\.packed)")


@dataclass(slots=True)
class _Files:
    """One adapter's: its image or artifact, and what it was packed into."""

    used: int = 0
    image: list[os.DirEntry[str]] = field(default_factory=list)
    packed: list[os.DirEntry[str]] = field(default_factory=list)


class DiskLimit:
    """Deletes the files of those adapters that were not read for longest.

    The times are the files' own, so several processes may share a folder. The adapter that was
    written or read last stays, and so do the images that are pinned: the limit gives way to them.
    """

    def __init__(self, folder: Path, limit_bytes: int | None, *, lasting: bool) -> None:
        """Read what is there.

        Args:
            folder: of files whose names begin with a content hash.
            limit_bytes: of all of them; None limits nothing.
            lasting: no image could be brought again, so all are kept: only what was made of them
                leaves.
        """
        self._folder = folder
        self._lasting = lasting
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._pinned: Counter[bytes] = Counter()
        self._taken = 0 if limit_bytes is None else sum(map(_size, _entries(folder)))

    def pin(self, content_hash: bytes) -> None:
        """Keep an image until as many `unpin`."""
        with self._lock:
            self._pinned[content_hash] += 1

    def unpin(self, content_hash: bytes) -> None:
        """Let an image go when its room is wanted."""
        with self._lock:
            self._pinned[content_hash] -= 1
            self._pinned += Counter()

    def used(self, path: Path) -> None:
        """Note that a file was read."""
        if self._limit is not None:
            with suppress(OSError):
                os.utime(path)

    def wrote(self, size: int) -> None:
        """Count a file, and make room where the limit is passed."""
        if self._limit is None:
            return
        with self._lock:
            self._taken += size
            if self._taken > self._limit:
                self._taken = self._make_room(self._limit - self._limit // SPARE)

    def _make_room(self, wanted: int) -> int:
        """Delete down to so many bytes; return how many are left."""
        adapters: defaultdict[str, _Files] = defaultdict(_Files)
        taken = 0
        for entry in _entries(self._folder):
            found = adapters[entry.name[:64]]
            (found.packed if entry.name.endswith(".packed") else found.image).append(entry)
            found.used = max(found.used, _time(entry))
            taken += _size(entry)
        oldest = sorted(adapters, key=lambda name: adapters[name].used)[:-1]
        free = [] if self._lasting else [n for n in oldest if bytes.fromhex(n) not in self._pinned]
        doomed = [adapters[name].image + adapters[name].packed for name in free]
        doomed += [adapters[name].packed for name in oldest if name not in free]
        left = 0
        for entries in doomed:
            if taken <= wanted:
                break
            taken -= sum(map(_delete, entries))
            left += 1
        if left:
            log.info("%d hashes' files left %s; %d MiB stay", left, self._folder, taken >> 20)
        return taken


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if _FILE.fullmatch(entry.name)]


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return 0


def _time(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_mtime_ns
    except OSError:
        return 0


def _delete(entry: os.DirEntry[str]) -> int:
    """Return how many bytes are free; one that another process deleted frees none."""
    size = _size(entry)
    with suppress(OSError):
        Path(entry.path).unlink()
        return size
    return 0
