"""The state trie: a base-16 Patricia trie whose root names the whole state.

An update is incremental: the changes are sorted once and go down the trie together, so keys with
a common prefix share the work, and only the nodes on the paths of changed keys are read, encoded
and hashed. Every node of 32 bytes or more, the root, and every value that is a node of its own is
counted as often as it occurs in the tree; whoever stores nodes adds and subtracts these counts and
may drop a node when its count is zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.primitives.scale import compact_encode
from runtime.state.batch import Batch
from runtime.state.node_codec import ReadNode, Slot, decode, hash_of, resolve

EMPTY_ROOT: Final = hash_of(b"\x00")
"""The root of a trie without entries; it has no nodes, so it is never read or counted."""

MAX_KEY_LENGTH: Final = 256
"""In bytes. The trie has at most two levels per byte, and going down a level is a call."""


class KeyTooLong(ValueError):
    """A storage key exceeds MAX_KEY_LENGTH bytes: hash the part of it that has no bound."""


@dataclass(frozen=True, slots=True)
class TrieUpdate:
    """What a batch of changes does to the stored nodes.

    `inserted` maps a node's hash to its bytes and the number of new occurrences, `removed` maps it
    to the number of occurrences that are gone. No hash is in both.
    """

    root: bytes
    inserted: dict[bytes, tuple[bytes, int]]
    removed: dict[bytes, int]


def update(
    read_node: ReadNode, root: bytes, changes: Mapping[bytes, bytes | None], version: int = 1
) -> TrieUpdate:
    """Apply a batch of changes; None deletes, and deleting an absent key changes nothing.

    `version` rules the values that are written; what is not touched keeps its form. Raises
    KeyTooLong, and whatever `read_node` raises.
    """
    if not changes:
        return TrieUpdate(root, {}, {})
    keys = sorted(changes)
    if max(map(len, keys)) > MAX_KEY_LENGTH:
        raise KeyTooLong(f"a storage key may have {MAX_KEY_LENGTH} bytes at most")
    batch = Batch(read_node, keys, changes, version)
    old = None if root == EMPTY_ROOT else read_node(root)
    new = batch.plant(0, len(keys), 0) if old is None else batch.revise(old, 0, len(keys), 0)
    if new is not old:
        if old is not None:
            batch.release(root)
        root = EMPTY_ROOT if new is None else batch.keep(new)
    inserted, removed = batch.net()
    return TrieUpdate(root, inserted, removed)


def build(entries: Mapping[bytes, bytes], version: int = 1) -> TrieUpdate:
    """Build the trie of a whole map."""
    return update(_nothing_to_read, EMPTY_ROOT, dict(entries), version)


def ordered_root(values: Sequence[bytes], version: int = 0) -> bytes:
    """Return the root of the trie from index (SCALE compact) to value, as for extrinsics."""
    return build({compact_encode(i): value for i, value in enumerate(values)}, version).root


def lookup(read_node: ReadNode, root: bytes, key: bytes) -> bytes | None:
    """Return the value under `key`, reading one node per level."""
    slot = find(read_node, root, key)
    if slot is None:
        return None
    hashed, value = slot
    return read_node(value) if hashed else value


def find(read_node: ReadNode, root: bytes, key: bytes) -> Slot | None:
    """Return what the node of `key` holds: its value, or the hash of its value."""
    if root == EMPTY_ROOT:
        return None
    path = key.hex()
    depth = 0
    data = read_node(root)
    while True:
        node = decode(data)
        if not path.startswith(node.partial, depth):
            return None
        depth += len(node.partial)
        if depth == len(path):
            return node.slot
        bit = 1 << int(path[depth], 16)
        if not node.bitmap & bit:
            return None
        data = resolve(node.tokens[(node.bitmap & bit - 1).bit_count()], read_node)
        depth += 1


def iterate(
    read_node: ReadNode, root: bytes, prefix: bytes, after: bytes | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries under `prefix`, ascending by key, from behind `after` on.

    Only subtrees that can hold such keys are read.
    """
    if root == EMPTY_ROOT:
        return
    wanted = prefix.hex()
    least = "" if after is None else after.hex()
    pending: list[tuple[str, bytes]] = [("", read_node(root))]
    while pending:
        path, token = pending.pop()
        node = decode(resolve(token, read_node) if path else token)
        path += node.partial
        if not _may_hold(path, wanted, least):
            continue
        if node.slot is not None and path.startswith(wanted) and (after is None or path > least):
            hashed, value = node.slot
            yield bytes.fromhex(path), read_node(value) if hashed else value
        nibbles = [digit for i, digit in enumerate("0123456789abcdef") if node.bitmap >> i & 1]
        children = (
            (path + digit, token) for digit, token in zip(nibbles, node.tokens, strict=True)
        )
        pending.extend(reversed([c for c in children if _may_hold(c[0], wanted, least)]))


def _may_hold(path: str, wanted: str, least: str) -> bool:
    """Tell whether keys that begin with `path` can be under the prefix and not before `least`."""
    return (path.startswith(wanted) or wanted.startswith(path)) and path >= least[: len(path)]


def _nothing_to_read(node_hash: bytes) -> bytes:
    raise KeyError(node_hash)
