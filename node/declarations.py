"""Which blobs the chain declares: only those does a node store for others.

A pallet declares blobs in a storage map `Blobs` from blake2b-256 to length in bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import trio

from node.chain import Chain
from node.chain_events import Finalized
from node.errors import StorageClosed
from runtime.construct import PALLETS
from runtime.frame.pallet import storage_items
from runtime.frame.storage import StorageItem
from runtime.primitives.scale import U64, decode
from runtime.state.node_codec import HASHED_TOKEN_LENGTH, Node, resolve
from runtime.state.node_codec import decode as decode_node
from runtime.state.store import State, StateReader
from runtime.state.trie import EMPTY_ROOT

MAP_NAME = "Blobs"
SLICE = 256
"""So many declarations are read at a time: about a millisecond."""
RESCAN_SECONDS = 1800.0
_DIGITS = "0123456789abcdef"


def _maps() -> tuple[StorageItem, ...]:
    items = (item for pallet in PALLETS for item in storage_items(pallet).values())
    return tuple(item for item in items if item.name == MAP_NAME)


BLOB_MAPS = _maps()


@dataclass(frozen=True, slots=True)
class Declaration:
    """A blob that the chain knows: its blake2b-256 and its size in bytes."""

    blob: bytes
    size: int


Take = Callable[[list[Declaration]], Awaitable[None]]


class DeclaredBlobs:
    """Looks hashes up in the state behind the tip, and follows what finalised blocks declare."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def __call__(self, blob_hash: bytes) -> int | None:
        """Return the declared size of a blob, or None; call it from any thread."""
        return declared_size(self._chain.best_state(), blob_hash)

    async def follow(self, take: Take) -> None:
        """Pass on all declarations, then those of each finalised block, until cancelled.

        From time to time it begins again, for whoever lost or dropped some. Ends only where the
        chain is closed.
        """
        while True:
            try:
                with self._chain.subscribe() as events:
                    state = self._finalised()
                    await _pass_on(_all(state), take)
                    with trio.move_on_after(RESCAN_SECONDS):
                        async for event in events:
                            if isinstance(event, Finalized):
                                newer = self._finalised()
                                await _pass_on(newly_declared(state, newer), take)
                                state = newer
            except StorageClosed:
                return
            await trio.sleep(1)

    def _finalised(self) -> State:
        return self._chain.state_at(self._chain.finalized().hash)


async def _pass_on(found: Iterator[Declaration], take: Take) -> None:
    while part := await trio.to_thread.run_sync(_next, found):
        await take(part)


def _next(found: Iterator[Declaration]) -> list[Declaration]:
    return list(islice(found, SLICE))


def declared_size(state: StateReader, blob_hash: bytes) -> int | None:
    """Look a blob's hash up in a state; returns its size in bytes, or None."""
    for item in BLOB_MAPS:
        value = state.get(item.key(blob_hash))
        if value is not None:
            size: int = decode(U64, value)
            return size
    return None


def declared_slice(
    state: StateReader, after: bytes | None, most: int
) -> tuple[list[Declaration], bytes | None]:
    """List declarations behind a cursor, at most so many, and the next cursor; None at the end."""
    found: list[Declaration] = []
    for item in sorted(BLOB_MAPS, key=lambda item: item.prefix):
        within = after is not None and after.startswith(item.prefix)
        if after is not None and not within and after > item.prefix:
            continue
        for key, value in state.iterate(item.prefix, after if within else None):
            found.append(_declaration(item, key, value))
            if len(found) == most:
                return found, key
    return found, None


def newly_declared(old: State, new: State) -> Iterator[Declaration]:
    """Yield what `new` declares and `old` does not, or with another size.

    Reads only trie nodes that differ: a block's declarations cost no walk through all of them.
    """
    for item in BLOB_MAPS:
        for key, value in _changed(old, new, item.prefix):
            if old.get(key) != value:
                yield _declaration(item, key, value)


def _all(state: StateReader) -> Iterator[Declaration]:
    cursor: bytes | None = None
    while True:
        # a look-up per slice, so that no iterator of the database stays open between slices
        found, cursor = declared_slice(state, cursor, SLICE)
        yield from found
        if cursor is None:
            return


def _declaration(item: StorageItem, key: bytes, value: bytes) -> Declaration:
    (blob,) = item.split_key(key)
    return Declaration(blob, decode(U64, value))


@dataclass(frozen=True, slots=True)
class _Subtree:
    """A subtree: the nibbles that lead to its top node, and how the parent refers to that."""

    path: str
    token: bytes

    @classmethod
    def of(cls, state: State) -> _Subtree | None:
        """Return the whole trie of a state; None for an empty one."""
        mark = bytes(HASHED_TOKEN_LENGTH - len(state.root))
        return None if state.root == EMPTY_ROOT else cls("", mark + state.root)

    def top(self, state: State) -> Node:
        """Read the top node."""
        return decode_node(resolve(self.token, state.node))

    def children(self, node: Node) -> Iterable[_Subtree]:
        """List the subtrees below the top node."""
        path = self.path + node.partial
        digits = [digit for i, digit in enumerate(_DIGITS) if node.bitmap >> i & 1]
        return [_Subtree(path + d, token) for d, token in zip(digits, node.tokens, strict=True)]


def _changed(old: State, new: State, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of short values under a prefix, less the subtrees that both share."""
    wanted = prefix.hex()
    root = _Subtree.of(new)
    pending = [] if root is None else [(root, _Subtree.of(old))]
    while pending:
        subtree, before = pending.pop()
        before = _descend(old, before, subtree.path)
        if before == subtree:
            continue
        node = subtree.top(new)
        path = subtree.path + node.partial
        if node.slot is not None and path.startswith(wanted):
            yield bytes.fromhex(path), node.slot[1]
        pending.extend(
            (child, before)
            for child in subtree.children(node)
            if child.path.startswith(wanted) or wanted.startswith(child.path)
        )


def _descend(state: State, subtree: _Subtree | None, path: str) -> _Subtree | None:
    """Find the smallest subtree that holds everything under a path; None where nothing is."""
    while subtree is not None and subtree.path != path:
        node = subtree.top(state)
        reached = subtree.path + node.partial
        if reached.startswith(path):
            return subtree
        if not path.startswith(reached):
            return None
        below = (child for child in subtree.children(node) if path.startswith(child.path))
        subtree = next(below, None)
    return subtree
