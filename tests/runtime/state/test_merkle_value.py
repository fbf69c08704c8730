from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.primitives.scale import compact_encode
from runtime.state import EMPTY_ROOT, LayeredState, MemoryState, MissingNode
from runtime.state.merkle_value import closest_descendant_merkle_value
from runtime.state.proof import prove
from runtime.state.trie import update

nibbly = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xF0, 0xFF]), max_size=4).map(bytes)
keys = nibbly | nibbly.map(lambda tail: bytes(24) + tail) | st.binary(max_size=3)
values = st.sampled_from([0, 1, 20, 31, 32, 33, 90]).map(bytes)
entries = st.dictionaries(keys, values, max_size=25)


def digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


def naive(held: dict[bytes, bytes], version: int) -> dict[str, bytes]:
    """Map every node's path to its Merkle value, by the rules of the specification alone."""
    found: dict[str, bytes] = {}

    def encoding(paths: dict[str, bytes], above: int) -> tuple[str, bytes]:
        first, last = min(paths), max(paths)
        differ = (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
        path = first[: next(differ, len(first))]
        partial = path[above:]
        value = paths.get(path)
        hashed = value is not None and version == 1 and len(value) > 32
        children = [
            {p: v for p, v in paths.items() if len(p) > len(path) and p[len(path)] == digit}
            for digit in "0123456789abcdef"
        ]
        branch = any(children)
        prefix, bits = {
            (False, True, False): (0x40, 6),
            (True, False, False): (0x80, 6),
            (True, True, False): (0xC0, 6),
            (False, True, True): (0x20, 5),
            (True, True, True): (0x10, 4),
        }[branch, value is not None, hashed]
        largest, size = (1 << bits) - 1, len(partial)
        head = bytes([prefix | min(size, largest)])
        if size >= largest:
            head += b"\xff" * ((size - largest) // 255) + bytes([(size - largest) % 255])
        data = head + bytes.fromhex(partial if size % 2 == 0 else "0" + partial)
        if branch:
            data += sum(1 << i for i, child in enumerate(children) if child).to_bytes(2, "little")
        if value is not None:
            data += digest(value) if hashed else compact_encode(len(value)) + value
        for child in filter(None, children):
            below, encoded = encoding(child, len(path) + 1)
            merkle = encoded if len(encoded) < 32 else digest(encoded)
            found[below] = merkle
            data += compact_encode(len(merkle)) + merkle
        return path, data

    if held:
        path, data = encoding({key.hex(): value for key, value in held.items()}, 0)
        found[path] = digest(data)
    return found


def closest(held: dict[bytes, bytes], key: bytes, version: int) -> bytes | None:
    below = [(path, value) for path, value in naive(held, version).items()]
    return min(
        ((len(path), value) for path, value in below if path.startswith(key.hex())),
        default=(0, None),
    )[1]


@settings(max_examples=400)
@given(entries, keys, st.sampled_from([0, 1]))
@example({b"": b""}, b"", 1)
@example({}, b"", 1)
def test_the_value_is_that_of_the_uppermost_node_under_the_key(
    held: dict[bytes, bytes], other: bytes, version: int
) -> None:
    state = MemoryState(held, version)
    asked = [b"", other, *held, *(key[:-1] for key in held), *(key + b"\0" for key in held)]
    for key in asked:
        found = closest_descendant_merkle_value(state.node, state.root, key)
        assert found == closest(held, key, version), key.hex()


def test_the_empty_trie_has_none() -> None:
    state = MemoryState({})
    assert state.root == EMPTY_ROOT
    assert closest_descendant_merkle_value(state.node, state.root, b"") is None


def test_without_a_prefix_it_is_the_root() -> None:
    for held in ({b"k": b"v"}, {b"": b""}, {bytes([i]): bytes(40) for i in range(256)}):
        state = MemoryState(held)
        assert closest_descendant_merkle_value(state.node, state.root, b"") == state.root


def test_short_nodes_stand_for_themselves() -> None:
    state = MemoryState({b"ab": b"1", b"cd": b"2", b"c": b""})
    leaf = closest_descendant_merkle_value(state.node, state.root, b"ab")
    assert leaf is not None
    assert len(leaf) < 32
    assert leaf == b"\x42\x62" + b"\x041"  # two nibbles, 62, and a value of one byte


def test_a_proof_of_the_key_holds_the_node() -> None:
    held = {blake2b(bytes([i]), digest_size=32).digest(): bytes([i]) * 48 for i in range(200)}
    state = MemoryState(held)
    for key in list(held)[:20]:
        found = closest_descendant_merkle_value(state.node, state.root, key)
        proof = prove(state.node, state.root, [key])
        assert found in [digest(node) for node in proof]
        assert digest(held[key]) != found


@settings(max_examples=100)
@given(entries, st.dictionaries(keys, st.none() | values, max_size=6), keys)
def test_it_changes_whenever_an_entry_under_the_key_does(
    held: dict[bytes, bytes], changes: dict[bytes, bytes | None], key: bytes
) -> None:
    state = MemoryState(held)
    after = LayeredState(state, changes, update(state.node, state.root, changes))
    before_value = closest_descendant_merkle_value(state.node, state.root, key)
    after_value = closest_descendant_merkle_value(after.node, after.root, key)
    under = [list(s.iterate(key)) for s in (state, after)]
    if under[0] != under[1]:
        assert before_value != after_value


def test_a_pruned_node_is_told() -> None:
    state = MemoryState({bytes([i]): bytes(40) for i in range(256)})
    root = state.node(state.root)

    def only_root(name: bytes) -> bytes:
        if name != state.root:
            raise MissingNode(name)
        return root

    assert closest_descendant_merkle_value(only_root, state.root, b"") == state.root
    with pytest.raises(MissingNode):
        closest_descendant_merkle_value(only_root, state.root, b"\x07")
