"""One batch of changes on its way through the trie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from runtime.state.node_codec import (
    HASHED_TOKEN_LENGTH,
    Node,
    ReadNode,
    Slot,
    decode,
    encode,
    encode_parts,
    hash_of,
    slot_of,
    token_of,
)

_DIGITS: Final = "0123456789abcdef"
_NIBBLES: Final = {digit: value for value, digit in enumerate(_DIGITS)}


class Batch:
    """The sorted changes and the count of every node that they insert or remove.

    A range `lo:hi` is a run of changes whose keys agree in their first `depth` nibbles. Methods
    that return a subtree's encoding return None where nothing is left of it.
    """

    def __init__(
        self,
        read_node: ReadNode,
        keys: Sequence[bytes],
        changes: Mapping[bytes, bytes | None],
        version: int,
    ) -> None:
        self._read_node = read_node
        self._counts: defaultdict[bytes, int] = defaultdict(int)
        self._data: dict[bytes, bytes] = {}
        self._paths = [key.hex() for key in keys]
        self._slots = [self._admit(changes[key], version) for key in keys]

    def net(self) -> tuple[dict[bytes, tuple[bytes, int]], dict[bytes, int]]:
        """Return the occurrences that came and those that went; what did both is left out."""
        counts, data = self._counts, self._data
        inserted = {name: (data[name], count) for name, count in counts.items() if count > 0}
        removed = {name: -count for name, count in counts.items() if count < 0}
        return inserted, removed

    def keep(self, encoding: bytes) -> bytes:
        """Count one more occurrence of a node and return its hash."""
        name = hash_of(encoding)
        self._counts[name] += 1
        self._data[name] = encoding
        return name

    def release(self, name: bytes) -> None:
        """Count one occurrence less."""
        self._counts[name] -= 1

    def plant(self, lo: int, hi: int, depth: int) -> bytes | None:
        """Build the subtree of a range where there was none."""
        paths, slots = self._paths, self._slots
        while lo < hi and slots[lo] is None:
            lo += 1
        while lo < hi and slots[hi - 1] is None:
            hi -= 1
        if lo == hi:
            return None
        first = paths[lo]
        if hi - lo == 1:
            return encode_parts(first[depth:], slots[lo], 0, ())
        at = depth + _agreement(first, depth, paths[hi - 1], depth)
        slot = None
        if len(first) == at:
            slot = slots[lo]
            lo += 1
        bitmap = 0
        tokens = []
        while lo < hi:
            stop = self._group_end(lo, hi, at)
            child = self.plant(lo, stop, at + 1)
            if child is not None:
                bitmap |= 1 << _NIBBLES[paths[lo][at]]
                tokens.append(self._settle(child))
            lo = stop
        return encode_parts(first[depth:at], slot, bitmap, tokens)

    def revise(self, data: bytes, lo: int, hi: int, depth: int) -> bytes | None:
        """Apply a range to a subtree; returns `data` itself where nothing changed."""
        node = decode(data)
        partial, paths = node.partial, self._paths
        if not (paths[lo].startswith(partial, depth) and paths[hi - 1].startswith(partial, depth)):
            shared = self._shared(partial, lo, hi, depth)
            if shared < len(partial):
                self._split(node, shared)
            lo, hi = self._within(node.partial, lo, hi, depth)
            if lo == hi:
                return data
        at = depth + len(node.partial)
        changed = False
        if len(paths[lo]) == at:
            changed = self._assign(node, self._slots[lo])
            lo += 1
        while lo < hi:
            stop = self._group_end(lo, hi, at)
            bit = 1 << _NIBBLES[paths[lo][at]]
            old, name = self._child(node, bit)
            below = at + 1
            new = self.plant(lo, stop, below) if old is None else self.revise(old, lo, stop, below)
            if new is not old:
                self._replace(node, bit, name, new)
                changed = True
            lo = stop
        return self._close(node) if changed else data

    def _admit(self, value: bytes | None, version: int) -> Slot | None:
        """Return the slot of a written value, counted where the value is a node of its own."""
        if value is None:
            return None
        slot = slot_of(value, version)
        if slot[0]:
            self._counts[slot[1]] += 1
            self._data[slot[1]] = value
        return slot

    def _fetch(self, name: bytes) -> bytes:
        data = self._data.get(name)
        return self._read_node(name) if data is None else data

    def _settle(self, encoding: bytes) -> bytes:
        """Return a child's token, counting the child where it is a node of its own."""
        token = token_of(encoding)
        if len(token) == HASHED_TOKEN_LENGTH:
            name = token[1:]
            self._counts[name] += 1
            self._data[name] = encoding
        return token

    def _group_end(self, lo: int, hi: int, at: int) -> int:
        """Return the end of the run of keys that agree with the first in nibble `at`."""
        if hi - lo == 1:
            return hi
        paths = self._paths
        nibble = paths[lo][at]
        lo += 1
        while lo < hi and paths[lo][at] == nibble:
            lo += 1
        return lo

    def _assign(self, node: Node, slot: Slot | None) -> bool:
        """Write a node's own value; the old one is released even where the new one equals it."""
        old = node.slot
        if old is not None and old[0]:
            self._counts[old[1]] -= 1
        node.slot = slot
        return old != slot

    def _child(self, node: Node, bit: int) -> tuple[bytes | None, bytes | None]:
        """Return a child's encoding and, where it is a node of its own, its hash."""
        if not node.bitmap & bit:
            return None, None
        token = node.tokens[(node.bitmap & bit - 1).bit_count()]
        if len(token) == HASHED_TOKEN_LENGTH:
            name = token[1:]
            return self._fetch(name), name
        return token[1:], None

    def _replace(self, node: Node, bit: int, name: bytes | None, new: bytes | None) -> None:
        """Put a child's new encoding in the place of the old one, whose hash was `name`."""
        rank = (node.bitmap & bit - 1).bit_count()
        if name is not None:
            self._counts[name] -= 1
        if new is None:
            del node.tokens[rank]
            node.bitmap ^= bit
        elif node.bitmap & bit:
            node.tokens[rank] = self._settle(new)
        else:
            node.tokens.insert(rank, self._settle(new))
            node.bitmap |= bit

    def _close(self, node: Node) -> bytes | None:
        """Encode a changed node; a branch with one child and no value merges with the child."""
        bitmap = node.bitmap
        if node.slot is None:
            if not bitmap:
                return None
            if not bitmap & bitmap - 1:
                return self._merge(node)
        return encode(node)

    def _merge(self, node: Node) -> bytes:
        token = node.tokens[0]
        below = token[1:]
        if len(token) == HASHED_TOKEN_LENGTH:
            self._counts[below] -= 1
            below = self._fetch(below)
        child = decode(below)
        child.partial = node.partial + _DIGITS[node.bitmap.bit_length() - 1] + child.partial
        return encode(child)

    def _split(self, node: Node, at: int) -> None:
        """Turn a node into a branch after `at` nibbles, with what it was as its only child."""
        partial = node.partial
        lower = encode_parts(partial[at + 1 :], node.slot, node.bitmap, node.tokens)
        node.partial = partial[:at]
        node.slot = None
        node.bitmap = 1 << _NIBBLES[partial[at]]
        node.tokens = [self._settle(lower)]

    def _shared(self, partial: str, lo: int, hi: int, depth: int) -> int:
        """Return how many nibbles of `partial` all written keys of the range share."""
        writes = [i for i in range(lo, hi) if self._slots[i] is not None]
        if not writes:
            return len(partial)
        # The keys are sorted, so the first and the last one differ earliest from any string.
        return min(
            _agreement(self._paths[writes[0]], depth, partial, 0),
            _agreement(self._paths[writes[-1]], depth, partial, 0),
        )

    def _within(self, partial: str, lo: int, hi: int, depth: int) -> tuple[int, int]:
        """Return the part of a range whose keys go on with `partial`."""
        paths = self._paths
        while lo < hi and not paths[lo].startswith(partial, depth):
            lo += 1
        while lo < hi and not paths[hi - 1].startswith(partial, depth):
            hi -= 1
        return lo, hi


def _agreement(one: str, one_at: int, other: str, other_at: int) -> int:
    """Return how many characters two strings share from the given positions on."""
    limit = min(len(one) - one_at, len(other) - other_at)
    for i in range(limit):
        if one[one_at + i] != other[other_at + i]:
            return i
    return limit
