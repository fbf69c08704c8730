"""Questions to a state as the ecosystem's newer methods put them, answered one item at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from node.rpc.params import MalformedError, decoder, hex_bytes, to_hex
from node.rpc.schema import HEX, array, record, shared
from runtime.primitives.hashing import blake2_256
from runtime.state.merkle_value import closest_descendant_merkle_value
from runtime.state.store import State

OVERHEAD = 256
"""Bytes that a decoded question takes beside its key."""
MOST_QUERIES = 2048
MOST_QUERY_BYTES = 1 << 20
"""Keys of one request together."""


class Kind(Enum):
    """What is asked about a key; the values are the names on the wire."""

    VALUE = "value"
    HASH = "hash"
    CLOSEST = "closestDescendantMerkleValue"
    DESCENDANTS_VALUES = "descendantsValues"
    DESCENDANTS_HASHES = "descendantsHashes"

    @property
    def descends(self) -> bool:
        """Whether it is about all keys that begin with the key."""
        return self in (Kind.DESCENDANTS_VALUES, Kind.DESCENDANTS_HASHES)


@dataclass(frozen=True, slots=True)
class Query:
    """One question; `after` is the key behind which descendants are listed."""

    key: bytes
    kind: Kind
    after: bytes | None = None


QUERY = shared(
    "StorageQuery",
    record(
        ("paginationStartKey",),
        key=HEX,
        type={"type": "string", "enum": [kind.value for kind in Kind]},
        paginationStartKey={**HEX, "description": "of descendants: list those behind this key"},
    ),
)
ITEM_MEMBERS = {"value": HEX, "hash": HEX, "closestDescendantMerkleValue": HEX}
"""Members of an answered item beside its `key`; each item has one of them."""
ITEM = shared("StorageItem", record(tuple(ITEM_MEMBERS), key=HEX, **ITEM_MEMBERS))

_KINDS = {kind.value: kind for kind in Kind}


@decoder(array(QUERY, MOST_QUERIES))
def QUERIES(value: object) -> list[Query]:  # noqa: N802 - a decoder, used as a constant
    """Decode questions about storage."""
    if not isinstance(value, list):
        raise MalformedError("expected an array of storage items")
    if len(value) > MOST_QUERIES:
        raise MalformedError(f"at most {MOST_QUERIES} items are taken, got {len(value)}")
    queries = [_query(item) for item in value]
    size = sum(len(query.key) + len(query.after or b"") for query in queries)
    if size > MOST_QUERY_BYTES:
        raise MalformedError(f"the keys have {size} bytes, at most {MOST_QUERY_BYTES} are taken")
    return queries


def _query(item: object) -> Query:
    if not isinstance(item, dict):
        raise MalformedError("a storage item is an object with the members key and type")
    wanted = item.get("type")
    kind = _KINDS.get(wanted) if isinstance(wanted, str) else None
    if kind is None:
        raise MalformedError(f"the type of a storage item is one of {', '.join(_KINDS)}")
    after = item.get("paginationStartKey")
    if after is not None and not kind.descends:
        raise MalformedError("paginationStartKey goes with descendantsValues, descendantsHashes")
    return Query(hex_bytes(item.get("key")), kind, None if after is None else hex_bytes(after))


def weight(queries: Sequence[Query]) -> int:
    """Estimate the bytes that questions hold."""
    return sum(OVERHEAD + len(query.key) + len(query.after or b"") for query in queries)


def results(state: State, queries: Sequence[Query]) -> Iterator[dict[str, str] | None]:
    """Answer lazily, in the order of the questions, descendants ascending by key.

    None stands for a question without an answer: a chance to let others work. May raise
    MissingNode when pruning has removed the state.
    """
    for query in queries:
        if query.kind.descends:
            yield from _descendants(state, query)
        else:
            yield _single(state, query)


def _single(state: State, query: Query) -> dict[str, str] | None:
    if query.kind is Kind.CLOSEST:
        found = closest_descendant_merkle_value(state.node, state.root, query.key)
        return None if found is None else _item(query.key, query.kind.value, found)
    value = state.get(query.key)
    return None if value is None else value_item(query.key, value, query.kind is Kind.HASH)


def _descendants(state: State, query: Query) -> Iterator[dict[str, str] | None]:
    hashed = query.kind is Kind.DESCENDANTS_HASHES
    empty = True
    for key, value in state.iterate(query.key, query.after):
        empty = False
        yield value_item(key, value, hashed)
    if empty:
        yield None


def value_item(key: bytes, value: bytes, hashed: bool) -> dict[str, str]:
    """Show an entry with its value, or with the blake2b-256 hash of its value."""
    return _item(key, "hash", blake2_256(value)) if hashed else _item(key, "value", value)


def _item(key: bytes, name: str, data: bytes) -> dict[str, str]:
    return {"key": to_hex(key), name: to_hex(data)}
