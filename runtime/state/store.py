"""States: what a block is executed on. Each can be read by key, in key order and by trie node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from runtime.state import trie
from runtime.state.node_codec import ReadNode
from runtime.state.ordering import SortedKeys, merge
from runtime.state.trie import TrieUpdate


class MissingNode(Exception):
    """No node has this hash: the state is pruned, or the storage is damaged."""

    def __init__(self, node_hash: bytes) -> None:
        super().__init__(f"no trie node 0x{node_hash.hex()}: pruned, or the storage is damaged")
        self.node_hash = node_hash


class StateReader(Protocol):
    """Entries by key."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`."""

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries under `prefix`, ascending by key, from behind `after` on."""


class State(StateReader, Protocol):
    """Entries and the trie that proves them."""

    @property
    def root(self) -> bytes:
        """Return the hash that names the state."""

    def node(self, node_hash: bytes) -> bytes:
        """Return a trie node, or a value that is one; raises MissingNode."""


class MemoryState:
    """A whole state in memory: flat entries, their keys in order, and counted trie nodes."""

    def __init__(self, entries: Mapping[bytes, bytes], version: int = 1) -> None:
        self._version = version
        self._entries: dict[bytes, bytes] = {}
        self._keys = SortedKeys()
        self._nodes: dict[bytes, tuple[bytes, int]] = {}
        self._root = trie.EMPTY_ROOT
        self.apply(dict(entries))

    @property
    def root(self) -> bytes:
        """Return the hash that names the state."""
        return self._root

    @property
    def node_counts(self) -> dict[bytes, int]:
        """Return how often each node occurs in the trie."""
        return {name: count for name, (_, count) in self._nodes.items()}

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`."""
        return self._entries.get(key)

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries under `prefix`, ascending by key, from behind `after` on."""
        entries = self._entries
        return ((key, entries[key]) for key in self._keys.under(prefix, after))

    def node(self, node_hash: bytes) -> bytes:
        """Return a trie node, or a value that is one; raises MissingNode."""
        try:
            return self._nodes[node_hash][0]
        except KeyError:
            raise MissingNode(node_hash) from None

    def apply(self, changes: Mapping[bytes, bytes | None]) -> TrieUpdate:
        """Write a batch of changes; None deletes."""
        update = trie.update(self.node, self._root, changes, self._version)
        self._apply_nodes(update)
        self._root = update.root
        gone = []
        for key, value in changes.items():
            if value is None:
                if self._entries.pop(key, None) is not None:
                    gone.append(key)
            else:
                if key not in self._entries:
                    self._keys.add(key)
                self._entries[key] = value
        if gone:
            self._keys.discard(gone)
        return update

    def _apply_nodes(self, update: TrieUpdate) -> None:
        nodes = self._nodes
        for name, (data, count) in update.inserted.items():
            nodes[name] = data, count + (nodes[name][1] if name in nodes else 0)
        for name, count in update.removed.items():
            data, held = nodes[name]
            if held == count:
                del nodes[name]
            else:
                nodes[name] = data, held - count


class LayeredState:
    """A parent state with the changes of one block on top; building one costs nothing."""

    def __init__(
        self, parent: State, changes: Mapping[bytes, bytes | None], update: TrieUpdate
    ) -> None:
        self._parent = parent
        self._changes = changes
        self._update = update
        self._keys = SortedKeys(changes)

    @property
    def root(self) -> bytes:
        """Return the hash that names the state."""
        return self._update.root

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`."""
        if key in self._changes:
            return self._changes[key]
        return self._parent.get(key)

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries under `prefix`, ascending by key, from behind `after` on."""
        changed = [(key, self._changes[key]) for key in self._keys.under(prefix, after)]
        base = self._parent.iterate(prefix, after)
        return merge(base, changed) if changed else base

    def node(self, node_hash: bytes) -> bytes:
        """Return a trie node, or a value that is one; raises MissingNode."""
        inserted = self._update.inserted.get(node_hash)
        return self._parent.node(node_hash) if inserted is None else inserted[0]


class TrieState:
    """A state that is read from its trie nodes alone, such as one of an earlier block."""

    def __init__(self, read_node: ReadNode, root: bytes) -> None:
        self._read_node = read_node
        self._root = root

    @property
    def root(self) -> bytes:
        """Return the hash that names the state."""
        return self._root

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`; raises what reading a node raises."""
        return trie.lookup(self._read_node, self._root, key)

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries under `prefix`, ascending by key, from behind `after` on."""
        return trie.iterate(self._read_node, self._root, prefix, after)

    def node(self, node_hash: bytes) -> bytes:
        """Return a trie node, or a value that is one; raises MissingNode."""
        return self._read_node(node_hash)
