"""The extrinsics of the pool and who provides what to whom; keeps ready and future apart.

An entry is ready when every tag it requires is provided by a ready entry. No two entries provide
the same tag.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from node.pool_types import Entry, Tag


class PoolGraph:
    """Entries by hash, tag and sender, with their totals."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.bytes = 0
        self.ready_count = 0
        self._provider: dict[Tag, Entry] = {}
        self._requirers: defaultdict[Tag, dict[bytes, Entry]] = defaultdict(dict)
        self._senders: defaultdict[bytes, dict[bytes, Entry]] = defaultdict(dict)

    def rivals(self, provides: Iterable[Tag]) -> list[Entry]:
        """List the entries that provide one of the tags."""
        found = {entry.hash: entry for tag in provides if (entry := self._provider.get(tag))}
        return list(found.values())

    def of_sender(self, sender: bytes) -> list[Entry]:
        """List a sender's entries."""
        return list(self._senders.get(sender, {}).values())

    def ancestors(self, requires: Iterable[Tag]) -> set[bytes]:
        """Collect the hashes of all entries that provide the tags, directly or not."""
        found: set[bytes] = set()
        open_tags = list(requires)
        while open_tags:
            entry = self._provider.get(open_tags.pop())
            if entry is not None and entry.hash not in found:
                found.add(entry.hash)
                open_tags.extend(entry.requires)
        return found

    def insert(self, entry: Entry) -> list[Entry]:
        """Put in an entry without rivals; returns the entries that became ready."""
        self.entries[entry.hash] = entry
        self.bytes += len(entry.data)
        self._senders[entry.sender][entry.hash] = entry
        for tag in entry.provides:
            self._provider[tag] = entry
        for tag in entry.requires:
            self._requirers[tag][entry.hash] = entry
        return self._promote([entry])

    def remove(self, entry: Entry) -> list[Entry]:
        """Take out an entry; returns the entries that are not ready any more because of it."""
        demoted = self._demote(entry)[1:]
        del self.entries[entry.hash]
        self.bytes -= len(entry.data)
        _discard(self._senders, entry.sender, entry.hash)
        for tag in entry.provides:
            del self._provider[tag]
        for tag in entry.requires:
            _discard(self._requirers, tag, entry.hash)
        return demoted

    def satisfy(self, tags: Iterable[Tag]) -> list[Entry]:
        """Note that a block provided the tags; returns the entries that became ready."""
        freed: dict[bytes, Entry] = {}
        for tag in tags:
            for entry in self._requirers.pop(tag, {}).values():
                entry.requires -= {tag}
                freed[entry.hash] = entry
        return self._promote(list(freed.values()))

    def _satisfied(self, entry: Entry) -> bool:
        providers = (self._provider.get(tag) for tag in entry.requires)
        return all(provider is not None and provider.ready for provider in providers)

    def _promote(self, candidates: list[Entry]) -> list[Entry]:
        promoted = []
        while candidates:
            entry = candidates.pop()
            if entry.ready or not self._satisfied(entry):
                continue
            entry.ready = True
            self.ready_count += 1
            promoted.append(entry)
            for tag in entry.provides:
                candidates.extend(self._requirers.get(tag, {}).values())
        return promoted

    def _demote(self, entry: Entry) -> list[Entry]:
        """Make an entry and all that stand on it future; the entry itself is first in the list."""
        demoted = [entry]
        candidates = [entry]
        while candidates:
            current = candidates.pop()
            if not current.ready:
                continue
            current.ready = False
            self.ready_count -= 1
            if current is not entry:
                demoted.append(current)
            for tag in current.provides:
                candidates.extend(self._requirers.get(tag, {}).values())
        return demoted


def _discard(
    index: defaultdict[bytes, dict[bytes, Entry]], key: bytes, extrinsic_hash: bytes
) -> None:
    entries = index.get(key)
    if entries is not None:
        entries.pop(extrinsic_hash, None)
        if not entries:
            del index[key]
