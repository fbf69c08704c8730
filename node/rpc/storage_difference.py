"""Questions about what differs between two states, answered one item at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from node.rpc.params import MalformedError, decoder, hex_bytes, to_hex
from node.rpc.schema import HEX, array, record, shared
from runtime.primitives.hashing import blake2_256
from runtime.state.difference import Change, difference
from runtime.state.node_codec import Slot
from runtime.state.store import State

MOST_PREFIXES = 256


@dataclass(frozen=True, slots=True)
class DifferenceQuery:
    """Which keys are compared, and whether hashes or values are told; `child`: of a child trie."""

    prefix: bytes = b""
    hashed: bool = False
    child: bool = False


DIFFERENCE_QUERY = shared(
    "StorageDifferenceQuery",
    record(
        ("key", "childTrieKey"),
        key={**HEX, "description": "of keys that begin with it; without it of all"},
        returnType={"type": "string", "enum": ["value", "hash"]},
        childTrieKey={**HEX, "description": "no chain of this node has child tries: no items"},
    ),
)


@decoder(array(DIFFERENCE_QUERY, MOST_PREFIXES))
def DIFFERENCE_QUERIES(value: object) -> list[DifferenceQuery]:  # noqa: N802 - used as a constant
    """Decode questions about a difference."""
    if not isinstance(value, list):
        raise MalformedError("expected an array of items")
    if len(value) > MOST_PREFIXES:
        raise MalformedError(f"at most {MOST_PREFIXES} items are taken, got {len(value)}")
    return [_query(item) for item in value]


def _query(item: object) -> DifferenceQuery:
    if not isinstance(item, dict):
        raise MalformedError("an item is an object with the members key and returnType")
    if item.get("returnType") not in ("value", "hash"):
        raise MalformedError("the returnType of an item is value or hash")
    child = item.get("childTrieKey")
    if child is not None:
        hex_bytes(child)
    key = item.get("key")
    prefix = b"" if key is None else hex_bytes(key)
    return DifferenceQuery(prefix, item["returnType"] == "hash", child is not None)


def differences(
    old: State, new: State, queries: Sequence[DifferenceQuery]
) -> Iterator[dict[str, str] | None]:
    """Compare lazily, question by question, keys ascending; None where one has no answer.

    A deleted entry is told with the value that it had. May raise MissingNode.
    """
    for query in queries:
        if not query.child:
            for change in difference(old, new, query.prefix):
                yield _item(change, old, new, query.hashed)
        yield None


def _item(change: Change, old: State, new: State, hashed: bool) -> dict[str, str]:
    slot, state = (change.old, old) if change.new is None else (change.new, new)
    kind = "added" if change.old is None else "deleted" if change.new is None else "modified"
    name, data = ("hash", _hash(slot)) if hashed else ("value", _value(slot, state))
    return {"key": to_hex(change.key), name: to_hex(data), "type": kind}


def _hash(slot: Slot | None) -> bytes:
    is_hash, data = slot or (False, b"")
    return data if is_hash else blake2_256(data)


def _value(slot: Slot | None, state: State) -> bytes:
    is_hash, data = slot or (False, b"")
    return state.node(data) if is_hash else data
