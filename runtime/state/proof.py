"""Proofs of storage: the trie nodes on the way to some keys, present or absent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from runtime.primitives.errors import Refusal
from runtime.state.node_codec import InvalidNode, ReadNode, decode, encode, hash_of
from runtime.state.trie import EMPTY_ROOT, find, lookup


class ProofReason(Enum):
    """Why a proof is refused."""

    MISSING_NODE = "a node on the way to a key is not in the proof"
    MALFORMED_NODE = "a node is not the canonical encoding of a trie node"
    HASHED_VALUE = "a node holds the hash of its value, which state version 0 does not know"
    SUPERFLUOUS_NODE = "a node is there twice, or on the way to no key"


class InvalidProof(Refusal):
    """The nodes do not prove the keys under the root; ask another peer."""

    def __init__(self, reason: ProofReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: ProofReason = reason


def prove(read_node: ReadNode, root: bytes, keys: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return every node that looking up `keys` reads, each once, in the order of reading.

    A value that is a node of its own is part of the proof. The empty trie needs no node.
    """
    read: dict[bytes, bytes] = {}

    def record(name: bytes) -> bytes:
        if name not in read:
            read[name] = read_node(name)
        return read[name]

    for key in keys:
        lookup(record, root, key)
    return tuple(read.values())


def verify(
    root: bytes, proof: Sequence[bytes], keys: Iterable[bytes], version: int = 1
) -> dict[bytes, bytes | None]:
    """Return what the proof shows under each key, None for absence; raises InvalidProof.

    A proof holds exactly the nodes that the keys need: superfluous ones are refused, so that a
    proof cannot be padded. The order of the nodes does not matter. The node ``00`` of the empty
    trie may be there or not.
    """
    if root == EMPTY_ROOT:
        if list(proof) not in ([], [b"\x00"]):
            raise InvalidProof(ProofReason.SUPERFLUOUS_NODE)
        return dict.fromkeys(keys)
    nodes = {hash_of(data): data for data in proof}
    used: dict[bytes, None] = {}

    def read(name: bytes) -> bytes:
        if name not in nodes:
            raise InvalidProof(ProofReason.MISSING_NODE, f"0x{name.hex()} is not in the proof")
        used[name] = None
        return nodes[name]

    def read_node(name: bytes) -> bytes:
        known = name in used
        data = read(name)
        if not known:
            _check_node(data, version)
        return data

    found = {}
    for key in keys:
        try:
            slot = find(read_node, root, key)
        except InvalidNode as error:
            raise InvalidProof(ProofReason.MALFORMED_NODE, str(error)) from error
        found[key] = None if slot is None else read(slot[1]) if slot[0] else slot[1]
    if len(used) != len(proof):
        raise InvalidProof(ProofReason.SUPERFLUOUS_NODE)
    return found


def _check_node(data: bytes, version: int) -> None:
    node = decode(data)
    if encode(node) != data:
        raise InvalidProof(ProofReason.MALFORMED_NODE)
    if node.slot is not None and node.slot[0] and version == 0:
        raise InvalidProof(ProofReason.HASHED_VALUE)
