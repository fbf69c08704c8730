"""A record: an ordered list of UTF-8 fields that its Datanet's schema names.

`content_hash` pins the exact bytes. The canonical text, and the words and punctuation marks that it
is made of, pin what the on-chain predicates of redundancy compare; they use Unicode 3.2.0's tables,
which every Python carries unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import H256, U32, encode
from runtime.protocols import merkle
from runtime.protocols.canonical import canonical_text, is_blank, tokens_of

Record = tuple[str, ...]

MAX_FIELDS = 16
MAX_FIELD_NAME_BYTES = 64
MAX_RECORD_BYTES = 64 * 1024
"""UTF-8 bytes of all fields together."""
CHUNK_TOKENS = 32


class RecordReason(Enum):
    """Why a record, a schema or a batch of records is refused."""

    BAD_SCHEMA = "a schema has 1 to 16 different field names of 1 to 64 bytes each"
    WRONG_FIELD_COUNT = "give exactly the fields that the Datanet's schema names"
    INVALID_UTF8 = "encode every field as UTF-8"
    TOO_LARGE = "shorten or split the record"
    EMPTY = "a record needs at least one word or punctuation mark"
    BAD_TAG = "the blob is not a batch of records of this version"
    MALFORMED = "the blob is truncated, has bytes left over or is not canonical"
    TOO_MANY = "split the batch"


class RecordRefusal(Refusal):
    """A record or a batch that no Datanet takes; `index` is the record's place in its batch."""

    def __init__(self, reason: RecordReason, detail: str = "", index: int | None = None) -> None:
        where = "" if index is None else f"record {index}: "
        super().__init__(reason, f"{where}{detail or reason.value}")
        self.reason: RecordReason = reason
        self.index = index


@dataclass(frozen=True, slots=True)
class RecordLeaf:
    """What the tree of a batch commits to for one record."""

    content_hash: H256
    canonical_hash: H256
    token_count: U32
    chunks_root: H256


def check_schema(names: Sequence[str]) -> None:
    """Refuse a schema that records cannot follow (BAD_SCHEMA)."""
    if not 1 <= len(names) <= MAX_FIELDS:
        raise RecordRefusal(RecordReason.BAD_SCHEMA, f"{len(names)} fields; 1 to {MAX_FIELDS} fit")
    if len(frozenset(names)) != len(names):
        raise RecordRefusal(RecordReason.BAD_SCHEMA, "two fields have the same name")
    for name in names:
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            size = 0
        if not 1 <= size <= MAX_FIELD_NAME_BYTES:
            raise RecordRefusal(
                RecordReason.BAD_SCHEMA, f"a name has 1 to {MAX_FIELD_NAME_BYTES} UTF-8 bytes"
            )


def parse_record(fields: Sequence[bytes], field_count: int, index: int | None = None) -> Record:
    """Decode and check one record's raw fields.

    Raises:
        RecordRefusal: WRONG_FIELD_COUNT, TOO_LARGE, INVALID_UTF8 or EMPTY.
    """
    if len(fields) != field_count:
        raise RecordRefusal(
            RecordReason.WRONG_FIELD_COUNT, f"{len(fields)} fields; {field_count} expected", index
        )
    size = sum(map(len, fields))
    if size > MAX_RECORD_BYTES:
        raise RecordRefusal(RecordReason.TOO_LARGE, f"{size} bytes; {MAX_RECORD_BYTES} fit", index)
    try:
        record = tuple(field.decode() for field in fields)
    except UnicodeDecodeError as error:
        raise RecordRefusal(RecordReason.INVALID_UTF8, str(error), index) from error
    if all(map(is_blank, record)):
        raise RecordRefusal(RecordReason.EMPTY, index=index)
    return record


def check_record(record: Record, field_count: int, index: int | None = None) -> None:
    """Refuse a record that breaks a limit, for the reasons of `parse_record`."""
    try:
        fields = [field.encode() for field in record]
    except UnicodeEncodeError as error:
        raise RecordRefusal(RecordReason.INVALID_UTF8, str(error), index) from error
    parse_record(fields, field_count, index)


def content_hash(record: Record) -> bytes:
    """Hash the exact fields: H of their SCALE ``Vec<Bytes>``."""
    return blake2_256(encode(tuple[str, ...], record))


def canonical_record_text(record: Record) -> str:
    """Return the fields' canonical texts, joined by newlines."""
    return "\n".join([canonical_text(field) for field in record])


def canonical_tokens(record: Record) -> tuple[str, ...]:
    """Return the words and punctuation marks of all fields, in order."""
    return tokens_of(canonical_record_text(record))


def canonical_hash(record: Record) -> bytes:
    """Hash the UTF-8 bytes of the canonical text; equal for records that differ in form only."""
    return blake2_256(canonical_record_text(record).encode())


def chunks(tokens: Sequence[str]) -> tuple[bytes, ...]:
    """Return the chunk tree's leaves: SCALE ``Vec<String>`` of each 32 canonical tokens."""
    return tuple(
        encode(tuple[str, ...], tuple(tokens[i : i + CHUNK_TOKENS]))
        for i in range(0, len(tokens), CHUNK_TOKENS)
    )


def record_leaf(record: Record) -> RecordLeaf:
    """Compute the leaf of one record."""
    text = canonical_record_text(record)
    tokens = tokens_of(text)
    return RecordLeaf(
        content_hash=content_hash(record),
        canonical_hash=blake2_256(text.encode()),
        token_count=len(tokens),
        chunks_root=merkle.root(chunks(tokens)),
    )


def leaf_bytes(leaf: RecordLeaf) -> bytes:
    """Return the data of a record's leaf in its batch's tree."""
    return encode(RecordLeaf, leaf)


def sub_root(leaves: Sequence[RecordLeaf]) -> bytes:
    """Return the root over a batch's record leaves."""
    return merkle.root(map(leaf_bytes, leaves))
