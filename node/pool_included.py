"""Which extrinsics are in which blocks that are not final yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Included:
    """An extrinsic's place in a block of the best chain."""

    block: bytes
    index: int
    data: bytes


class InBlocks:
    """Places by extrinsic and by block, until the block is final or left."""

    def __init__(self) -> None:
        self._places: dict[bytes, Included] = {}
        self._blocks: dict[bytes, list[bytes]] = {}

    def get(self, extrinsic_hash: bytes) -> Included | None:
        """Find where an extrinsic is."""
        return self._places.get(extrinsic_hash)

    def add(self, extrinsic_hash: bytes, included: Included) -> None:
        """Note that a block holds an extrinsic."""
        self._places[extrinsic_hash] = included
        self._blocks.setdefault(included.block, []).append(extrinsic_hash)

    def discard(self, extrinsic_hash: bytes, block_hash: bytes) -> bool:
        """Forget that a block holds an extrinsic; False where it did not."""
        included = self._places.get(extrinsic_hash)
        if included is None or included.block != block_hash:
            return False
        del self._places[extrinsic_hash]
        self._blocks[block_hash].remove(extrinsic_hash)
        return True

    def take(self, block_hash: bytes) -> list[tuple[bytes, Included]]:
        """Take out everything that a block holds."""
        hashes = self._blocks.pop(block_hash, [])
        places = ((h, self._places.get(h)) for h in hashes)
        found = [(h, place) for h, place in places if place and place.block == block_hash]
        for extrinsic_hash, _ in found:
            del self._places[extrinsic_hash]
        return found
