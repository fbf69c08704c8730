"""The incremental trie against a rebuild that knows no shortcut."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.state import KeyTooLong, MemoryState, trie

EMPTY = blake2b(b"\x00", digest_size=32).digest()


class Rebuild:
    """A whole trie from a map, written from the specification; counts what has a hash."""

    def __init__(self, entries: dict[bytes, bytes], version: int) -> None:
        self.version = version
        self.counts: Counter[bytes] = Counter()
        self.nodes: dict[bytes, bytes] = {}
        rows = [([int(c, 16) for c in key.hex()], value) for key, value in entries.items()]
        self.root = self.store(self.subtree(rows)) if rows else EMPTY

    def store(self, data: bytes) -> bytes:
        name = blake2b(data, digest_size=32).digest()
        self.counts[name] += 1
        self.nodes[name] = data
        return name

    def subtree(self, rows: list[tuple[list[int], bytes]]) -> bytes:
        shortest = min(rows, key=lambda row: len(row[0]))[0]
        shared = 0
        while shared < len(shortest) and len({row[0][shared] for row in rows}) == 1:
            shared += 1
        value = None
        children: dict[int, list[tuple[list[int], bytes]]] = {}
        for path, held in rows:
            if len(path) == shared:
                value = held
            else:
                children.setdefault(path[shared], []).append((path[shared + 1 :], held))
        return self.encoding(shortest[:shared], value, children)

    def encoding(
        self,
        partial: list[int],
        value: bytes | None,
        children: dict[int, list[tuple[list[int], bytes]]],
    ) -> bytes:
        hashed = value is not None and len(value) > 32 and self.version == 1
        if children:
            prefix, largest = (0x10, 15) if hashed else (0x80 if value is None else 0xC0, 63)
        else:
            prefix, largest = (0x20, 31) if hashed else (0x40, 63)
        rest = len(partial) - largest
        head = bytes([prefix + min(len(partial), largest)])
        while rest >= 0:
            head += bytes([min(rest, 255)])
            rest -= 255
        padded = [0] * (len(partial) % 2) + partial
        out = head + bytes(a * 16 + b for a, b in zip(padded[::2], padded[1::2], strict=True))
        if children:
            out += sum(2**nibble for nibble in children).to_bytes(2, "little")
        if value is not None:
            out += self.store(value) if hashed else compact(len(value)) + value
        for nibble in sorted(children):
            child = self.subtree(children[nibble])
            child = child if len(child) < 32 else self.store(child)
            out += compact(len(child)) + child
        return out


def compact(number: int) -> bytes:
    if number < 64:
        return bytes([number * 4])
    if number < 2**14:
        return (number * 4 + 1).to_bytes(2, "little")
    return (number * 4 + 2).to_bytes(4, "little")


LONG = bytes(range(0x30, 0x50))
nearby = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xFF]), max_size=4).map(bytes)
keys = st.one_of(
    nearby,
    nearby.map(lambda tail: LONG + tail),
    nearby.map(lambda tail: LONG + bytes(16) + tail),
    st.binary(max_size=3),
)
values = st.builds(
    lambda length, fill: bytes([fill]) * length,
    st.sampled_from([0, 1, 2, 30, 31, 32, 33, 34, 63, 64, 80, 300]),
    st.sampled_from([0x00, 0x7A]),
)
batches = st.lists(
    st.dictionaries(keys, st.one_of(st.none(), values), max_size=12), min_size=1, max_size=6
)
versions = st.sampled_from([0, 1])


def applied(entries: dict[bytes, bytes], changes: dict[bytes, bytes | None]) -> dict[bytes, bytes]:
    merged = entries | changes
    return {key: value for key, value in merged.items() if value is not None}


@settings(max_examples=300)
@given(st.dictionaries(keys, values, max_size=30), batches, versions)
@example({b"": b"", b"\x00": b"x"}, [{b"": None}, {b"\x00": None}], 1)
@example({b"\x11": bytes(40), b"\x12": bytes(40)}, [{b"\x11": None}], 1)
def test_updates_end_at_the_root_the_nodes_and_the_counts_of_a_rebuild(
    start: dict[bytes, bytes], changes: list[dict[bytes, bytes | None]], version: int
) -> None:
    state = MemoryState(start, version)
    model = dict(start)
    for batch in [{}, *changes]:
        before = state.node_counts
        update = state.apply(batch)
        model = applied(model, batch)
        expected = Rebuild(model, version)
        assert update.root == state.root == expected.root
        assert state.node_counts == expected.counts
        assert {name: state.node(name) for name in expected.counts} == expected.nodes
        came = {name: n - before.get(name, 0) for name, n in expected.counts.items()}
        assert {n: c for n, (_, c) in update.inserted.items()} == {
            n: c for n, c in came.items() if c > 0
        }


@settings(max_examples=150)
@given(st.dictionaries(keys, values, max_size=30), batches, versions, nearby, keys)
def test_lookups_and_ordered_iteration_equal_a_dict(
    start: dict[bytes, bytes],
    changes: list[dict[bytes, bytes | None]],
    version: int,
    prefix: bytes,
    after: bytes,
) -> None:
    state = MemoryState(start, version)
    model = dict(start)
    for batch in changes:
        state.apply(batch)
        model = applied(model, batch)
    node, root = state.node, state.root
    touched = {key for batch in changes for key in batch} | start.keys() | {after}
    assert {k: trie.lookup(node, root, k) for k in touched} == {k: model.get(k) for k in touched}
    ordered = sorted(model.items())
    for stem in (b"", prefix, LONG, LONG[:5]):
        under = [item for item in ordered if item[0].startswith(stem)]
        behind = [item for item in under if item[0] > after]
        assert list(trie.iterate(node, root, stem)) == list(state.iterate(stem)) == under
        assert list(trie.iterate(node, root, stem, after)) == behind
        assert list(state.iterate(stem, after)) == behind


@settings(max_examples=100)
@given(st.dictionaries(keys, values, max_size=30), st.lists(keys, max_size=10), versions)
def test_writing_what_is_there_and_deleting_what_is_not_changes_nothing(
    entries: dict[bytes, bytes], absent: list[bytes], version: int
) -> None:
    state = MemoryState(entries, version)
    idle: dict[bytes, bytes | None] = {k: None for k in absent if k not in entries}
    idle |= dict(list(entries.items())[::2])
    update = trie.update(state.node, state.root, idle, version)
    assert update == trie.TrieUpdate(state.root, {}, {})


@settings(max_examples=100)
@given(st.dictionaries(keys, values, max_size=30), versions)
def test_nothing_is_left_when_everything_is_deleted(
    entries: dict[bytes, bytes], version: int
) -> None:
    state = MemoryState(entries, version)
    state.apply(dict.fromkeys(entries))
    assert (state.root, state.node_counts, list(state.iterate(b""))) == (EMPTY, {}, [])


def test_equal_subtrees_are_counted_once_for_each_place() -> None:
    twins = {
        stem + tail: bytes(40) for stem in (b"\x01", b"\x02", b"\x33") for tail in (b"a", b"b")
    }
    state = MemoryState(twins)
    value = blake2b(bytes(40), digest_size=32).digest()
    assert state.node_counts[value] == 6
    state.apply({b"\x01a": None, b"\x02b": None})
    assert state.node_counts[value] == 4
    assert state.node_counts == Rebuild(dict(state.iterate(b"")), 1).counts


def test_an_update_reads_the_nodes_on_the_path_and_each_of_them_once() -> None:
    entries = {
        blake2b(bytes([i, j])).digest()[:16]: bytes(50) for i in range(50) for j in range(40)
    }
    state = MemoryState(entries)
    read: list[bytes] = []

    def node(name: bytes) -> bytes:
        read.append(name)
        return state.node(name)

    touched = sorted(entries)[::100]
    update = trie.update(node, state.root, dict.fromkeys(touched, b"new" * 20))
    assert len(read) == len(set(read))
    assert len(read) <= 1 + len(touched) * 4  # root, then at most two branches and a leaf or so
    assert set(read) <= update.removed.keys()


def test_a_page_of_an_iteration_reads_only_what_it_yields_and_the_way_there() -> None:
    entries = {blake2b(bytes([i, j])).digest()[:16]: b"short" for i in range(50) for j in range(40)}
    state = MemoryState(entries)
    read: list[bytes] = []

    def node(name: bytes) -> bytes:
        read.append(name)
        return state.node(name)

    ordered = sorted(entries)
    page = trie.iterate(node, state.root, b"", after=ordered[1500])
    assert [next(page)[0] for _ in range(20)] == ordered[1501:1521]
    assert len(read) < 50
    read.clear()
    assert list(trie.iterate(node, state.root, ordered[7])) == [(ordered[7], b"short")]
    assert len(read) <= 5


def test_a_value_written_under_the_old_version_keeps_its_form_until_it_is_written_again() -> None:
    state = MemoryState({b"\x01": bytes(50), b"\x02": bytes(60)}, version=0)
    update = trie.update(state.node, state.root, {b"\x02": bytes(60)}, version=1)
    value = blake2b(bytes(60), digest_size=32).digest()
    assert update.root != state.root
    assert update.inserted[value] == (bytes(60), 1)
    assert blake2b(bytes(50), digest_size=32).digest() not in update.inserted


def test_the_deepest_trie_fits_and_a_longer_key_is_refused() -> None:
    stem = b""
    entries = {}
    while len(stem) < trie.MAX_KEY_LENGTH:
        entries |= {stem + b"\x10": b"a", stem + b"\x01": b"b", stem: b"c"}
        stem += b"\x00"
    state = MemoryState(entries)
    assert state.root == trie.build(entries).root
    state.apply({stem[:-1] + b"\x01": b"changed"})
    state.apply(dict.fromkeys(entries))
    assert state.root == EMPTY
    with pytest.raises(KeyTooLong):
        state.apply({bytes(trie.MAX_KEY_LENGTH + 1): b""})
    assert state.root == EMPTY
