"""Room for images and pages in a device's memory: gaps first, then moves, then evictions.

Moves have to be worth it: to copy many images for the room of one stops all steps meanwhile, and
costs more than to load an idle one again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from inference.adapters.device import AdapterDevice
from inference.adapters.lease import Entry
from inference.adapters.packed_image import PackedImage
from inference.adapters.resident import Resident
from inference.arena import Arena, Extent, Move

Way = Callable[[], bool]
"""Frees something; False if there was nothing to free."""

CHEAP = 16
"""Images of average size that are moved rather than one evicted."""

SCATTERED = 16
"""Moves of any cost come before evictions while this fraction of the memory lies in gaps."""


class Plan(Protocol):
    """Plans moves."""

    def __call__(self, movable: Callable[[Extent], bool], most: int | None = None) -> list[Move]:
        """Copy at most so many bytes, None for any number."""
        ...


class Placement:
    """Knows which adapter lies where; for the engine's thread.

    Args:
        arena: the device's memory.
        device: carries out uploads and moves.

    Attributes:
        still: while true nothing is moved, for a step that is interrupted reads it.
    """

    def __init__(self, arena: Arena, device: AdapterDevice) -> None:
        self._arena = arena
        self._device = device
        self._placed: dict[int, Entry] = {}
        self.moves = 0
        self.size_bytes = 0
        self.still = False

    def place(self, entry: Entry, image: PackedImage, ways: list[Way]) -> bool:
        """Find room and start the upload; without enough room use `ways` in order.

        The first way comes before moves that cost more than it, the others after them.
        """
        extent = self._room(image.size_bytes, ways)
        if extent is None:
            return False
        entry.upload = self._device.upload(image, extent)
        entry.resident = Resident(entry.content_hash, image.layout, extent)
        self._placed[extent.start] = entry
        self.size_bytes += extent.size
        return True

    def remove(self, resident: Resident) -> None:
        """Free the memory of an adapter."""
        self._arena.remove(resident.extent)
        del self._placed[resident.extent.start]
        self.size_bytes -= resident.size_bytes

    def take_page(self, evict: Way) -> int | None:
        """Hold a page, moving or evicting adapters if no page is free."""
        page = self._arena.take_page()
        while page is None:
            if not self._make_room(self._arena.page_compaction, self._arena.page_bytes, evict):
                return None
            page = self._arena.take_page()
        return page

    def _room(self, size: int, ways: list[Way]) -> Extent | None:
        while True:
            extent = self._arena.place(size)
            if extent is not None:
                return extent
            if self.still:
                # Room for one more may take many evictions where nothing moves.
                return self._arena.place(size) if ways[0]() else None
            plan = partial(self._arena.compaction, size)
            if self._make_room(plan, size, ways[0]):
                continue
            if not any(way() for way in ways[1:]):
                return None

    def _make_room(self, plan: Plan, size: int, evict: Way) -> bool:
        """Move few images, or evict one, or move any number; False if nothing helps."""
        if self.still:
            return evict()
        most = CHEAP * self.size_bytes // max(1, len(self._placed))
        if self._moved(plan(self._movable, most)):
            return True
        scattered = self._arena.free_bytes - size > self._arena.size // SCATTERED
        if not scattered and evict():
            return True
        return self._moved(plan(self._movable)) or (scattered and evict())

    def _movable(self, extent: Extent) -> bool:
        return self._placed[extent.start].upload is None

    def _moved(self, moves: list[Move]) -> bool:
        for move in moves:
            self._arena.apply(move)
            self._device.move(move)
            entry = self._placed.pop(move.source.start)
            self._placed[move.target.start] = entry
            if entry.resident is not None:
                entry.resident.extent = move.target
                entry.resident.generation += 1
        self.moves += len(moves)
        return bool(moves)
