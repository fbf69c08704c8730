"""Datanets with many batches of records, as many licences and one copied record."""

from __future__ import annotations

from dataclasses import replace

from benches.weight_receipts import DATANETS, RECORDS, account
from runtime.construct import Runtime
from runtime.frame.currency import HoldReason
from runtime.pallets.datanets.types import (
    Batch,
    BatchStatus,
    Contributor,
    Datanet,
    Flag,
    FlagKind,
    FlagStatus,
    Policy,
    Status,
    Version,
)
from runtime.protocols import merkle
from runtime.protocols.record_proof import DatanetLeaf, RecordProof, datanet_leaf_bytes
from runtime.protocols.records import RecordLeaf, leaf_bytes

OPEN = 10**18
LICENCE = b"CC-BY-SA-4.0 AND " + b"x" * 40


def add_datanets(runtime: Runtime, owner: bytes, number: int) -> tuple[RecordProof, RecordProof]:
    """Write the Datanets; return the proofs of a copy and its original in the first.

    The first has 1023 batches, 512 of them in no version yet; the others 255. Bonds are held in
    the first two; batch 2 of the second is accused, batch 0 can be.
    """
    proofs = None
    for datanet in range(DATANETS):
        leaves = [_leaf(position) for position in range(1023 if datanet == 0 else 255)]
        for position, one in enumerate(leaves):
            runtime.datanets.accepted.insert(datanet, position, position)
            entry = _batch(datanet, position, one, number)
            runtime.datanets.batches.insert(datanet, position, entry)
        if proofs is None:
            proofs = _copied(leaves)
        data = [datanet_leaf_bytes(one) for one in leaves]
        _datanet(runtime, datanet, owner, merkle.range_of(data), number)
        if datanet < 2:
            _bonds(runtime, datanet)
    runtime.datanets.next_datanet.put(DATANETS)
    accusation = Flag(1, 2, FlagKind.ADVERSARIAL, owner, bytes(32), OPEN, 1, FlagStatus.OPEN)
    runtime.datanets.flags.insert(0, accusation)
    runtime.balances.hold(HoldReason.DATANET_FLAG, owner, OPEN)
    accused = runtime.datanets.batches[1, 2]
    runtime.datanets.batches.insert(1, 2, replace(accused, open_flags=1))
    if proofs is None:
        raise SystemExit("there are no Datanets")
    return proofs


def _leaf(position: int) -> DatanetLeaf:
    owner = account("contributor", position % RECORDS)
    return DatanetLeaf(position * 65_536, 65_536, owner, 1, account("root", position))


def _batch(datanet: int, position: int, one: DatanetLeaf, number: int) -> Batch:
    return Batch(
        contributor=one.owner,
        sub_root=one.sub_root,
        count=one.count,
        bytes_=10**6,
        blob=account(f"{datanet}/", position),
        licence=f"{position:04}".encode() + LICENCE,
        bond=OPEN if datanet < 2 else 0,
        submitted=1,
        status=BatchStatus.ACCEPTED,
        decided=1 if position else number,
        first_record=one.first_record_id,
        position=position,
        open_flags=0,
    )


def _datanet(
    runtime: Runtime, datanet: int, owner: bytes, grown: merkle.MountainRange, number: int
) -> None:
    datanets = runtime.datanets
    size = grown.size
    last = _batch(datanet, size, _leaf(size), number)
    datanets.batches.insert(datanet, size, replace(last, status=BatchStatus.PENDING))
    datanets.blobs.insert(last.blob, last.bytes_)
    schema = tuple(f"{i:02}".encode() * 32 for i in range(16))
    name = f"{datanet:02}".encode() * 32
    records = size * 65_536
    net = Datanet(
        owner=owner,
        name=name,
        schema=schema,
        policy=Policy(True, 0, 0),
        status=Status.ACTIVE,
        deposit=0,
        records=records,
        bytes_=records,
        range=grown,
        next_batch=size + 1,
        versions=1,
    )
    datanets.datanets.insert(datanet, net)
    datanets.names.insert(name, datanet)
    licences = tuple(f"{i:04}".encode() + LICENCE for i in range(64))
    frozen = 511 if datanet == 0 else size
    version = Version(grown.root(), frozen, records, records, schema, licences, 1)
    datanets.versions.insert(datanet, 0, version)


def _bonds(runtime: Runtime, datanet: int) -> None:
    for i in range(RECORDS):
        holder = account("contributor", i)
        runtime.balances.hold(HoldReason.DATANET_BOND, holder, 20 * OPEN)
        runtime.datanets.contributors.insert(datanet, holder, Contributor(0, 20 * OPEN, 0))


def _copied(leaves: list[DatanetLeaf]) -> tuple[RecordProof, RecordProof]:
    """Plant a record of the first batch into the last one too, both 16 levels deep."""
    record = RecordLeaf(bytes(32), bytes(32), 9, bytes(32))
    path = tuple(account("sibling", i) for i in range(16))
    root = merkle.root_from_path(leaf_bytes(record), 5, 65_536, path)
    if root is None:
        raise SystemExit("a path of 16 siblings leads nowhere")
    last = len(leaves) - 1
    for position in (0, last):
        leaves[position] = replace(leaves[position], sub_root=root)
    data = [datanet_leaf_bytes(one) for one in leaves]
    copy, original = (
        RecordProof(leaves[at], at, len(leaves), merkle.path(data, at), record, 5, path)
        for at in (last, 0)
    )
    return copy, original
