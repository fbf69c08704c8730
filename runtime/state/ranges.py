"""Proofs of ranges of a state: every entry from a key on, as far as the proof goes.

The proof is the trie's nodes in the order of the keys (a node, its value where that is a node of
its own, its children), without the subtrees before the range. So the end needs no telling: the
range ends where the next node would be. Nothing within it can be left out, since every node is
wanted by its hash at exactly its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runtime.state.node_codec import (
    HASHED_TOKEN_LENGTH,
    InvalidNode,
    Node,
    ReadNode,
    decode,
    encode,
    hash_of,
)
from runtime.state.proof import InvalidProof, ProofReason
from runtime.state.trie import EMPTY_ROOT, MAX_KEY_LENGTH

Entries = tuple[tuple[bytes, bytes], ...]
_Fetch = Callable[[bytes, str], bytes | None]
"""Return the node of a hash at a place in the trie; None where the range ends before it."""


@dataclass(frozen=True, slots=True)
class RangeProof:
    """Trie nodes in the order in which the verifier wants them."""

    nodes: tuple[bytes, ...]


def prove_range(read_node: ReadNode, root: bytes, start: bytes, most_bytes: int) -> RangeProof:
    """Prove the entries from `start` (inclusive) on, in nodes of at most `most_bytes` together.

    What is needed to get beyond `start` at all is there even where it is larger. Raises what
    `read_node` raises.
    """
    taken: list[bytes] = []
    room = most_bytes

    def fetch(name: bytes, path: str) -> bytes | None:
        nonlocal room
        data = read_node(name)
        if len(data) > room and _position(path) > start:
            return None
        room -= len(data)
        taken.append(data)
        return data

    _walk(root, start, fetch)
    return RangeProof(tuple(taken))


def verify_range(root: bytes, start: bytes, proof: RangeProof) -> tuple[Entries, bytes | None]:
    """Return all entries from `start` on up to the proof's end, ascending, and where to go on.

    The second is greater than `start` and all returned keys, and not greater than any other; None
    where the state has no more entries. Raises InvalidProof: MISSING_NODE where another node is
    wanted than the next one, or more to get beyond `start`; MALFORMED_NODE; SUPERFLUOUS_NODE
    where nodes are left.
    """
    left = iter(proof.nodes)

    def fetch(name: bytes, path: str) -> bytes | None:
        data = next(left, None)
        if data is None and _position(path) > start:
            return None
        if data is None or hash_of(data) != name:
            raise InvalidProof(
                ProofReason.MISSING_NODE, f"0x{name.hex()} is not where it is wanted"
            )
        return data

    found = _walk(root, start, fetch)
    if next(left, None) is not None:
        raise InvalidProof(ProofReason.SUPERFLUOUS_NODE)
    return found


def _walk(root: bytes, start: bytes, fetch: _Fetch) -> tuple[Entries, bytes | None]:
    """Go through the trie in the order of the keys until `fetch` returns None."""
    least = start.hex()
    entries: list[tuple[bytes, bytes]] = []
    pending = [] if root == EMPTY_ROOT else [("", b"\x80" + root)]
    while pending:
        path, token = pending.pop()
        hashed = len(token) == HASHED_TOKEN_LENGTH
        data = fetch(token[1:], path) if hashed else token[1:]
        if data is None:
            return tuple(entries), _position(path)
        node = _checked(data, path)
        path += node.partial
        if path < least[: len(path)]:
            continue
        if node.slot is not None and path >= least:
            value = fetch(node.slot[1], path) if node.slot[0] else node.slot[1]
            if value is None:
                return tuple(entries), _position(path)
            entries.append((bytes.fromhex(path), value))
        pending.extend(reversed(_children(node, path, least)))
    return tuple(entries), None


def _children(node: Node, path: str, least: str) -> list[tuple[str, bytes]]:
    """List the children that can hold keys of the range, ascending."""
    digits = [digit for i, digit in enumerate("0123456789abcdef") if node.bitmap >> i & 1]
    children = [(path + digit, token) for digit, token in zip(digits, node.tokens, strict=True)]
    return [child for child in children if child[0] >= least[: len(child[0])]]


def _checked(data: bytes, path: str) -> Node:
    try:
        node = decode(data)
    except InvalidNode as error:
        raise InvalidProof(ProofReason.MALFORMED_NODE, str(error)) from error
    length = len(path) + len(node.partial)
    if length > 2 * MAX_KEY_LENGTH or (node.slot is not None and length & 1):
        raise InvalidProof(ProofReason.MALFORMED_NODE, f"a key of {length} nibbles")
    if encode(node) != data:
        raise InvalidProof(ProofReason.MALFORMED_NODE)
    return node


def _position(path: str) -> bytes:
    """Return the least key that can stand at a place in the trie."""
    return bytes.fromhex(path + "0" if len(path) & 1 else path)
