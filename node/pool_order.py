"""In which order a block takes ready extrinsics."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence

from node.pool_types import Entry, Tag


def by_priority(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Yield entries by falling priority, each behind what it requires; ties by age.

    The sequence must be a copy, and contain a provider of every tag that an entry requires.
    """
    provided = {tag for entry in entries for tag in entry.provides}
    waiting: defaultdict[Tag, list[int]] = defaultdict(list)
    missing: list[int] = []
    heap: list[tuple[int, int, int]] = []
    for position, entry in enumerate(entries):
        needs = [tag for tag in entry.requires if tag in provided]
        missing.append(len(needs))
        for tag in needs:
            waiting[tag].append(position)
        if not needs:
            heap.append((-entry.priority, entry.order, position))
    heapq.heapify(heap)
    while heap:
        entry = entries[heapq.heappop(heap)[2]]
        yield entry
        for tag in entry.provides:
            for position in waiting.pop(tag, ()):
                missing[position] -= 1
                if not missing[position]:
                    later = entries[position]
                    heapq.heappush(heap, (-later.priority, later.order, position))
