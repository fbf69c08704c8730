"""Keys in order: a key set that sorts late, and the merge of changes into a sorted stream."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

_FEW = 32
"""Up to so many new keys are inserted one by one; more are sorted together with the old ones."""


class SortedKeys:
    """A set of byte keys that answers ranges in ascending order; adding costs an append.

    The sorted list is replaced, never changed, so threads may read the same set.
    """

    __slots__ = ("_fresh", "_sorted")

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._sorted: list[bytes] = []
        self._fresh: list[bytes] = list(keys)

    def add(self, key: bytes) -> None:
        """Add a key; one that is there already stays there once."""
        self._fresh.append(key)

    def discard(self, gone: Iterable[bytes]) -> None:
        """Remove keys."""
        removed = frozenset(gone)
        self._sorted = [key for key in self._settled() if key not in removed]

    def under(self, prefix: bytes, after: bytes | None = None) -> list[bytes]:
        """Return the keys that begin with `prefix` and are greater than `after`."""
        keys = self._settled()
        lo = bisect_left(keys, prefix)
        if after is not None:
            lo = bisect_right(keys, after, lo)
        following = _successor(prefix)
        hi = len(keys) if following is None else bisect_left(keys, following, lo)
        return keys[lo:hi]

    def _settled(self) -> list[bytes]:
        if not self._fresh:
            return self._sorted
        if len(self._fresh) <= _FEW:
            keys = self._sorted.copy()
            for key in self._fresh:
                at = bisect_left(keys, key)
                if keys[at : at + 1] != [key]:
                    keys.insert(at, key)
        else:
            keys = sorted(dict.fromkeys(self._sorted + self._fresh))
        self._sorted = keys
        self._fresh = []
        return keys


def merge(
    base: Iterator[tuple[bytes, bytes]], changed: Sequence[tuple[bytes, bytes | None]]
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of `base` with changes applied; both ascend by key, None deletes."""
    at, count = 0, len(changed)
    for key, value in base:
        while at < count and changed[at][0] < key:
            written, new = changed[at]
            at += 1
            if new is not None:
                yield written, new
        if at < count and changed[at][0] == key:
            new = changed[at][1]
            at += 1
            if new is not None:
                yield key, new
        else:
            yield key, value
    for written, new in changed[at:]:
        if new is not None:
            yield written, new


def _successor(prefix: bytes) -> bytes | None:
    """Return the least key above all that begin with `prefix`; None where there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
