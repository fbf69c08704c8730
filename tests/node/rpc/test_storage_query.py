from __future__ import annotations

from hashlib import blake2b
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.rpc.params import MalformedError
from node.rpc.storage_query import (
    MOST_QUERIES,
    MOST_QUERY_BYTES,
    QUERIES,
    Kind,
    Query,
    results,
)
from runtime.state import MemoryState, TrieState
from runtime.state.merkle_value import closest_descendant_merkle_value

keys = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0xFF]), max_size=3).map(bytes)
entries = st.dictionaries(keys, st.binary(max_size=40), max_size=20)
queries = st.lists(
    st.builds(Query, keys, st.sampled_from([k for k in Kind if not k.descends]))
    | st.builds(Query, keys, st.sampled_from([k for k in Kind if k.descends]), st.none() | keys),
    max_size=6,
)


def written(query: Query) -> dict[str, Any]:
    item: dict[str, Any] = {"key": "0x" + query.key.hex(), "type": query.kind.value}
    if query.after is not None:
        item["paginationStartKey"] = "0x" + query.after.hex()
    return item


def shown(held: dict[bytes, bytes], key: bytes, kind: Kind) -> dict[str, str]:
    if kind in (Kind.VALUE, Kind.DESCENDANTS_VALUES):
        return {"key": "0x" + key.hex(), "value": "0x" + held[key].hex()}
    return {"key": "0x" + key.hex(), "hash": "0x" + blake2b(held[key], digest_size=32).hexdigest()}


def expected(held: dict[bytes, bytes], query: Query) -> list[dict[str, str]]:
    if query.kind is Kind.CLOSEST:
        state = MemoryState(held)
        value = closest_descendant_merkle_value(state.node, state.root, query.key)
        if value is None:
            return []
        return [{"key": "0x" + query.key.hex(), query.kind.value: "0x" + value.hex()}]
    if not query.kind.descends:
        return [shown(held, query.key, query.kind)] if query.key in held else []
    return [
        shown(held, key, query.kind)
        for key in sorted(held)
        if key.startswith(query.key) and (query.after is None or key > query.after)
    ]


@settings(max_examples=300)
@given(entries, queries)
def test_the_answers_are_those_of_a_plain_map(held: dict[bytes, bytes], asked: list[Query]) -> None:
    memory = MemoryState(held)
    wanted = [item for query in asked for item in expected(held, query)]
    for state in (memory, TrieState(memory.node, memory.root)):
        assert [item for item in results(state, asked) if item is not None] == wanted


@given(queries)
def test_questions_are_read_as_they_are_written(asked: list[Query]) -> None:
    assert QUERIES([written(query) for query in asked]) == asked


def test_descendants_are_read_as_they_are_taken() -> None:
    held = {i.to_bytes(2, "big"): bytes(40) for i in range(2000)}
    memory = MemoryState(held)
    read = 0

    def count(name: bytes) -> bytes:
        nonlocal read
        read += 1
        return memory.node(name)

    state = TrieState(count, memory.root)
    found = list(islice(results(state, [Query(b"", Kind.DESCENDANTS_HASHES)]), 10))
    assert len(found) == 10
    assert read < 40


def test_a_page_goes_on_behind_the_last_key() -> None:
    held = {bytes([i]): bytes([i]) for i in range(10)}
    state = MemoryState(held)
    after: bytes | None = None
    seen: list[str] = []
    while True:
        (query,) = QUERIES([written(Query(b"", Kind.DESCENDANTS_VALUES, after))])
        page = [item for item in islice(results(state, [query]), 3) if item is not None]
        if not page:
            break
        seen += [item["key"] for item in page]
        after = bytes.fromhex(page[-1]["key"][2:])
    assert seen == ["0x" + key.hex() for key in sorted(held)]


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        "0x",
        [None],
        ["0x00"],
        [{}],
        [{"key": "0x"}],
        [{"type": "value"}],
        [{"key": None, "type": "value"}],
        [{"key": 5, "type": "value"}],
        [{"key": "0x0", "type": "value"}],
        [{"key": "0x", "type": "Value"}],
        [{"key": "0x", "type": ["value"]}],
        [{"key": "0x", "type": None}],
        [{"key": "0x", "type": "value", "paginationStartKey": "0x"}],
        [{"key": "0x", "type": "descendantsValues", "paginationStartKey": 1}],
        [{"key": "0x", "type": "value"}] * (MOST_QUERIES + 1),
        [{"key": "0x" + "00" * (MOST_QUERY_BYTES + 1), "type": "value"}],
    ],
)
def test_malformed_questions_are_refused(value: object) -> None:
    with pytest.raises(MalformedError):
        QUERIES(value)


def test_keys_without_0x_and_empty_ones_and_nulls_are_taken() -> None:
    items = [
        {"key": "", "type": "hash"},
        {"key": "Ab", "type": "descendantsHashes", "paginationStartKey": None},
    ]
    assert QUERIES(items) == [Query(b"", Kind.HASH), Query(b"\xab", Kind.DESCENDANTS_HASHES)]
