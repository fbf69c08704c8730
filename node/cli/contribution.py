"""What contributors and owners of Datanets do: submit records with their blob, check, accept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from node.cli.chain import Chain
from runtime.pallets.datanets.pallet import required_bond
from runtime.pallets.datanets.types import Batch, BatchStatus, Datanet
from runtime.primitives.errors import Refusal
from runtime.protocols.record_batch import decode_batch, encode_batch, summarise
from runtime.protocols.records import Record, RecordRefusal

Progress = Callable[[int, int], None]
"""Told the bytes that are done and all of them."""


class BlobReason(Enum):
    """Why a batch's bytes are not what the chain declares."""

    ABSENT = "no bytes: ask the contributor to upload them, or reject the batch"
    WRONG_LENGTH = "the blob's length is not the declared one; reject the batch"
    WRONG_HASH = "the blob's hash is not the declared one; fetch it from another node"
    WRONG_COUNT = "the blob holds another number of records; reject the batch"
    WRONG_ROOT = "the records do not lead to the declared root; reject the batch"
    WRONG_RECORDS = "the records do not follow the Datanet's schema; reject the batch"


class BlobMismatch(Refusal):
    """A batch that must not be accepted as it is."""

    def __init__(self, reason: BlobReason, detail: str = "") -> None:
        super().__init__(reason, f"{detail}; {reason.value}" if detail else reason.value)
        self.reason: BlobReason = reason


class Missing(Enum):
    """What the chain does not know."""

    DATANET = "there is no such Datanet; see `openledger datanet list`"
    BATCH = "there is no such batch; see `openledger datanet show`"
    MODEL = "there is no such model; see `openledger model list`"
    SESSION = "there is no such session"
    WORKER = "there is no such worker any more"
    NAME = "no example Datanet has this key"


class NotThere(Refusal):
    """Something was named that the chain does not hold."""

    def __init__(self, reason: Missing, what: object) -> None:
        super().__init__(reason, f"{what}: {reason.value}")
        self.reason: Missing = reason


@dataclass(frozen=True, slots=True)
class Submission:
    """A batch of records ready to be submitted."""

    records: tuple[Record, ...]
    blob: bytes
    licence: str
    bond: int | None = None
    """Planck; None for the least that the Datanet's policy admits."""


def prepare(
    records: Sequence[Record], fields: int, licence: str, bond: int | None = None
) -> Submission:
    """Encode records as a batch; raises RecordRefusal."""
    return Submission(tuple(records), encode_batch(records, fields), licence, bond)


async def datanet_of(chain: Chain, datanet: int) -> Datanet:
    """Read a Datanet; raises NotThere."""
    found: Datanet | None = await chain.storage("Datanets", "Datanets", datanet)
    if found is None:
        raise NotThere(Missing.DATANET, f"Datanet {datanet}")
    return found


async def batch_of(chain: Chain, datanet: int, batch: int) -> Batch:
    """Read a batch; raises NotThere."""
    found: Batch | None = await chain.storage("Datanets", "Batches", datanet, batch)
    if found is None:
        raise NotThere(Missing.BATCH, f"batch {batch} of Datanet {datanet}")
    return found


async def submit(
    chain: Chain, datanet: int, submission: Submission, progress: Progress
) -> tuple[int, int]:
    """Bond and submit a batch, then hand its bytes to the node; returns number and bond.

    The bytes follow the inclusion: nobody can take records out of the pool and be first.
    """
    net = await datanet_of(chain, datanet)
    summary, _ = summarise(submission.blob, submission.records)
    least = required_bond(net.policy, summary.count)
    bond = least if submission.bond is None else submission.bond
    submitted = await chain.call(
        "Datanets",
        "submit_batch",
        "BatchSubmitted",
        datanet=datanet,
        sub_root=summary.sub_root,
        count=summary.count,
        bytes_=summary.bytes_,
        blob=summary.blob_hash,
        licence=submission.licence.encode(),
        bond=bond,
    )
    await chain.upload(submission.blob, progress)
    return submitted.batch, bond


async def check_blob(chain: Chain, datanet: int, batch: int, progress: Progress) -> Batch:
    """Fetch a batch's bytes and check them against the chain; raises NotThere or BlobMismatch."""
    net = await datanet_of(chain, datanet)
    entry = await batch_of(chain, datanet, batch)
    blob = await chain.download(entry.blob, progress)
    if blob is None:
        raise BlobMismatch(BlobReason.ABSENT, f"no node here has blob 0x{entry.blob.hex()}")
    check_records(blob, entry, len(net.schema))
    return entry


def check_records(blob: bytes, entry: Batch, fields: int) -> None:
    """Check a batch's bytes against what its contributor declared; raises BlobMismatch."""
    if len(blob) != entry.bytes_:
        raise BlobMismatch(BlobReason.WRONG_LENGTH, f"{len(blob)} bytes; declared {entry.bytes_}")
    try:
        records = decode_batch(blob, fields)
    except RecordRefusal as refusal:
        raise BlobMismatch(BlobReason.WRONG_RECORDS, str(refusal)) from refusal
    summary, _ = summarise(blob, records)
    if summary.blob_hash != entry.blob:
        raise BlobMismatch(BlobReason.WRONG_HASH, f"0x{summary.blob_hash.hex()}")
    if summary.count != entry.count:
        raise BlobMismatch(BlobReason.WRONG_COUNT, f"{summary.count}; declared {entry.count}")
    if summary.sub_root != entry.sub_root:
        raise BlobMismatch(BlobReason.WRONG_ROOT, f"0x{summary.sub_root.hex()}")


async def pending(chain: Chain, datanet: int) -> list[int]:
    """List the batches that wait for their owner's decision."""
    rows = await chain.entries("Datanets", "Batches", datanet)
    return [key[-1] for key, entry in rows if entry.status == BatchStatus.PENDING]
