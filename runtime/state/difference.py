"""What differs between two states: both tries are walked together, equal subtrees never read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from runtime.state.node_codec import HASH_LENGTH, Node, Slot, decode, hash_of, resolve
from runtime.state.store import State
from runtime.state.trie import EMPTY_ROOT

_DIGITS = "0123456789abcdef"
_ROOT_MARK = bytes((HASH_LENGTH << 2,))

_Tree: TypeAlias = bytes | Node | None
"""A subtree: its token, or its uppermost node without the nibbles that lead to it, or nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """A key with what the nodes of the old and the new state hold for it; None: it is not there."""

    key: bytes
    old: Slot | None
    new: Slot | None


def difference(old: State, new: State, prefix: bytes = b"") -> Iterator[Change]:
    """Yield the keys under `prefix` whose values differ, ascending.

    The nodes that are read are those on the ways to such keys. Raises MissingNode.
    """
    wanted = prefix.hex()
    pending: list[tuple[str, _Tree, _Tree]] = [("", _root(old), _root(new))]
    while pending:
        path, before, after = pending.pop()
        if before == after or not _related(path, wanted):
            continue
        left, right = _opened(before, old), _opened(after, new)
        shared = _shared(left, right)
        path += shared
        held = _slot(left, shared), _slot(right, shared)
        if path.startswith(wanted) and not _same(*held):
            yield Change(bytes.fromhex(path), *held)
        ways, others = _children(left, shared), _children(right, shared)
        pending += [
            (path + digit, ways.get(digit), others.get(digit))
            for digit in reversed(_DIGITS)
            if digit in ways or digit in others
        ]


def _root(state: State) -> _Tree:
    return None if state.root == EMPTY_ROOT else _ROOT_MARK + state.root


def _related(path: str, wanted: str) -> bool:
    """Tell whether keys that begin with `path` can be under the prefix."""
    return path.startswith(wanted) or wanted.startswith(path)


def _opened(tree: _Tree, state: State) -> Node | None:
    return decode(resolve(tree, state.node)) if isinstance(tree, bytes) else tree


def _shared(left: Node | None, right: Node | None) -> str:
    """Return the nibbles down to the first place where one of the two has a node or a way off."""
    if left is None or right is None:
        only = left or right
        return "" if only is None else only.partial
    for at, (digit, other) in enumerate(zip(left.partial, right.partial, strict=False)):
        if digit != other:
            return left.partial[:at]
    return min(left.partial, right.partial, key=len)


def _slot(node: Node | None, shared: str) -> Slot | None:
    return node.slot if node is not None and node.partial == shared else None


def _children(node: Node | None, shared: str) -> dict[str, _Tree]:
    """Return the subtrees below a place by their nibble; the node itself may be farther down."""
    if node is None:
        return {}
    if node.partial != shared:
        digit, rest = node.partial[len(shared)], node.partial[len(shared) + 1 :]
        return {digit: Node(rest, node.slot, node.bitmap, node.tokens)}
    digits = (digit for i, digit in enumerate(_DIGITS) if node.bitmap >> i & 1)
    return dict(zip(digits, node.tokens, strict=True))


def _same(old: Slot | None, new: Slot | None) -> bool:
    """Compare two values, of which one may be inline where the other is hashed."""
    if old is None or new is None or old[0] == new[0]:
        return old == new
    return _digest(old) == _digest(new)


def _digest(slot: Slot) -> bytes:
    return slot[1] if slot[0] else hash_of(slot[1])
