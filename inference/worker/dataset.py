"""A published Datanet version as training reads it: every record, proven against its root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from inference.worker.chain_view import ChainView
from runtime.pallets.datanets.types import Batch, Version
from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256
from runtime.protocols import merkle
from runtime.protocols.ids import RecordId
from runtime.protocols.record_batch import decode_batch, summarise
from runtime.protocols.record_proof import DatanetLeaf, datanet_leaf_bytes
from runtime.protocols.records import Record

Progress = Callable[[int, int], None]
"""Told how many batches are here and how many there are."""


class DatasetReason(Enum):
    """Why a Datanet version cannot be read."""

    UNKNOWN_VERSION = "publish a version first, or name one that exists"
    WRONG_BLOB = "the node served other bytes than the contributor declared: try another node"
    WRONG_ROOT = "the records do not lead to the version's root"


class DatasetRefused(Refusal):
    """A Datanet version that cannot be trained on."""

    def __init__(self, reason: DatasetReason, detail: str) -> None:
        super().__init__(reason, f"{detail}: {reason.value}")
        self.reason: DatasetReason = reason


@dataclass(frozen=True, slots=True)
class Portion:
    """One accepted batch: which records it brought, and who."""

    first: int
    count: int
    owner: bytes


@dataclass(frozen=True, slots=True)
class Dataset:
    """All records of a version in the order of their ids, which are dense from 0."""

    datanet: int
    version: int
    root: bytes
    schema: tuple[str, ...]
    portions: tuple[Portion, ...]
    records: tuple[Record, ...]

    def numbered(self) -> list[tuple[RecordId, Record]]:
        """Return the records with their ids."""
        return [(RecordId(self.datanet, at), record) for at, record in enumerate(self.records)]

    def manifest_entry(self) -> dict[str, Any]:
        """Return what an artifact's manifest says of this version."""
        return {
            "datanet": self.datanet,
            "version": self.version,
            "root": self.root,
            "records": len(self.records),
            "schema": list(self.schema),
        }


async def accepted_batches(view: ChainView, datanet: int, count: int) -> list[Batch]:
    """Return the first `count` accepted batches, in the order of the Datanet's range."""
    found = []
    for position in range(count):
        number = await view.storage("Datanets", "Accepted", datanet, position)
        found.append(await view.storage("Datanets", "Batches", datanet, number))
    return found


def portions_of(batches: Sequence[Batch]) -> tuple[Portion, ...]:
    """Say who brought which records."""
    return tuple(Portion(b.first_record, b.count, b.contributor) for b in batches)


async def fetch_dataset(
    view: ChainView, datanet: int, version: int | None = None, progress: Progress | None = None
) -> Dataset:
    """Download a version, the latest by default, and check each byte of it.

    Raises:
        DatasetRefused: UNKNOWN_VERSION, WRONG_BLOB, WRONG_ROOT.
        RecordRefusal: for a blob that is no batch of records of the Datanet's schema.
    """
    number, found = await _published(view, datanet, version)
    batches = await accepted_batches(view, datanet, found.batches)
    records: list[Record] = []
    leaves: list[bytes] = []
    for position, batch in enumerate(batches):
        records += await _records(view.blob, batch, len(found.schema))
        leaf = DatanetLeaf(
            batch.first_record, batch.count, batch.contributor, batch.decided, batch.sub_root
        )
        leaves.append(datanet_leaf_bytes(leaf))
        if progress is not None:
            progress(position + 1, len(batches))
    proven = merkle.range_of(leaves).root() == found.root and len(records) == found.records
    if not proven:
        raise DatasetRefused(DatasetReason.WRONG_ROOT, f"Datanet {datanet} version {number}")
    schema = tuple(name.decode() for name in found.schema)
    return Dataset(datanet, number, found.root, schema, portions_of(batches), tuple(records))


async def _published(view: ChainView, datanet: int, version: int | None) -> tuple[int, Version]:
    if version is None:
        net = await view.storage("Datanets", "Datanets", datanet)
        version = net.versions - 1 if net is not None else 0
    found = await view.storage("Datanets", "Versions", datanet, version) if version >= 0 else None
    if found is None:
        raise DatasetRefused(
            DatasetReason.UNKNOWN_VERSION, f"Datanet {datanet} has no version {max(0, version)}"
        )
    return version, found


async def _records(
    fetch: Callable[[bytes], Awaitable[bytes]], batch: Batch, fields: int
) -> tuple[Record, ...]:
    blob = await fetch(batch.blob)
    if blake2_256(blob) != batch.blob or len(blob) != batch.bytes_:
        raise DatasetRefused(DatasetReason.WRONG_BLOB, f"blob 0x{batch.blob.hex()}")
    records = decode_batch(blob, fields)
    summary, _ = summarise(blob, records)
    if (summary.sub_root, summary.count) != (batch.sub_root, batch.count):
        raise DatasetRefused(DatasetReason.WRONG_ROOT, f"batch at record {batch.first_record}")
    return records
