"""A batch of records as one blob, and what a contributor declares about it.

Blob: the tag ``openledger-records-v1``, then SCALE ``Vec<Vec<Bytes>>``. A blob has one encoding, so
its hash names its records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import (
    H256,
    U32,
    U64,
    DecodeError,
    codec,
    compact_decode,
    decode_at,
    encode,
)
from runtime.protocols.records import (
    Record,
    RecordLeaf,
    RecordReason,
    RecordRefusal,
    check_record,
    parse_record,
    record_leaf,
    sub_root,
)

BLOB_TAG = b"openledger-records-v1"
MAX_BATCH_RECORDS = 65_536
MAX_BATCH_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """What a submission declares; `bytes_` is the blob's length, `tokens` counts canonical ones."""

    count: U32
    bytes_: U64
    tokens: U64
    sub_root: H256
    blob_hash: H256


def encode_batch(records: Sequence[Record], field_count: int) -> bytes:
    """Encode records as a blob; raises RecordRefusal as `check_record`, or TOO_MANY, EMPTY."""
    _check_count(len(records))
    for index, record in enumerate(records):
        check_record(record, field_count, index)
    blob = BLOB_TAG + encode(tuple[tuple[str, ...], ...], tuple(records))
    if len(blob) > MAX_BATCH_BYTES:
        raise RecordRefusal(RecordReason.TOO_MANY, f"{len(blob)} bytes; {MAX_BATCH_BYTES} fit")
    return blob


def decode_batch(blob: bytes, field_count: int) -> tuple[Record, ...]:
    """Decode and check a blob of unknown origin.

    Raises:
        RecordRefusal: BAD_TAG, MALFORMED, TOO_MANY, EMPTY, or a record's own reason with its index.
    """
    if len(blob) > MAX_BATCH_BYTES:
        raise RecordRefusal(RecordReason.TOO_MANY, f"{len(blob)} bytes; {MAX_BATCH_BYTES} fit")
    if not blob.startswith(BLOB_TAG):
        raise RecordRefusal(RecordReason.BAD_TAG)
    records: list[Record] = []
    try:
        count, offset = compact_decode(blob, len(BLOB_TAG))
        _check_count(count)
        for index in range(count):
            fields, offset = _decode_fields(blob, offset, field_count, index)
            records.append(parse_record(fields, field_count, index))
    except (DecodeError, IndexError) as error:
        raise RecordRefusal(RecordReason.MALFORMED, str(error), len(records)) from error
    if offset != len(blob):
        raise RecordRefusal(RecordReason.MALFORMED, f"{len(blob) - offset} bytes left over")
    return tuple(records)


def summarise(blob: bytes, records: Sequence[Record]) -> tuple[RecordBatch, tuple[RecordLeaf, ...]]:
    """Compute what a submission declares about a blob, and the leaves of its tree."""
    leaves = tuple(record_leaf(record) for record in records)
    summary = RecordBatch(
        count=len(records),
        bytes_=len(blob),
        tokens=sum(leaf.token_count for leaf in leaves),
        sub_root=sub_root(leaves),
        blob_hash=blake2_256(blob),
    )
    return summary, leaves


def _check_count(count: int) -> None:
    if count == 0:
        raise RecordRefusal(RecordReason.EMPTY, "a batch holds at least one record")
    if count > MAX_BATCH_RECORDS:
        raise RecordRefusal(RecordReason.TOO_MANY, f"{count} records; {MAX_BATCH_RECORDS} fit")


def _decode_fields(
    blob: bytes, offset: int, field_count: int, index: int
) -> tuple[list[bytes], int]:
    # The count is checked before a field is read: a hostile count must not allocate.
    count, offset = compact_decode(blob, offset)
    if count != field_count:
        raise RecordRefusal(
            RecordReason.WRONG_FIELD_COUNT, f"{count} fields; {field_count} expected", index
        )
    fields: list[bytes] = []
    for _ in range(count):
        field, offset = decode_at(codec(bytes), blob, offset)
        fields.append(field)
    return fields, offset
