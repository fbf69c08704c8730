import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.primitives.header import (
    Block,
    Consensus,
    Header,
    Other,
    PreRuntime,
    RuntimeEnvironmentUpdated,
    Seal,
)
from runtime.primitives.scale import DecodeError, EncodeError, compact_encode

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "primitives.json").read_text())[
    "header"
]
EMPTY_TRIE = bytes.fromhex("03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314")

hashes = st.binary(min_size=32, max_size=32)
engines = st.binary(min_size=4, max_size=4)
items = st.one_of(
    st.builds(Other, st.binary(max_size=300)),
    st.builds(Consensus, engines, st.binary(max_size=100)),
    st.builds(Seal, engines, st.binary(max_size=100)),
    st.builds(PreRuntime, engines, st.binary(max_size=300)),
    st.just(RuntimeEnvironmentUpdated()),
)
headers = st.builds(
    Header,
    hashes,
    st.integers(0, 2**32 - 1),
    hashes,
    hashes,
    st.lists(items, max_size=4).map(tuple),
)
extrinsics = st.binary(max_size=100).map(lambda body: compact_encode(len(body)) + body)
blocks = st.builds(Block, headers, st.lists(extrinsics, max_size=5).map(tuple))


def genesis():
    root = bytes.fromhex("b0006203c3a6e6bd2c6a17b1d4ae8ca49a31da0f4579da950b127774b44aef6b")
    return Header(bytes(32), 0, root, EMPTY_TRIE, ())


def test_the_genesis_header_of_kusama_has_the_known_hash():
    known = "b0a8d493285c2df73290dfb7e61f870f17b41801197a149ca93654499ea3dafe"
    assert genesis().hash().hex() == known


def test_every_kind_of_digest_item_has_the_layout_of_the_ecosystem():
    header = Header(
        b"\xa1" * 32,
        16777301,
        b"\xb2" * 32,
        b"\xc3" * 32,
        (
            PreRuntime(b"SMPX", b"\x5a" * 207),
            Consensus(b"FRNK", b"\x01\x02"),
            Other(b"\xde\xad\xbe\xef"),
            RuntimeEnvironmentUpdated(),
            Seal(b"SMPX", b"\x77" * 64),
        ),
    )
    assert "0x" + header.encode().hex() == VECTOR["encoded"]
    assert "0x" + header.hash().hex() == VECTOR["hash"]
    assert Header.decode(header.encode()) == header


@given(headers)
def test_decoding_a_header_undoes_encoding(header):
    assert Header.decode(header.encode()) == header


@given(blocks)
def test_decoding_a_block_undoes_encoding(block):
    assert Block.decode(block.encode()) == block


@given(blocks, st.integers(1, 40), st.binary(min_size=1, max_size=4))
def test_truncated_and_trailing_bytes_are_refused(block, cut, rest):
    encoded = block.encode()
    for wrong in (encoded[:-cut], encoded + rest):
        with pytest.raises(DecodeError):
            Block.decode(wrong)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_a_decode_error(data):
    try:
        header = Header.decode(data)
    except DecodeError:
        return
    assert header.encode() == data


@pytest.mark.parametrize("tag", [1, 2, 3, 7, 9, 255])
def test_an_unknown_digest_item_is_refused(tag):
    encoded = genesis().encode()[:-1] + bytes((4, tag)) + b"SMPX\x00"
    with pytest.raises(DecodeError):
        Header.decode(encoded)


def test_the_remembered_hash_changes_neither_equality_nor_copies():
    header, twin = genesis(), genesis()
    first = header.hash()
    assert header.hash() is first
    assert header == twin
    assert hash(header) == hash(twin)
    assert pickle.loads(pickle.dumps(header)).hash() == first


def test_an_extrinsic_without_its_length_does_not_enter_a_block():
    for wrong in (b"", b"\x04", b"\x04\x00\x00", b"\x01"):
        with pytest.raises(EncodeError):
            Block(genesis(), (wrong,)).encode()


def test_a_count_beyond_the_data_is_refused_before_anything_is_read():
    encoded = Block(genesis(), ()).encode()[:-1] + compact_encode(2**32)
    with pytest.raises(DecodeError, match="cannot fit"):
        Block.decode(encoded)
