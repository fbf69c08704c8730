"""The unfinalised blocks: a tree of executed blocks that stands on the last finalised one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from consensus.interface import BlockRef
from node.errors import UnknownBlock
from runtime.primitives.header import Block
from runtime.state.store import LayeredState, State
from runtime.state.trie import TrieUpdate


@dataclass(frozen=True, slots=True)
class Executed:
    """An executed block with its changes and the state behind it."""

    hash: bytes
    block: Block
    changes: Mapping[bytes, bytes | None]
    update: TrieUpdate
    state: State

    @property
    def number(self) -> int:
        """The number in its header."""
        return self.block.header.number

    @property
    def parent(self) -> bytes:
        """The hash of the parent in its header."""
        return self.block.header.parent_hash

    @property
    def ref(self) -> BlockRef:
        """Its hash and number."""
        return BlockRef(self.hash, self.number)


def layer(base: State, changes: Mapping[bytes, bytes | None], update: TrieUpdate) -> State:
    """Put a block's changes on its parent's state, ready to be read from several threads."""
    layered = LayeredState(base, changes, update)
    layered.iterate(b"")  # it sorts its keys with the first walk: here, before others see it
    return layered


class ForkTree:
    """Executed blocks by hash; every parent is in the tree or is the root."""

    def __init__(self, root: BlockRef, state: State) -> None:
        self.root = root
        self.state = state
        self._blocks: dict[bytes, Executed] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[Executed]:
        return iter(self._blocks.values())

    def __contains__(self, block_hash: bytes) -> bool:
        return block_hash in self._blocks

    def get(self, block_hash: bytes) -> Executed | None:
        """Find an unfinalised block."""
        return self._blocks.get(block_hash)

    def state_of(self, block_hash: bytes) -> State | None:
        """Return the state behind the root or a block of the tree."""
        if block_hash == self.root.hash:
            return self.state
        executed = self._blocks.get(block_hash)
        return None if executed is None else executed.state

    def add(self, executed: Executed) -> None:
        """Put in a block whose parent is in the tree or the root."""
        if executed.parent != self.root.hash and executed.parent not in self._blocks:
            raise UnknownBlock(executed.parent)
        self._blocks[executed.hash] = executed

    def path(self, block_hash: bytes) -> list[Executed]:
        """List the blocks behind the root up to `block_hash`, oldest first; raises UnknownBlock."""
        path: list[Executed] = []
        while block_hash != self.root.hash:
            executed = self._blocks.get(block_hash)
            if executed is None:
                raise UnknownBlock(block_hash)
            path.append(executed)
            block_hash = executed.parent
        return path[::-1]

    def leaves(self) -> list[bytes]:
        """List the blocks without children, the root where the tree is empty."""
        parents = {executed.parent for executed in self._blocks.values()}
        return [h for h in self._blocks if h not in parents] or [self.root.hash]

    def left_behind(self, block_hash: bytes) -> list[Executed]:
        """List the blocks that die when `block_hash` becomes the root: not below it, not above."""
        below = {executed.hash for executed in self.path(block_hash)}
        alive = {block_hash}
        dead = []
        for executed in self._parents_first():
            if executed.parent in alive:
                alive.add(executed.hash)
            elif executed.hash not in below:
                dead.append(executed)
        return dead

    def advance(self, root: BlockRef, state: State) -> ForkTree:
        """Make the tree above a new root, without what is left behind.

        The survivors' states are rebuilt on the new root's state, so that no chain of overlays
        grows below them.
        """
        tree = ForkTree(root, state)
        for executed in self._parents_first():
            base = tree.state_of(executed.parent)
            if base is not None:
                layered = layer(base, executed.changes, executed.update)
                tree._blocks[executed.hash] = Executed(
                    executed.hash, executed.block, executed.changes, executed.update, layered
                )
        return tree

    def _parents_first(self) -> Iterator[Executed]:
        return iter(sorted(self._blocks.values(), key=lambda executed: executed.number))
