"""Room for images and pages in a device's memory: gaps first, then moves, then evictions."""

from __future__ import annotations

from collections.abc import Callable

from inference.adapters.device import AdapterDevice
from inference.adapters.lease import Entry
from inference.adapters.packed_image import PackedImage
from inference.adapters.resident import Resident
from inference.arena import Arena, Extent, Move

Way = Callable[[], bool]
"""Frees something; False if there was nothing to free."""


class Placement:
    """Knows which adapter lies where; for the engine's thread.

    Args:
        arena: the device's memory.
        device: carries out uploads and moves.
    """

    def __init__(self, arena: Arena, device: AdapterDevice) -> None:
        self._arena = arena
        self._device = device
        self._placed: dict[int, Entry] = {}
        self.moves = 0
        self.size_bytes = 0

    def place(self, entry: Entry, image: PackedImage, ways: list[Way]) -> bool:
        """Find room and start the upload; without enough room use `ways` in order."""
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
            if not self._moved(self._arena.page_compaction(self._movable)) and not evict():
                return None
            page = self._arena.take_page()
        return page

    def _room(self, size: int, ways: list[Way]) -> Extent | None:
        while True:
            extent = self._arena.place(size)
            if extent is not None:
                return extent
            if self._moved(self._arena.compaction(size, self._movable)):
                continue
            if not any(way() for way in ways):
                return None

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
