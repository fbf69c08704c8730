"""Host memory that a device can copy from by itself: pinned once, handed out in turns."""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_right
from collections import deque

import torch
from torch import Tensor

from inference.adapters.packed_image import plain_buffer
from inference.arena import ALIGN
from inference.cuda.lane import Lane, Mark

SLOT = 4 << 20
SLOTS = 16
LEAST = 64 << 20
"""Bytes of the smallest block that is cut off on its own; torch pins powers of two only."""


class PinnedRing:
    """Slots of one pinned block, used in turn; a slot is free again when its copy has ended.

    Pinning costs far more than copying, so it happens once. For one thread.
    """

    def __init__(self, device: torch.device, slots: int = SLOTS, slot_bytes: int = SLOT) -> None:
        pin = device.type == "cuda"
        self._block = torch.empty((slots, slot_bytes), dtype=torch.uint8, pin_memory=pin)
        self._marks: list[Mark | None] = [None] * slots
        self._next = 0

    @property
    def slot_bytes(self) -> int:
        """Most bytes of one copy."""
        return int(self._block.shape[1])

    def send(self, lane: Lane, source: Tensor, target: Tensor) -> None:
        """Copy uint8 [bytes] from ordinary memory to a device, slot by slot.

        Returns when the last part is enqueued; waits for a slot where all are under way.
        """
        for start in range(0, source.numel(), self.slot_bytes):
            part = source[start : start + self.slot_bytes]
            slot = self._free_slot()
            staged = self._block[slot, : part.numel()]
            staged.copy_(part)
            lane.copy(target[start : start + part.numel()], staged)
            self._marks[slot] = lane.mark()

    def _free_slot(self) -> int:
        slot = self._next
        self._next = (slot + 1) % len(self._marks)
        mark = self._marks[slot]
        if mark is not None:
            mark.wait()
        return slot


class PinnedHost:
    """Pinned memory for images that wait in the host: a few blocks, from which ranges are lent.

    A range comes back when its tensor is dropped. First fit over the gaps; from any thread.
    """

    def __init__(self, device: torch.device, size: int, least: int = LEAST) -> None:
        pin = device.type == "cuda"
        self._blocks: list[Tensor] = []
        self._starts: list[int] = []
        self._gaps: list[tuple[int, int]] = []
        at = 0
        for part in _powers_of_two(size // ALIGN * ALIGN, least):
            self._blocks.append(torch.empty(part, dtype=torch.uint8, pin_memory=pin))
            self._starts.append(at)
            self._gaps.append((at, at + part))
            at += part + ALIGN  # nothing is lent across two blocks
        self._returned: deque[tuple[int, int]] = deque()
        self._lock = threading.Lock()

    def __call__(self, size: int) -> Tensor:
        """Lend uint8 [size]; ordinary memory where no gap is wide enough."""
        wide = -(-size // ALIGN) * ALIGN
        with self._lock:
            self._take_back()
            for index, (start, end) in enumerate(self._gaps):
                if end - start >= wide:
                    self._gaps[index : index + 1] = [(start + wide, end)] * (end - start > wide)
                    block = bisect_right(self._starts, start) - 1
                    inside = start - self._starts[block]
                    lent = self._blocks[block][inside : inside + size]
                    # The collector may run anywhere, so it only leaves a note, without a lock.
                    weakref.finalize(lent, self._returned.append, (start, start + wide))
                    return lent
        return plain_buffer(size)

    @property
    def free_bytes(self) -> int:
        """Bytes that are not lent."""
        with self._lock:
            self._take_back()
            return sum(end - start for start, end in self._gaps)

    def _take_back(self) -> None:
        while self._returned:
            self._gaps.append(self._returned.popleft())
        self._gaps.sort()
        merged: list[tuple[int, int]] = []
        for start, end in self._gaps:
            if merged and merged[-1][1] == start:
                merged[-1] = merged[-1][0], end
            else:
                merged.append((start, end))
        self._gaps = merged


def _powers_of_two(size: int, least: int) -> list[int]:
    """Cut a size into powers of two, the largest first, and a rest below `least`."""
    parts = []
    while size >= least:
        parts.append(1 << (size.bit_length() - 1))
        size -= parts[-1]
    return [*parts, size] if size else parts
