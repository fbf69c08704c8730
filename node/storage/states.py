"""States read from the database: the last finalised one from the flat table, older ones by trie.

Both read a snapshot, so they stay what they are whatever is written later.
"""

from __future__ import annotations

from collections.abc import Iterator

from node.storage.layout import STATE
from node.storage.leveldb import Snapshot
from node.storage.nodes import read_node
from runtime.state.store import MissingNode, TrieState


class FlatState:
    """The state of the block that was the last finalised one when the snapshot was taken."""

    __slots__ = ("_root", "_snapshot")

    def __init__(self, snapshot: Snapshot, root: bytes) -> None:
        self._snapshot = snapshot
        self._root = root

    @property
    def root(self) -> bytes:
        """Return the hash that names the state."""
        return self._root

    def get(self, key: bytes) -> bytes | None:
        """Read one value: one look-up in the flat table."""
        return self._snapshot.get(STATE + key)

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Walk the keys that start with `prefix`, ascending; only those behind `after`."""
        behind = None if after is None else STATE + after
        for key, value in self._snapshot.iterate(STATE + prefix, behind):
            yield key[1:], value

    def node(self, node_hash: bytes) -> bytes:
        """Read a trie node, or a value that is one; raises MissingNode."""
        data = read_node(self._snapshot, node_hash)
        if data is None:
            raise MissingNode(node_hash)
        return data


def historic(snapshot: Snapshot, root: bytes) -> TrieState:
    """Give the state of an older finalised block: one look-up per level of its tree."""
    return TrieState(FlatState(snapshot, root).node, root)
