"""What a validator does before an index becomes data: code some of its records again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inference.attribution import codes as coding
from inference.attribution.arrays import Float64s, UInt8s
from inference.attribution.gradients import TracedModel
from inference.attribution.index import IndexedRecord, InfluenceIndex, code_passages
from runtime.protocols.ids import RecordId

LEAST_COSINE = 0.999
MOST_FAR_CODES = 1_000
"""Parts per million of a record's codes that may differ by more than one step."""


@dataclass(frozen=True, slots=True)
class AuditedRecord:
    """How far an index's codes of a record lie from the validator's own."""

    record: RecordId
    cosine: float
    far_codes: int
    """Codes that differ by more than one step, in parts per million."""

    @property
    def passed(self) -> bool:
        """Tell whether the difference is numeric noise."""
        return self.cosine >= LEAST_COSINE and self.far_codes <= MOST_FAR_CODES


def audit_records(
    model: TracedModel, index: InfluenceIndex, records: Sequence[tuple[int, IndexedRecord]]
) -> tuple[AuditedRecord, ...]:
    """Code records again, given with their positions in the index, and compare.

    A record whose id or content is another than the index states fails with cosine zero.
    """
    passages = [record.passage for _, record in records]
    packed, exponents = code_passages(model, index.basis, passages, 4096)
    ours, offsets = coding.offset_records(packed, exponents, index.bases, index.layout)
    audited = []
    for row, (position, record) in enumerate(records):
        theirs = index.codes[:, position][None]
        stated = (index.records[position], index.content_hashes[position])
        same = stated == (record.record, record.content_hash)
        mine = _values(index, ours[row][None], offsets[row])
        cosine = _cosine(mine, _values(index, theirs, index.offsets[:, position])) if same else 0.0
        steps = coding.unpack_codes(ours[row][None]) - coding.unpack_codes(theirs)
        far = int((np.abs(steps) > 2).sum()) * 1_000_000 // steps.size
        audited.append(AuditedRecord(record.record, cosine, far))
    return tuple(audited)


def _values(index: InfluenceIndex, packed: UInt8s, offsets: UInt8s) -> Float64s:
    exponents = np.repeat(index.bases.astype(np.int64) + offsets, index.layout)
    values: Float64s = np.ldexp(coding.unpack_codes(packed)[0].astype(np.float64), exponents)
    return values


def _cosine(a: Float64s, b: Float64s) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
