"""Records: canonical form, limits, blobs and proofs."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import compact_encode, decode, encode
from runtime.protocols import merkle
from runtime.protocols.canonical import canonical_text, is_blank, tokens_of
from runtime.protocols.record_batch import (
    BLOB_TAG,
    MAX_BATCH_RECORDS,
    decode_batch,
    encode_batch,
    summarise,
)
from runtime.protocols.record_proof import (
    DatanetLeaf,
    RecordProof,
    datanet_leaf_bytes,
    prove_record,
    verify_record_proof,
)
from runtime.protocols.records import (
    MAX_RECORD_BYTES,
    RecordReason,
    RecordRefusal,
    canonical_hash,
    canonical_record_text,
    canonical_tokens,
    check_record,
    check_schema,
    chunks,
    content_hash,
    parse_record,
    record_leaf,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def refused(reason: RecordReason) -> object:
    return pytest.raises(RecordRefusal, match=reason.name)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("  Hello,\t\nWORLD ", "hello, world"),
        ("ﬁne ＡＢＣ", "fine abc"),
        ("Straße", "strasse"),
        ("e\u0301", "é"),
        ("a\u00adb\u200dc\u200bd", "abcd"),
        ("\u00a0\u3000\x00", ""),
        ("Ⅳ", "iv"),
        ("\U0001f9ff X", "\U0001f9ff x"),
        ("Ა", "Ა"),  # a capital that 3.2.0 does not assign is not folded
    ],
)
def test_canonical_text_ignores_form(text: str, canonical: str) -> None:
    assert canonical_text(text) == canonical


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("it's 3.5 %", ["it", "'", "s", "3", ".", "5", "%"]),
        ("a_b", ["a", "_", "b"]),
        ("x1y2 é", ["x1y2", "é"]),
        ("東京タワーab", ["東", "京", "タ", "ワ", "ー", "ab"]),
        ("ab東c", ["ab", "東", "c"]),
        ("นี่", ["นี่"]),
        ("हिन्दी", ["हिन्दी"]),
        ("x \u0301y", ["x", "\u0301y"]),
        ("", []),
    ],
)
def test_tokens_are_words_and_punctuation_marks(text: str, tokens: list[str]) -> None:
    assert list(tokens_of(text)) == tokens


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_takes_a_short_way_to_the_same_result(text: str) -> None:
    beside = canonical_text(text + " é")
    assert canonical_text(text) == beside.removesuffix("é").removesuffix(" ")
    assert (*tokens_of(text), "é") == tokens_of(text + " é")


@given(st.text(st.characters(categories=["Z", "Cc", "Cf", "M", "P"])))
def test_a_field_is_blank_when_it_has_no_token(text: str) -> None:
    assert is_blank(text) == (not tokens_of(canonical_text(text)))


@given(texts)
def test_canonical_text_is_canonical(text: str) -> None:
    once = canonical_text(text)
    assert canonical_text(once) == once
    assert canonical_text(f"  {text}\n") == once
    assert "  " not in once


@given(texts)
def test_tokens_keep_every_visible_character(text: str) -> None:
    canonical = canonical_text(text)
    tokens = tokens_of(canonical)
    assert "".join(tokens) == canonical.replace(" ", "")
    assert all(tokens)
    assert tokens_of(" ".join(tokens)) == tokens


@given(st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=40))
def test_unassigned_neighbours_do_not_change_a_normalisation(text: str) -> None:
    old = [c for c in text if unicodedata.ucd_3_2_0.category(c) != "Cn"]
    canonical = canonical_text("".join(old))
    assert (
        canonical_text("".join(old) + " \U0001f9ff").removesuffix("\U0001f9ff").rstrip(" ")
        == canonical
    )


@given(st.lists(texts, min_size=1, max_size=4).map(tuple))
def test_content_hash_pins_bytes_and_canonical_hash_pins_the_text(record: tuple[str, ...]) -> None:
    raw = compact_encode(len(record)) + b"".join(
        compact_encode(len(field.encode())) + field.encode() for field in record
    )
    assert content_hash(record) == blake2_256(raw)
    assert canonical_hash(record) == blake2_256(canonical_record_text(record).encode())
    padded = tuple(f" {field}" for field in record)
    assert content_hash(padded) != content_hash(record)
    assert canonical_hash(padded) == canonical_hash(record)


def test_moving_a_word_to_the_next_field_changes_the_canonical_hash_but_not_the_tokens() -> None:
    assert canonical_hash(("a b", "c")) != canonical_hash(("a", "b c"))
    assert canonical_tokens(("a b", "c")) == canonical_tokens(("a", "b c"))


def test_chunks_hold_32_tokens() -> None:
    tokens = [str(n) for n in range(70)]
    parts = [decode(tuple[str, ...], chunk) for chunk in chunks(tokens)]
    assert [len(part) for part in parts] == [32, 32, 6]
    assert [token for part in parts for token in part] == tokens
    leaf = record_leaf((" ".join(tokens),))
    assert leaf.token_count == 70
    assert leaf.chunks_root == merkle.root(chunks(tokens))


def test_limits_of_a_record() -> None:
    assert parse_record([b"a", b""], 2) == ("a", "")
    check_record(("x" * MAX_RECORD_BYTES,), 1)
    with refused(RecordReason.TOO_LARGE):
        check_record(("x" * MAX_RECORD_BYTES, "y"), 2)
    with refused(RecordReason.EMPTY):
        parse_record([b" \n", b""], 2)
    with refused(RecordReason.WRONG_FIELD_COUNT):
        parse_record([b"a"], 2)
    with refused(RecordReason.INVALID_UTF8):
        parse_record([b"\xff"], 1)
    with refused(RecordReason.INVALID_UTF8):
        check_record(("\ud800",), 1)


@pytest.mark.parametrize(
    "names", [(), tuple(map(str, range(17))), ("a", "a"), ("",), ("x" * 65,), ("\ud800",)]
)
def test_a_bad_schema_is_refused(names: tuple[str, ...]) -> None:
    check_schema(tuple(map(str, range(16))))
    with refused(RecordReason.BAD_SCHEMA):
        check_schema(names)


records = st.lists(st.tuples(texts.map(lambda text: text + "x"), texts), min_size=1, max_size=12)


@given(records)
def test_a_batch_survives_its_blob(batch: list[tuple[str, str]]) -> None:
    blob = encode_batch(batch, 2)
    assert decode_batch(blob, 2) == tuple(batch)
    summary, leaves = summarise(blob, batch)
    assert summary.count == len(batch)
    assert summary.bytes_ == len(blob)
    assert summary.tokens == sum(len(canonical_tokens(record)) for record in batch)
    assert summary.blob_hash == blake2_256(blob)
    assert leaves == tuple(map(record_leaf, batch))


@given(records, st.data())
def test_a_damaged_blob_is_refused_or_is_another_batch(
    batch: list[tuple[str, str]], data: st.DataObject
) -> None:
    blob = bytearray(encode_batch(batch, 2))
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        decoded = decode_batch(bytes(blob), 2)
    except RecordRefusal:
        return
    assert decoded != tuple(batch)
    assert encode_batch(decoded, 2) == bytes(blob)


def test_a_hostile_blob_is_refused_by_name() -> None:
    good = encode_batch([("a",), ("b",)], 1)
    with refused(RecordReason.BAD_TAG):
        decode_batch(b"openledger-records-v2" + good[len(BLOB_TAG) :], 1)
    with refused(RecordReason.MALFORMED):
        decode_batch(good + b"\x00", 1)
    with refused(RecordReason.MALFORMED):
        decode_batch(good[:-1], 1)
    with refused(RecordReason.MALFORMED):
        decode_batch(BLOB_TAG, 1)
    with refused(RecordReason.WRONG_FIELD_COUNT):
        decode_batch(good, 2)
    with refused(RecordReason.EMPTY):
        decode_batch(BLOB_TAG + compact_encode(0), 1)
    with refused(RecordReason.TOO_MANY):
        decode_batch(BLOB_TAG + compact_encode(MAX_BATCH_RECORDS + 1), 1)
    with refused(RecordReason.WRONG_FIELD_COUNT):
        decode_batch(BLOB_TAG + compact_encode(1) + compact_encode(1 << 40), 1)
    with refused(RecordReason.INVALID_UTF8) as caught:
        decode_batch(BLOB_TAG + encode(tuple[tuple[bytes, ...], ...], ((b"a",), (b"\xff",))), 1)
    assert caught.value.index == 1


def proof_of(position: int, index: int) -> tuple[bytes, RecordProof]:
    batches, leaves_of, first = [], [], 0
    for number, count in enumerate((3, 1, 5)):
        batch = [(f"record {first + i}",) for i in range(count)]
        summary, leaves = summarise(encode_batch(batch, 1), batch)
        batches.append(DatanetLeaf(first, count, bytes([number]) * 32, 7, summary.sub_root))
        leaves_of.append(leaves)
        first += count
    root = merkle.range_of(map(datanet_leaf_bytes, batches)).root()
    return root, prove_record(batches, position, leaves_of[position], index)


def test_a_record_is_proved_by_both_paths() -> None:
    for position, count, first in ((0, 3, 0), (1, 1, 3), (2, 5, 4)):
        for index in range(count):
            root, proof = proof_of(position, index)
            assert verify_record_proof(root, proof)
            assert proof.record_id() == first + index
            assert decode(RecordProof, encode(RecordProof, proof)) == proof


@given(st.data())
def test_no_bit_of_a_record_proof_can_be_changed(data: st.DataObject) -> None:
    root, proof = proof_of(2, 3)
    raw = bytearray(encode(RecordProof, proof))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        changed = decode(RecordProof, bytes(raw))
    except ValueError:
        return
    assert not verify_record_proof(root, changed)
