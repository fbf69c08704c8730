"""Trie nodes with the number of places where the kept states use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from node.storage.layout import NODE
from node.storage.leveldb import Reader
from runtime.primitives.errors import InvariantViolation

COUNT_BYTES = 4
RECORD_BYTES = 36


def read_node(reader: Reader, node_hash: bytes, column: bytes = NODE) -> bytes | None:
    """Read the bytes of a node."""
    record = reader.get(column + node_hash)
    return None if record is None else record[COUNT_BYTES:]


class NodeCounts:
    """Additions and subtractions of one batch; each node is read at most once."""

    def __init__(self, reader: Reader, column: bytes = NODE) -> None:
        self._reader = reader
        self._column = column
        self._nodes: dict[bytes, tuple[int, bytes]] = {}

    def add(self, inserted: Mapping[bytes, tuple[bytes, int]]) -> None:
        """Count the nodes that a block put into the tree."""
        for node_hash, (data, occurrences) in inserted.items():
            count, _ = self._load(node_hash)
            self._nodes[node_hash] = (count + occurrences, data)

    def subtract(self, removed: Mapping[bytes, int]) -> None:
        """Forget places that no kept state has any more."""
        for node_hash, occurrences in removed.items():
            count, data = self._load(node_hash)
            if count < occurrences:
                raise InvariantViolation(
                    f"trie node 0x{node_hash.hex()} is counted {count} times, "
                    f"{occurrences} are to be removed"
                )
            self._nodes[node_hash] = (count - occurrences, data)

    def writes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """List what the batch has to write."""
        for node_hash, (count, data) in self._nodes.items():
            record = count.to_bytes(COUNT_BYTES, "little") + data if count else None
            yield self._column + node_hash, record

    def _load(self, node_hash: bytes) -> tuple[int, bytes]:
        known = self._nodes.get(node_hash)
        if known is None:
            record = self._reader.get(self._column + node_hash)
            known = (0, b"")
            if record is not None:
                known = (int.from_bytes(record[:COUNT_BYTES], "little"), record[COUNT_BYTES:])
            self._nodes[node_hash] = known
        return known


def encode_removed(removed: Mapping[bytes, int]) -> bytes:
    """Encode a journal record: hash[32] ++ occurrences u32 (little-endian), repeated."""
    return b"".join(h + n.to_bytes(COUNT_BYTES, "little") for h, n in removed.items())


def decode_removed(record: bytes) -> dict[bytes, int]:
    """Decode what `encode_removed` wrote."""
    return {
        record[at : at + 32]: int.from_bytes(record[at + 32 : at + RECORD_BYTES], "little")
        for at in range(0, len(record), RECORD_BYTES)
    }
