"""Blocks of the key-value cache as integers: who holds which. Knows no tensors."""

from __future__ import annotations

BLOCK = 64
"""Positions per block, and the step in which attention's length grows."""


def blocks_for(positions: int) -> int:
    """Count the blocks that hold so many positions."""
    return -(-positions // BLOCK)


class BlockPool:
    """Hands out blocks; every block is free or held by exactly one owner."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = list(range(total - 1, -1, -1))
        self._held: dict[int, tuple[int, ...]] = {}

    @property
    def free(self) -> int:
        """Number of free blocks."""
        return len(self._free)

    def take(self, owner: int, count: int) -> tuple[int, ...] | None:
        """Give an owner blocks, or None if there are too few; an owner takes once."""
        if owner in self._held:
            raise ValueError(f"sequence {owner} holds blocks already")
        if count > len(self._free):
            return None
        blocks = tuple(self._free.pop() for _ in range(count))
        self._held[owner] = blocks
        return blocks

    def give_back(self, owner: int) -> None:
        """Free all blocks of an owner."""
        self._free.extend(reversed(self._held.pop(owner)))

    def held(self) -> dict[int, tuple[int, ...]]:
        """Copy the table of owners."""
        return dict(self._held)
