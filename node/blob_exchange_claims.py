"""What peers say a blob's chunks are. One of the lists is right if one peer is honest.

A peer is asked only for chunks that its own list names, so bytes with another hash are its own
contradiction, whoever else lies.
"""

from __future__ import annotations

from collections import Counter

from node.blob_exchange_lists import ChunkHashes


class Claims:
    """The lists that peers gave for one blob, all of the same length."""

    def __init__(self) -> None:
        self._lists: dict[str, ChunkHashes] = {}

    def add(self, peer: str, hashes: ChunkHashes) -> None:
        """Take a peer's list."""
        same = (known for known in self._lists.values() if known == hashes)
        self._lists[peer] = next(same, hashes)

    def best(self) -> ChunkHashes | None:
        """Return the list that most peers gave, the earliest of several; None where none is left.

        Numbers prove nothing: this only decides which one is tried first.
        """
        told = Counter(self._lists.values()).most_common(1)
        return told[0][0] if told else None

    def tellers(self, hashes: ChunkHashes) -> list[str]:
        """List who gave this list."""
        return [peer for peer, known in self._lists.items() if known == hashes]

    def holders(self, index: int, digest: bytes) -> list[str]:
        """List whose list names this hash at this place."""
        return [peer for peer, known in self._lists.items() if known[index] == digest]

    def remove(self, peer: str) -> bool:
        """Forget a peer that lied, is gone or gives nothing; tells whether it was known."""
        return self._lists.pop(peer, None) is not None
