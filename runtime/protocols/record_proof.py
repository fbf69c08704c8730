"""Proof that a Datanet holds a record: two paths, one in its batch, one in the Datanet's range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.primitives.scale import H256, U32, U64, encode
from runtime.primitives.types import AccountId
from runtime.protocols import merkle
from runtime.protocols.records import RecordLeaf, leaf_bytes


@dataclass(frozen=True, slots=True)
class DatanetLeaf:
    """One accepted batch in its Datanet's mountain range."""

    first_record_id: U64
    count: U32
    owner: AccountId
    height: U32
    sub_root: H256


@dataclass(frozen=True, slots=True)
class RecordProof:
    """Everything that leads from a record's leaf to the root of a range of `size` batches."""

    batch: DatanetLeaf
    position: U64
    size: U64
    batch_path: tuple[H256, ...]
    record: RecordLeaf
    index: U32
    record_path: tuple[H256, ...]

    def record_id(self) -> int:
        """Return the record's number in its Datanet."""
        return self.batch.first_record_id + self.index


def datanet_leaf_bytes(leaf: DatanetLeaf) -> bytes:
    """Return the data of a batch's leaf in its Datanet's range."""
    return encode(DatanetLeaf, leaf)


def prove_record(
    batches: Sequence[DatanetLeaf], position: int, records: Sequence[RecordLeaf], index: int
) -> RecordProof:
    """Build the proof of record `index` of batch `position`; raises IndexError beyond either."""
    return RecordProof(
        batch=batches[position],
        position=position,
        size=len(batches),
        batch_path=merkle.path([datanet_leaf_bytes(leaf) for leaf in batches], position),
        record=records[index],
        index=index,
        record_path=merkle.path([leaf_bytes(leaf) for leaf in records], index),
    )


def verify_record_proof(range_root: bytes, proof: RecordProof) -> bool:
    """Tell whether the proof leads to the range's root."""
    return merkle.verify_path(
        proof.batch.sub_root,
        leaf_bytes(proof.record),
        proof.index,
        proof.batch.count,
        proof.record_path,
    ) and merkle.verify_in_range(
        range_root,
        datanet_leaf_bytes(proof.batch),
        proof.position,
        proof.size,
        proof.batch_path,
    )
