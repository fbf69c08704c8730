from __future__ import annotations

from hashlib import blake2b

import pytest

from runtime.state import EMPTY_ROOT, trie
from runtime.state.node_codec import InvalidNode, Node, decode, encode

KUSAMA_ROOT = "b0006203c3a6e6bd2c6a17b1d4ae8ca49a31da0f4579da950b127774b44aef6b"
KUSAMA_GENESIS = "b0a8d493285c2df73290dfb7e61f870f17b41801197a149ca93654499ea3dafe"


def blake(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


def test_kusamas_genesis_state_has_kusamas_root(kusama_spec: dict[bytes, bytes]) -> None:
    assert len(kusama_spec) == 3419
    assert trie.build(kusama_spec, version=0).root.hex() == KUSAMA_ROOT


def test_kusamas_root_leads_to_kusamas_genesis_hash(kusama_spec: dict[bytes, bytes]) -> None:
    root = trie.build(kusama_spec, version=0).root
    header = bytes(32) + b"\x00" + root + trie.ordered_root([]) + b"\x00"
    assert blake(header).hex() == KUSAMA_GENESIS


def test_kusamas_root_comes_back_after_half_of_the_keys_were_gone(
    kusama_spec: dict[bytes, bytes],
) -> None:
    built = trie.build(kusama_spec, version=0)
    nodes = {name: data for name, (data, _) in built.inserted.items()}
    half = sorted(kusama_spec)[::2]
    less = trie.update(nodes.__getitem__, built.root, dict.fromkeys(half), version=0)
    rest = {key: value for key, value in kusama_spec.items() if key not in set(half)}
    assert less.root == trie.build(rest, version=0).root
    nodes |= {name: data for name, (data, _) in less.inserted.items()}
    again = trie.update(nodes.__getitem__, less.root, {k: kusama_spec[k] for k in half}, version=0)
    assert again.root == built.root
    assert {n: count for n, (_, count) in again.inserted.items()} == less.removed
    assert {n: count for n, (_, count) in less.inserted.items()} == again.removed


@pytest.mark.parametrize("version", [0, 1])
def test_small_tries_have_the_published_roots(version: int) -> None:
    # smoldot, lib/src/trie/calculate_root.rs
    hello = trie.build({b"abcd": b"hello world"}, version).root
    assert hello.hex() == "7ab18659d3b2789ef2400d107104c7d4fb93d06d9ab6a8b641a5de7c3fecc851"
    pair = trie.build({b"\x48\x19": b"\xfe", b"\x13\x14": b"\xff"}, version).root
    assert pair == blake(bytes.fromhex("801200 14430314 04ff 14430819 04fe"))


def test_the_published_root_of_foo_bar() -> None:
    # smoldot, lib/src/trie/calculate_root.rs, state version 1
    root = trie.build({b"foo": b"bar"}).root
    assert root.hex() == "cc561cd59bcef7911ca9d492b69fe05274a28f9c132bb70829b2cc452925e05b"


def test_the_empty_trie_has_the_published_root_and_no_nodes() -> None:
    assert EMPTY_ROOT.hex() == "03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314"
    assert trie.build({}) == trie.TrieUpdate(EMPTY_ROOT, {}, {})
    assert trie.ordered_root([]) == EMPTY_ROOT


def test_a_published_branch_is_taken_apart_and_put_together() -> None:
    # smoldot, lib/src/trie/trie_node.rs
    second = "6cd369627acef6494ded334d1aa60134b3ad2b59db68c4bed08087b10db96faf"
    first = "81fe6f1527bcd7128b4c809d6c218be822490015ca36124791752fdebd5d7744"
    data = bytes.fromhex(f"c263c0000080{first}80{second}")
    tokens = [b"\x80" + bytes.fromhex(first), b"\x80" + bytes.fromhex(second)]
    assert decode(data) == Node("63", (False, b""), 0b1100_0000, tokens)
    assert encode(decode(data)) == data


@pytest.mark.parametrize(
    ("nibbles", "head"),
    [
        (0, "40"),
        (1, "41"),
        (62, "7e"),
        (63, "7f00"),
        (64, "7f01"),
        (63 + 254, "7ffe"),
        (63 + 255, "7fff00"),
        (63 + 510, "7fffff00"),
    ],
)
def test_long_partial_keys_continue_in_bytes_of_255(nibbles: int, head: str) -> None:
    node = Node("a" * nibbles, (False, b"x"), 0, [])
    packed = ("0" if nibbles % 2 else "") + "a" * nibbles
    assert encode(node).hex() == head + packed + "0478"
    assert decode(encode(node)) == node


@pytest.mark.parametrize(
    ("value_length", "version", "hashed"),
    [(32, 1, False), (33, 1, True), (33, 0, False), (200, 0, False)],
)
def test_a_value_is_a_node_of_its_own_above_32_bytes_in_version_1(
    value_length: int, version: int, hashed: bool
) -> None:
    value = bytes(value_length)
    inserted = trie.build({b"k": value}, version).inserted
    assert (blake(value) in inserted) is hashed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        "01",
        "0f",
        "42",
        "42aa",
        "42aa04",
        "42aa040000",
        "7fff",
        "80",
        "800000",
        "8001",
        "800100",
        "21",
    ],
)
def test_bytes_that_are_no_node_are_refused(text: str) -> None:
    with pytest.raises(InvalidNode):
        decode(bytes.fromhex(text))


def test_the_root_of_a_list_numbers_its_values_with_compact_integers() -> None:
    values = [bytes([i]) * i for i in range(70)]
    keys = [bytes([i << 2]) for i in range(64)]
    keys += [(i << 2 | 1).to_bytes(2, "little") for i in range(64, 70)]
    entries = dict(zip(keys, values, strict=True))
    assert trie.ordered_root(values) == trie.build(entries, version=0).root
    assert trie.ordered_root(values, version=1) == trie.build(entries).root
