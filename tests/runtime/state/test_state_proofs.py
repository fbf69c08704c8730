from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.state import EMPTY_ROOT, InvalidProof, MemoryState, ProofReason
from runtime.state.proof import prove, verify

keys = st.binary(max_size=3) | st.binary(max_size=2).map(lambda tail: bytes(24) + tail)
values = st.sampled_from([0, 1, 20, 31, 32, 33, 90]).map(bytes)
entries = st.dictionaries(keys, values, min_size=1, max_size=30)


def account(number: int) -> bytes:
    return bytes(32) + blake2b(number.to_bytes(4, "little"), digest_size=16).digest()


ACCOUNTS = {account(i): bytes([i]) * 80 for i in range(100)}


def refused(root: bytes, proof: tuple[bytes, ...], wanted: list[bytes], version: int = 1) -> str:
    with pytest.raises(InvalidProof) as caught:
        verify(root, proof, wanted, version)
    return caught.value.reason.name


@settings(max_examples=200)
@given(entries, st.lists(keys, max_size=5), st.sampled_from([0, 1]), st.data())
def test_a_proof_shows_what_is_there_and_what_is_not(
    held: dict[bytes, bytes], others: list[bytes], version: int, data: st.DataObject
) -> None:
    state = MemoryState(held, version)
    wanted = others + data.draw(st.lists(st.sampled_from(sorted(held)), max_size=5))
    proof = prove(state.node, state.root, wanted)
    shown = verify(state.root, proof, wanted, version)
    assert shown == {key: held.get(key) for key in wanted}
    assert verify(state.root, proof[::-1], wanted, version) == shown


@settings(max_examples=100)
@given(entries, st.lists(keys, min_size=1, max_size=4), st.data())
def test_a_proof_with_a_changed_bit_a_missing_or_another_node_is_refused(
    held: dict[bytes, bytes], wanted: list[bytes], data: st.DataObject
) -> None:
    state = MemoryState(held)
    proof = prove(state.node, state.root, wanted)
    at = data.draw(st.integers(0, len(proof) - 1))
    bit = data.draw(st.integers(0, 8 * len(proof[at]) - 1))
    changed = bytearray(proof[at])
    changed[bit // 8] ^= 1 << bit % 8
    tampered = (*proof[:at], bytes(changed), *proof[at + 1 :])
    assert refused(state.root, tampered, wanted) == ProofReason.MISSING_NODE.name
    without = (*proof[:at], *proof[at + 1 :])
    assert refused(state.root, without, wanted) == ProofReason.MISSING_NODE.name
    for padding in (b"", b"\x00", bytes(changed), proof[at]):
        assert refused(state.root, (*proof, padding), wanted) == ProofReason.SUPERFLUOUS_NODE.name


def test_a_proof_grows_with_the_keys_and_not_with_the_state() -> None:
    state = MemoryState(ACCOUNTS)
    proof = prove(state.node, state.root, [account(7)])
    assert len(proof) <= 5
    assert ACCOUNTS[account(7)] in proof
    assert verify(state.root, proof, [account(7)]) == {account(7): bytes([7]) * 80}


def test_a_proof_of_one_key_does_not_prove_another() -> None:
    state = MemoryState(ACCOUNTS)
    proof = prove(state.node, state.root, [account(7)])
    assert refused(state.root, proof, [account(8)]) == ProofReason.MISSING_NODE.name
    assert refused(bytes(32), proof, [account(7)]) == ProofReason.MISSING_NODE.name


def test_version_0_refuses_a_node_that_holds_a_hash_for_a_value() -> None:
    state = MemoryState(ACCOUNTS)
    proof = prove(state.node, state.root, [account(7)])
    assert refused(state.root, proof, [account(7)], 0) == ProofReason.HASHED_VALUE.name


@pytest.mark.parametrize(
    "text",
    ["", "00", "42aa", "800000", "41fa00", "40040000", "800100 10 00000000", "42aa 0500 61"],
)
def test_a_root_of_bytes_that_are_no_canonical_node_proves_nothing(text: str) -> None:
    data = bytes.fromhex(text)
    root = blake2b(data, digest_size=32).digest()
    if root == EMPTY_ROOT:
        assert verify(root, (data,), [b"a"]) == {b"a": None}
    else:
        assert refused(root, (data,), [b"", b"\x00"]) == ProofReason.MALFORMED_NODE.name


def test_the_empty_state_proves_absence_without_nodes() -> None:
    state = MemoryState({})
    assert prove(state.node, state.root, [b"a"]) == ()
    assert verify(state.root, (), [b"a"]) == {b"a": None}
    assert verify(state.root, (b"\x00",), [b"a"]) == {b"a": None}
    assert refused(state.root, (b"\x01",), [b"a"]) == ProofReason.SUPERFLUOUS_NODE.name
