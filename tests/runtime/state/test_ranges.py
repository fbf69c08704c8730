from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.state import EMPTY_ROOT, InvalidProof, MemoryState, ProofReason
from runtime.state.node_codec import decode, encode, hash_of
from runtime.state.ranges import RangeProof, prove_range, verify_range

keys = st.binary(max_size=3) | st.binary(max_size=2).map(lambda tail: bytes(24) + tail)
values = st.sampled_from([0, 1, 20, 31, 32, 33, 90]).map(bytes)
states = st.dictionaries(keys, values, max_size=40)
sizes = st.integers(0, 1500)


def refused(root: bytes, start: bytes, nodes: tuple[bytes, ...]) -> ProofReason:
    with pytest.raises(InvalidProof) as caught:
        verify_range(root, start, RangeProof(nodes))
    return caught.value.reason


@settings(max_examples=300)
@given(states, keys, sizes)
def test_a_range_holds_every_entry_up_to_where_it_goes_on(
    held: dict[bytes, bytes], start: bytes, most: int
) -> None:
    state = MemoryState(held)
    proof = prove_range(state.node, state.root, start, most)
    entries, following = verify_range(state.root, start, proof)
    wanted = [(k, v) for k, v in sorted(held.items()) if k >= start]
    if following is not None:
        assert following > start
        assert any(key >= following for key, _ in wanted)
        wanted = [(key, value) for key, value in wanted if key < following]
    assert list(entries) == wanted


@settings(max_examples=150)
@given(states, sizes)
def test_ranges_one_after_the_other_are_the_whole_state(
    held: dict[bytes, bytes], most: int
) -> None:
    state = MemoryState(held)
    found: dict[bytes, bytes] = {}
    start: bytes | None = b""
    while start is not None:
        proof = prove_range(state.node, state.root, start, most)
        entries, start = verify_range(state.root, start, proof)
        found.update(entries)
    assert list(found.items()) == sorted(held.items())


@settings(max_examples=300)
@given(states.filter(bool), keys, sizes, st.data())
def test_a_proof_with_a_node_altered_dropped_added_or_moved_is_refused_or_shorter(
    held: dict[bytes, bytes], start: bytes, most: int, data: st.DataObject
) -> None:
    state = MemoryState(held)
    nodes = prove_range(state.node, state.root, start, most).nodes
    truth = [(k, v) for k, v in sorted(held.items()) if k >= start]
    at = data.draw(st.integers(0, len(nodes) - 1))
    changed = bytearray(nodes[at])
    bit = data.draw(st.integers(0, 8 * len(changed) - 1))
    changed[bit // 8] ^= 1 << bit % 8
    assert refused(state.root, start, (*nodes[:at], bytes(changed), *nodes[at + 1 :])) is (
        ProofReason.MISSING_NODE
    )
    extra = data.draw(st.sampled_from([b"", b"\x00", bytes(changed), *nodes]))
    for forged in ((*nodes, extra), (*nodes[:at], extra, *nodes[at:]), nodes[:at]):
        try:
            entries, following = verify_range(state.root, start, RangeProof(forged))
        except InvalidProof as refusal:
            assert refusal.reason in (ProofReason.MISSING_NODE, ProofReason.SUPERFLUOUS_NODE)
        else:
            assert following is None or following > start
            assert list(entries) == [e for e in truth if following is None or e[0] < following]


@settings(max_examples=200)
@given(states.filter(bool), keys, st.sampled_from(["drop", "alter", "add"]), st.data())
def test_a_prover_of_another_state_proves_nothing(
    held: dict[bytes, bytes], start: bytes, lie: str, data: st.DataObject
) -> None:
    state = MemoryState(held)
    forged = dict(held)
    key = data.draw(st.sampled_from(sorted(held)))
    if lie == "drop":
        del forged[key]
    elif lie == "alter":
        forged[key] = held[key] + b"!"
    else:
        forged[data.draw(keys.filter(lambda k: k not in held))] = b"new"
    other = MemoryState(forged)
    proof = prove_range(other.node, other.root, start, 10_000)
    # The whole forged tree differs at least in its root, which every range needs.
    assert refused(state.root, start, proof.nodes) in (
        ProofReason.MISSING_NODE,
        ProofReason.SUPERFLUOUS_NODE,
    )
    mixed = (state.node(state.root), *proof.nodes[1:])
    entries: tuple[tuple[bytes, bytes], ...] = ()
    try:
        entries, _ = verify_range(state.root, start, RangeProof(mixed))
    except InvalidProof:
        return
    assert all(held.get(key) == value for key, value in entries)


def test_a_subtree_left_out_of_the_middle_is_missed() -> None:
    held = {blake2b(bytes([n]), digest_size=8).digest(): bytes([n]) * 40 for n in range(60)}
    state = MemoryState(held)
    nodes = prove_range(state.node, state.root, b"", 1 << 20).nodes
    for at in range(1, len(nodes) - 1):
        without = nodes[:at] + nodes[at + 1 :]
        assert refused(state.root, b"", without) is ProofReason.MISSING_NODE
    assert refused(state.root, b"", (*nodes, nodes[-1])) is ProofReason.SUPERFLUOUS_NODE
    assert refused(state.root, b"", ()) is ProofReason.MISSING_NODE


def test_a_proof_keeps_to_its_size_and_always_gets_on() -> None:
    held = {blake2b(bytes([n]), digest_size=8).digest(): bytes([n]) * 400 for n in range(60)}
    state = MemoryState(held)
    start: bytes | None = b""
    rounds = 0
    while start is not None:
        proof = prove_range(state.node, state.root, start, 2000)
        assert sum(map(len, proof.nodes)) <= 2000
        _, start = verify_range(state.root, start, proof)
        rounds += 1
    assert 15 < rounds < 40
    proof = prove_range(state.node, state.root, b"", 0)
    entries, following = verify_range(state.root, b"", proof)
    assert entries == ()
    assert following is not None


def test_the_empty_state_is_proved_without_nodes() -> None:
    assert prove_range(MemoryState({}).node, EMPTY_ROOT, b"", 10).nodes == ()
    assert verify_range(EMPTY_ROOT, b"", RangeProof(())) == ((), None)
    assert refused(EMPTY_ROOT, b"", (b"\x00",)) is ProofReason.SUPERFLUOUS_NODE


def test_a_start_behind_the_last_key_proves_that_nothing_follows() -> None:
    state = MemoryState({b"a": b"1", b"b": b"x" * 50})
    proof = prove_range(state.node, state.root, b"b\0", 1000)
    assert verify_range(state.root, b"b\0", proof) == ((), None)
    assert b"x" * 50 not in proof.nodes


@pytest.mark.parametrize("text", ["", "00", "42aa", "800000", "41fa00", "40040000", "41050461"])
def test_a_root_of_bytes_that_are_no_canonical_node_is_malformed(text: str) -> None:
    data = bytes.fromhex(text)
    root = hash_of(data)
    if root != EMPTY_ROOT:
        assert refused(root, b"", (data,)) is ProofReason.MALFORMED_NODE


def test_a_key_beyond_the_limit_is_malformed() -> None:
    node = decode(MemoryState({b"k" * 200: b"v"}).node(MemoryState({b"k" * 200: b"v"}).root))
    node.partial *= 2
    data = encode(node)
    assert refused(hash_of(data), b"", (data,)) is ProofReason.MALFORMED_NODE
