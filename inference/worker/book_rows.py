"""What the session book keeps, and how it lies in the rows of its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgpack
import numpy as np

from inference.sampling import SamplingParams
from inference.trace import Trace
from runtime.primitives.scale import decode
from runtime.protocols import receipt as receipts
from runtime.protocols import voucher as vouchers
from runtime.protocols.batch import Entry, ReceiptBatch
from runtime.protocols.receipt import SignedReceipt
from runtime.protocols.report import Report, decode_report
from runtime.protocols.voucher import SignedVoucher

ANSWER_COLUMNS = (
    "signed, prompt, output, sampling, model, height, logits, fingerprint, engine, "
    "attributed, report, explanation, submission"
)
SUBMISSION_COLUMNS = "id, session, batch, voucher, chain_batch"


class VoucherState(IntEnum):
    """What became of a voucher."""

    OPEN = 0
    ANSWERED = 1
    ABANDONED = 2


class Attributed(IntEnum):
    """Whether a receipt's report is there."""

    PENDING = 0
    DONE = 1
    REFUSED = 2


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as the book keeps it: all that a judge or an attribution needs."""

    signed: SignedReceipt
    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    sampling: SamplingParams
    model: int
    height: int
    trace: Trace
    engine: bytes
    attributed: Attributed = Attributed.PENDING
    report: Report | None = None
    explanation: dict[str, Any] | None = None
    submission: int | None = None

    @property
    def hash(self) -> bytes:
        """Return the receipt's hash."""
        return receipts.receipt_hash(self.signed.receipt)

    def entry(self) -> Entry:
        """Return the receipt as a batch holds it."""
        return Entry(self.signed.receipt, self.report)


@dataclass(frozen=True, slots=True)
class Submission:
    """A batch that is prepared; `chain_batch` is its id once the chain has it."""

    id: int
    session: int
    batch: ReceiptBatch
    voucher: SignedVoucher
    chain_batch: int | None


def answered_of(row: Sequence[Any]) -> Answered:
    """Decode ANSWER_COLUMNS."""
    return Answered(
        signed=receipts.decode_signed(row[0]),
        prompt_ids=unpack_ids(row[1]),
        output_ids=unpack_ids(row[2]),
        sampling=SamplingParams(*msgpack.unpackb(row[3])),
        model=row[4],
        height=row[5],
        trace=Trace(row[6], row[7]),
        engine=row[8],
        attributed=Attributed(row[9]),
        report=None if row[10] is None else decode_report(row[10]),
        explanation=None if row[11] is None else msgpack.unpackb(row[11]),
        submission=row[12],
    )


def pack_ids(ids: Sequence[int]) -> bytes:
    """Encode token ids as u32 little endian."""
    return np.asarray(ids, dtype="<u4").tobytes()


def unpack_ids(data: bytes) -> tuple[int, ...]:
    """Decode token ids."""
    return tuple(np.frombuffer(data, dtype="<u4").tolist())


def pack_sampling(params: SamplingParams) -> bytes:
    """Encode sampling parameters in the order of their fields."""
    packed: bytes = msgpack.packb(
        [params.temperature, params.top_k, params.top_p, params.min_p, params.seed]
    )
    return packed


def submission_of(row: Sequence[Any]) -> Submission:
    """Decode SUBMISSION_COLUMNS."""
    return Submission(
        row[0], row[1], decode(ReceiptBatch, row[2]), vouchers.decode_signed(row[3]), row[4]
    )
