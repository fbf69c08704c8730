"""One device's memory shared by cache pages and adapter images; integers only, for one thread.

Pages come from the top, images from the bottom, at their exact sizes. An image may be moved to
close gaps; a page stays where it is until it is given back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from inference.free_runs import FreeRuns

ALIGN = 256
"""Bytes to which pages and extents are aligned."""

LARGEST_PAGE = 2 << 20


@dataclass(frozen=True, slots=True)
class CacheShape:
    """One page holds keys and values of all layers for `positions` positions of a sequence."""

    positions: int
    page_bytes: int


def cache_shape(*, layers: int, kv_heads: int, head_dim: int, itemsize: int) -> CacheShape:
    """Choose 64, 32 or 16 positions: the most whose page is within 2 MiB, 16 if none is.

    A page is [layers, 2, kv_heads, positions, head_dim], its size rounded up to `ALIGN`.
    """
    position_bytes = layers * 2 * kv_heads * head_dim * itemsize
    fitting = (n for n in (64, 32, 16) if n * position_bytes <= LARGEST_PAGE)
    positions = next(fitting, 16)
    return CacheShape(positions, -(-positions * position_bytes // ALIGN) * ALIGN)


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of the memory."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """First byte behind it."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Move:
    """Copy `source` to `target`, of equal size; where they overlap, `target` starts lower."""

    source: Extent
    target: Extent


class Arena:
    """Who has which bytes of `pages * page_bytes`."""

    def __init__(self, pages: int, page_bytes: int) -> None:
        if pages <= 0 or page_bytes <= 0 or page_bytes % ALIGN:
            raise ValueError(f"an arena needs whole pages of a multiple of {ALIGN} bytes")
        self.pages = pages
        self.page_bytes = page_bytes
        self._free = FreeRuns(pages * page_bytes, page_bytes)
        self._held = bytearray(pages)
        self._extents: dict[int, Extent] = {}

    @property
    def size(self) -> int:
        """All bytes."""
        return self.pages * self.page_bytes

    @property
    def free_pages(self) -> int:
        """Pages that are neither held nor touched by an extent."""
        return self._free.pages

    @property
    def free_bytes(self) -> int:
        """Bytes that are neither in a held page nor in an extent."""
        return self._free.size

    @property
    def extents(self) -> tuple[Extent, ...]:
        """All placed extents by their starts."""
        return tuple(self._extents[start] for start in sorted(self._extents))

    def take_page(self) -> int | None:
        """Hold the highest free page."""
        page = self._free.highest_page()
        if page is not None:
            self._free.take(page * self.page_bytes, self.page_bytes)
            self._held[page] = 1
        return page

    def give_page(self, page: int) -> None:
        """Give a held page back."""
        if not 0 <= page < self.pages or not self._held[page]:
            raise ValueError(f"page {page} is not held")
        self._held[page] = 0
        self._free.give(page * self.page_bytes, self.page_bytes)

    def place(self, size: int) -> Extent | None:
        """Find the tightest gap, the lowest of equals, and take its bottom."""
        if size <= 0 or size % ALIGN:
            raise ValueError(f"an extent of {size} bytes is no multiple of {ALIGN}")
        start = self._free.tightest(size)
        return None if start is None else self._take(Extent(start, size))

    def remove(self, extent: Extent) -> None:
        """Free an extent."""
        if self._extents.get(extent.start) != extent:
            raise ValueError(f"{extent} is not placed")
        del self._extents[extent.start]
        self._free.give(extent.start, extent.size)

    def apply(self, move: Move) -> None:
        """Note a move; raises ValueError, changing nothing, where its target is not free."""
        self.remove(move.source)
        target = move.target
        if target.size != move.source.size or not self._free.covers(target.start, target.size):
            self._take(move.source)
            raise ValueError(f"{move} does not lead to free bytes")
        self._take(target)

    def compaction(
        self, size: int, movable: Callable[[Extent], bool], most: int | None = None
    ) -> list[Move]:
        """Plan moves, in order, after which `place(size)` succeeds; empty if none do or need be.

        Extents slide down between held pages and extents that may not move. Of all windows whose
        gaps add up to `size` the one that copies the fewest bytes is chosen, if it copies no more
        than `most`.
        """
        return self._slide(lambda end: size, movable, most)

    def page_compaction(
        self, movable: Callable[[Extent], bool], most: int | None = None
    ) -> list[Move]:
        """Plan moves, in order, after which `take_page()` succeeds; empty as above."""
        return self._slide(lambda end: self.page_bytes + end % self.page_bytes, movable, most)

    def _take(self, extent: Extent) -> Extent:
        self._free.take(extent.start, extent.size)
        self._extents[extent.start] = extent
        return extent

    def _slide(
        self,
        needed: Callable[[int], int],
        movable: Callable[[Extent], bool],
        most: int | None,
    ) -> list[Move]:
        """Join the gaps of the cheapest window that gives `needed(end)` bytes up to its end."""
        best: list[Move] = []
        limit = self.size if most is None else most
        least = limit + 1
        for gaps, stretches in self._groups(movable, limit):
            room = [0, *accumulate(end - start for start, end in gaps)]
            cost = [0, *accumulate(sum(e.size for e in stretch) for stretch in stretches)]
            for last, (_, end) in enumerate(gaps):
                first = bisect_right(room, room[last + 1] - needed(end)) - 1
                if first == last:
                    return []
                if first >= 0 and cost[last] - cost[first] < least:
                    least = cost[last] - cost[first]
                    best = _downwards(gaps[first][0], stretches[first:last])
        return best

    def _groups(
        self, movable: Callable[[Extent], bool], limit: int
    ) -> Iterator[tuple[list[tuple[int, int]], list[list[Extent]]]]:
        """Give gaps with at most `limit` bytes of movable extents between two, and those."""
        gaps: list[tuple[int, int]] = []
        stretches: list[list[Extent]] = []
        for run in self._free.runs():
            if gaps:
                start, end = gaps[-1][1], run[0]
                near = end - start <= limit
                stretch = self._stretch(start, end, movable) if near else None
                if stretch is None:
                    yield gaps, stretches
                    gaps, stretches = [], []
                else:
                    stretches.append(stretch)
            gaps.append(run)
        yield gaps, stretches

    def _stretch(
        self, start: int, end: int, movable: Callable[[Extent], bool]
    ) -> list[Extent] | None:
        extents = []
        while start < end:
            extent = self._extents.get(start)
            if extent is None or not movable(extent):
                return None
            extents.append(extent)
            start = extent.end
        return extents


def _downwards(start: int, stretches: list[list[Extent]]) -> list[Move]:
    moves = []
    for stretch in stretches:
        for extent in stretch:
            moves.append(Move(extent, Extent(start, extent.size)))
            start += extent.size
    return moves
