from __future__ import annotations

import itertools
import random
from bisect import bisect_left

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference.arena import ALIGN, Arena, CacheShape, Extent, Move, cache_shape

PAGES, PAGE_BYTES = 12, 4 * ALIGN


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({"layers": 32, "kv_heads": 8, "head_dim": 128, "itemsize": 2}, CacheShape(16, 2 << 20)),
        ({"layers": 16, "kv_heads": 8, "head_dim": 64, "itemsize": 2}, CacheShape(64, 2 << 20)),
        ({"layers": 80, "kv_heads": 8, "head_dim": 128, "itemsize": 2}, CacheShape(16, 5 << 20)),
        ({"layers": 28, "kv_heads": 4, "head_dim": 96, "itemsize": 2}, CacheShape(32, 1376256)),
        ({"layers": 1, "kv_heads": 1, "head_dim": 2, "itemsize": 4}, CacheShape(64, 1024)),
        ({"layers": 3, "kv_heads": 1, "head_dim": 3, "itemsize": 2}, CacheShape(64, 2304)),
    ],
)
def test_a_page_holds_most_positions_within_two_mebibytes(
    shape: dict[str, int], expected: CacheShape
) -> None:
    assert cache_shape(**shape) == expected


def test_pages_come_from_the_top_and_extents_from_the_bottom() -> None:
    arena = Arena(PAGES, PAGE_BYTES)
    assert [arena.take_page() for _ in range(3)] == [11, 10, 9]
    assert arena.place(5 * ALIGN) == Extent(0, 5 * ALIGN)
    assert arena.place(ALIGN) == Extent(5 * ALIGN, ALIGN)
    assert arena.free_pages == 7
    arena.give_page(10)
    assert arena.take_page() == 10


def test_the_tightest_gap_is_taken() -> None:
    arena = Arena(PAGES, PAGE_BYTES)
    extents = [arena.place(size * ALIGN) for size in (5, 1, 2, 1, 3, 1)]
    for extent in (extents[0], extents[2], extents[4]):
        assert extent is not None
        arena.remove(extent)
    assert arena.place(2 * ALIGN) == Extent(6 * ALIGN, 2 * ALIGN)
    assert arena.place(3 * ALIGN) == Extent(9 * ALIGN, 3 * ALIGN)


def test_misuse_is_an_error_and_changes_nothing() -> None:
    arena = Arena(2, PAGE_BYTES)
    extent = arena.place(ALIGN)
    assert extent is not None
    with pytest.raises(ValueError, match="multiple"):
        arena.place(ALIGN + 1)
    with pytest.raises(ValueError, match="not held"):
        arena.give_page(1)
    with pytest.raises(ValueError, match="not placed"):
        arena.remove(Extent(0, 2 * ALIGN))
    other = arena.place(ALIGN)
    assert other is not None
    with pytest.raises(ValueError, match="free"):
        arena.apply(Move(other, extent))
    assert arena.extents == (extent, other)
    with pytest.raises(ValueError, match="whole pages"):
        Arena(1, ALIGN - 1)


class ArenaMachine(RuleBasedStateMachine):
    """An arena beside a memory of real bytes: every owner's bytes are its own number."""

    def __init__(self) -> None:
        super().__init__()
        self.arena = Arena(PAGES, PAGE_BYTES)
        self.memory = bytearray(self.arena.size)
        self.extents: dict[int, Extent] = {}
        self.pages: dict[int, int] = {}
        self.fixed: set[int] = set()
        self.next = 1

    def write(self, start: int, size: int) -> int:
        owner, self.next = self.next, self.next % 255 + 1
        while owner in self.extents or owner in self.pages:
            owner, self.next = self.next, self.next % 255 + 1
        self.memory[start : start + size] = bytes([owner]) * size
        return owner

    @rule(size=st.integers(1, 20))
    def place(self, size: int) -> None:
        extent = self.arena.place(size * ALIGN)
        if extent is None:
            assert size * ALIGN > max(end - start for start, end in [*self.gaps(), (0, 0)])
        else:
            self.extents[self.write(extent.start, extent.size)] = extent

    @rule(data=st.data())
    @precondition(lambda self: self.extents)
    def remove(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.extents)))
        self.fixed.discard(owner)
        self.arena.remove(self.extents.pop(owner))

    @rule(data=st.data())
    @precondition(lambda self: self.extents)
    def fix(self, data: st.DataObject) -> None:
        self.fixed ^= {data.draw(st.sampled_from(sorted(self.extents)))}

    @rule()
    def take_page(self) -> None:
        page = self.arena.take_page()
        if page is None:
            assert not self.free_pages()
        else:
            assert page == max([*self.free_pages()])
            self.pages[self.write(page * PAGE_BYTES, PAGE_BYTES)] = page

    @rule(data=st.data())
    @precondition(lambda self: self.pages)
    def give_page(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(self.pages)))
        self.arena.give_page(self.pages.pop(owner))

    @rule(size=st.integers(1, 40))
    def compact(self, size: int) -> None:
        size *= ALIGN
        gaps = self.gaps()
        if any(end - start >= size for start, end in gaps):
            assert self.arena.compaction(size, self.movable) == []
            return
        moves = self.arena.compaction(size, self.movable)
        assert bool(moves) == (self.room_between_barriers() >= size)
        self.carry_out(moves)
        extent = self.arena.place(size)
        assert (extent is not None) == bool(moves)
        if extent is not None:
            self.extents[self.write(extent.start, extent.size)] = extent

    @rule()
    def compact_for_a_page(self) -> None:
        if self.arena.free_pages:
            return
        moves = self.arena.page_compaction(self.movable)
        self.carry_out(moves)
        assert bool(self.arena.free_pages) == bool(moves)
        if not moves:
            assert self.room_between_barriers() < 2 * PAGE_BYTES - ALIGN

    def carry_out(self, moves: list[Move]) -> None:
        for move in moves:
            source, target = move.source, move.target
            owner = next(o for o, extent in self.extents.items() if extent == source)
            assert owner not in self.fixed
            assert target.start < source.start
            self.arena.apply(move)
            self.memory[target.start : target.end] = self.memory[source.start : source.end]
            self.extents[owner] = target

    def movable(self, extent: Extent) -> bool:
        owner = next(o for o, found in self.extents.items() if found == extent)
        return owner not in self.fixed

    def taken(self) -> list[tuple[int, int, bool]]:
        pages = [(p * PAGE_BYTES, (p + 1) * PAGE_BYTES, False) for p in self.pages.values()]
        extents = [(e.start, e.end, o not in self.fixed) for o, e in self.extents.items()]
        return sorted(pages + extents)

    def gaps(self) -> list[tuple[int, int]]:
        edges = [(0, 0, False), *self.taken(), (self.arena.size, 0, False)]
        return [(a[1], b[0]) for a, b in itertools.pairwise(edges) if a[1] < b[0]]

    def room_between_barriers(self) -> int:
        """Most free bytes that lie between two things that stay where they are."""
        barriers = [start for start, _, movable in self.taken() if not movable]
        room: dict[int, int] = {}
        for start, end in self.gaps():
            between = bisect_left(barriers, start)
            room[between] = room.get(between, 0) + end - start
        return max(room.values(), default=0)

    def free_pages(self) -> list[int]:
        return [
            page
            for page in range(PAGES)
            if any(a <= page * PAGE_BYTES and (page + 1) * PAGE_BYTES <= b for a, b in self.gaps())
        ]

    @invariant()
    def every_owner_has_its_bytes(self) -> None:
        for owner, extent in self.extents.items():
            assert set(self.memory[extent.start : extent.end]) == {owner}
        for owner, page in self.pages.items():
            assert set(self.memory[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]) == {owner}

    @invariant()
    def nothing_overlaps_and_nothing_is_lost(self) -> None:
        taken = self.taken()
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(taken))
        used = sum(end - start for start, end, _ in taken)
        assert self.arena.free_bytes == self.arena.size - used
        assert self.arena.free_pages == len(self.free_pages())
        assert self.arena.extents == tuple(sorted(self.extents.values(), key=lambda e: e.start))


TestArena = ArenaMachine.TestCase
TestArena.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_thousands_of_extents_and_pages_leave_no_crumbs() -> None:
    chance = random.Random(5)
    arena = Arena(4000, 8 * ALIGN)
    extents: list[Extent] = []
    pages: list[int] = []
    for _ in range(20_000):
        kind = chance.random()
        if kind < 0.35 and (extent := arena.place(chance.randint(1, 60) * ALIGN)) is not None:
            extents.append(extent)
        elif kind < 0.6 and extents:
            arena.remove(extents.pop(chance.randrange(len(extents))))
        elif kind < 0.85 and (page := arena.take_page()) is not None:
            pages.append(page)
        elif pages:
            arena.give_page(pages.pop(chance.randrange(len(pages))))
    for extent in extents:
        arena.remove(extent)
    for page in pages:
        arena.give_page(page)
    assert (arena.free_pages, arena.free_bytes) == (4000, arena.size)
    assert arena.place(arena.size) == Extent(0, arena.size)
