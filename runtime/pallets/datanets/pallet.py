"""Datanets: on-chain silos of records, their contributors, bonds and copies."""

from __future__ import annotations

from dataclasses import replace

from runtime.frame.currency import TREASURY, Currency, HoldReason
from runtime.frame.host import Host
from runtime.frame.origin import Origin, ensure_root, ensure_signed
from runtime.frame.pallet import Const, Pallet, call, constant
from runtime.frame.storage import (
    StorageDoubleMap,
    StorageMap,
    StorageValue,
    double_map,
    storage_map,
    value,
)
from runtime.pallets.datanets import weights
from runtime.pallets.datanets.errors import Error
from runtime.pallets.datanets.events import (
    EVENTS,
    BatchAccepted,
    BatchRejected,
    BatchSubmitted,
    BondReleased,
    Created,
    Delisted,
    Flagged,
    FlagResolved,
    PolicySet,
    RecordRedundant,
    VersionPublished,
)
from runtime.pallets.datanets.types import (
    Batch,
    BatchStatus,
    Contributor,
    Datanet,
    Duplication,
    Flag,
    FlagKind,
    FlagStatus,
    Policy,
    Status,
    Version,
)
from runtime.primitives.errors import DispatchFailure, ensure, invariant
from runtime.primitives.fixed_point import div_ceil
from runtime.primitives.hashing import Hasher
from runtime.primitives.scale import H256, U32, U64
from runtime.primitives.types import AccountId, Balance, BlockNumber
from runtime.protocols.ids import ClusterId, DatanetId, RecordId
from runtime.protocols.merkle import MountainRange
from runtime.protocols.record_batch import MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from runtime.protocols.record_proof import (
    DatanetLeaf,
    RecordProof,
    datanet_leaf_bytes,
    verify_record_proof,
)
from runtime.protocols.records import RecordRefusal, check_schema

OPEN = 10**18
REDUNDANCY_SLASH_PERCENT = 10
REPORTER_PERCENT = 10
MAX_OPEN_FLAGS = 16
MAX_UNPUBLISHED = 512
"""Batches that may be accepted between two versions: publishing reads each of them."""
MAX_CHAIN = 32
"""Steps from a copy of a copy to the original; a longer chain pays its last step."""


class Datanets(Pallet, index=10):
    """Data silos: contributors bond OPEN and submit records, copies and harm are slashed.

    Only roots are on chain; the records are blobs that nodes hold by content hash.
    """

    Error = Error
    EVENTS = EVENTS

    creation_deposit: Const[Balance] = constant(10 * OPEN, doc="Held while a Datanet exists.")
    flag_deposit: Const[Balance] = constant(OPEN, doc="Least bond of an accusation.")
    max_bond_per_record: Const[Balance] = constant(
        10 * OPEN, doc="Most that a policy may ask for a record."
    )
    flag_window: Const[BlockNumber] = constant(
        100, doc="Blocks after acceptance in which a batch can be accused."
    )

    next_datanet: StorageValue[DatanetId] = value(default=0, doc="Id of the next Datanet.")
    datanets: StorageMap[DatanetId, Datanet] = storage_map(
        Hasher.TWOX_64_CONCAT, doc="Every Datanet. The chain hands out the ids."
    )
    names: StorageMap[bytes, DatanetId] = storage_map(
        Hasher.BLAKE2_128_CONCAT, doc="The Datanet that has a name. Users choose names."
    )
    batches: StorageDoubleMap[DatanetId, U32, Batch] = double_map(
        Hasher.TWOX_64_CONCAT,
        Hasher.TWOX_64_CONCAT,
        doc="Batches of records by Datanet and number, whatever became of them.",
    )
    accepted: StorageDoubleMap[DatanetId, U32, U32] = double_map(
        Hasher.TWOX_64_CONCAT,
        Hasher.TWOX_64_CONCAT,
        doc="The batch at each position of a Datanet's range.",
    )
    versions: StorageDoubleMap[DatanetId, U32, Version] = double_map(
        Hasher.TWOX_64_CONCAT, Hasher.TWOX_64_CONCAT, doc="Published versions; they never change."
    )
    contributors: StorageDoubleMap[DatanetId, AccountId, Contributor] = double_map(
        Hasher.TWOX_64_CONCAT,
        Hasher.BLAKE2_128_CONCAT,
        doc="What each account contributed and bonded.",
    )
    clusters: StorageMap[RecordId, ClusterId] = storage_map(
        Hasher.TWOX_64_CONCAT,
        doc="The record that is paid in the place of each one that proved to be a copy.",
    )
    blobs: StorageMap[H256, U64] = storage_map(
        Hasher.IDENTITY, doc="Declared length of each batch's bytes, by their blake2b-256."
    )
    next_flag: StorageValue[U32] = value(default=0, doc="Number of the next accusation.")
    flags: StorageMap[U32, Flag] = storage_map(
        Hasher.TWOX_64_CONCAT, doc="Bonded accusations by number, judged ones included."
    )

    def __init__(self, host: Host, currency: Currency, number: StorageValue[int]) -> None:
        super().__init__(host)
        self.currency = currency
        self.number = number

    @call(index=0, weight=weights.CREATE)
    def create(
        self, origin: Origin, name: bytes, schema: tuple[bytes, ...], policy: Policy
    ) -> None:
        """Create a Datanet owned by the caller; a deposit is held while it exists.

        A record of it has as many fields as `schema` names.
        """
        owner = ensure_signed(origin)
        ensure(1 <= len(name) <= 64 and _is_utf8(name), Error.NAME_TOO_LONG)
        ensure(name not in self.names, Error.NAME_TAKEN)
        _ensure_schema(schema)
        ensure(policy.bond_per_record <= self.max_bond_per_record, Error.BAD_POLICY)
        datanet = self.next_datanet.get()
        self.currency.hold(HoldReason.DATANET_DEPOSIT, owner, self.creation_deposit)
        self.datanets.insert(
            datanet,
            Datanet(
                owner=owner,
                name=name,
                schema=schema,
                policy=policy,
                status=Status.ACTIVE,
                deposit=self.creation_deposit,
                records=0,
                bytes_=0,
                range=MountainRange(),
                next_batch=0,
                versions=0,
            ),
        )
        self.names.insert(name, datanet)
        self.next_datanet.put(datanet + 1)
        self.deposit_event(Created(datanet, owner, name))

    @call(index=1, weight=weights.SUBMIT_BATCH)
    def submit_batch(
        self,
        origin: Origin,
        datanet: DatanetId,
        sub_root: H256,
        count: U32,
        bytes_: U64,
        blob: H256,
        licence: bytes,
        bond: Balance,
    ) -> None:
        """Bond and submit records by their root; hand the bytes to the blob store afterwards.

        `blob` is blake2b-256 of the batch's bytes, `bytes_` their length, `licence` an SPDX
        expression that covers all of the records.
        """
        who = ensure_signed(origin)
        net = self._active(datanet)
        ensure(net.policy.open or who == net.owner, Error.CLOSED)
        ensure(1 <= count <= MAX_BATCH_RECORDS, Error.BAD_BATCH_SIZE)
        ensure(1 <= bytes_ <= MAX_BATCH_BYTES, Error.BAD_BATCH_SIZE)
        ensure(1 <= len(licence) <= 64 and _is_utf8(licence), Error.BAD_LICENCE)
        ensure(bond >= required_bond(net.policy, count), Error.BOND_TOO_LOW)
        ensure(blob not in self.blobs, Error.BLOB_KNOWN)
        self.currency.hold(HoldReason.DATANET_BOND, who, bond)
        batch = net.next_batch
        self.batches.insert(
            datanet,
            batch,
            Batch(
                contributor=who,
                sub_root=sub_root,
                count=count,
                bytes_=bytes_,
                blob=blob,
                licence=licence,
                bond=bond,
                submitted=self.number.get(),
                status=BatchStatus.PENDING,
                decided=0,
                first_record=0,
                position=0,
                open_flags=0,
            ),
        )
        self.blobs.insert(blob, bytes_)
        self.datanets.insert(datanet, replace(net, next_batch=batch + 1))
        self._add(datanet, who, bonded=bond)
        self.deposit_event(BatchSubmitted(datanet, batch, who, count, blob, bond))

    @call(index=2, weight=weights.ACCEPT)
    def accept(self, origin: Origin, datanet: DatanetId, batch: U32) -> None:
        """Take a batch in; the owner states that the bytes were fetched and match."""
        net = self._owned(origin, datanet)
        ensure(net.status == Status.ACTIVE, Error.CLOSED)
        last = self._last_version(datanet, net)
        published = last.batches if last else 0
        ensure(net.range.size - published < MAX_UNPUBLISHED, Error.PUBLISH_FIRST)
        entry = self._pending(datanet, batch)
        number = self.number.get()
        leaf = DatanetLeaf(net.records, entry.count, entry.contributor, number, entry.sub_root)
        position = net.range.size
        self.batches.insert(
            datanet,
            batch,
            replace(
                entry,
                status=BatchStatus.ACCEPTED,
                decided=number,
                first_record=net.records,
                position=position,
            ),
        )
        self.accepted.insert(datanet, position, batch)
        self.datanets.insert(
            datanet,
            replace(
                net,
                records=net.records + entry.count,
                bytes_=net.bytes_ + entry.bytes_,
                range=net.range.append(datanet_leaf_bytes(leaf)),
            ),
        )
        self._add(datanet, entry.contributor, records=entry.count)
        self.deposit_event(BatchAccepted(datanet, batch, net.records, entry.count))

    @call(index=3, weight=weights.REJECT)
    def reject(self, origin: Origin, datanet: DatanetId, batch: U32) -> None:
        """Turn a batch down; its contributor gets the bond back, nobody has to keep its bytes.

        The contributor may do it too, so that no bond waits for an owner who is gone.
        """
        who = ensure_signed(origin)
        net = self._datanet(datanet)
        entry = self._pending(datanet, batch)
        ensure(who in (net.owner, entry.contributor), Error.NOT_OWNER)
        self.currency.release(HoldReason.DATANET_BOND, entry.contributor, entry.bond)
        self.batches.insert(
            datanet,
            batch,
            replace(entry, status=BatchStatus.REJECTED, decided=self.number.get(), bond=0),
        )
        self.blobs.remove(entry.blob)
        self._add(datanet, entry.contributor, bonded=-entry.bond)
        self.deposit_event(BatchRejected(datanet, batch))

    @call(index=4, weight=weights.PUBLISH_VERSION)
    def publish_version(self, origin: Origin, datanet: DatanetId) -> None:
        """Freeze root, size, schema and licences as a version that models can be trained on."""
        net = self._owned(origin, datanet)
        ensure(net.status == Status.ACTIVE, Error.CLOSED)
        last = self._last_version(datanet, net)
        ensure(net.range.size > (last.batches if last else 0), Error.NOTHING_NEW)
        licences = set(last.licences if last else ())
        for position in range(last.batches if last else 0, net.range.size):
            licences.add(self._batch(datanet, self.accepted[datanet, position]).licence)
        version = Version(
            root=net.range.root(),
            batches=net.range.size,
            records=net.records,
            bytes_=net.bytes_,
            schema=net.schema,
            licences=tuple(sorted(licences)),
            published=self.number.get(),
        )
        self.versions.insert(datanet, net.versions, version)
        self.datanets.insert(datanet, replace(net, versions=net.versions + 1))
        self.deposit_event(VersionPublished(datanet, net.versions, version.root, net.records))

    @call(index=5, weight=weights.FLAG_REDUNDANT)
    def flag_redundant(
        self, origin: Origin, datanet: DatanetId, batch: U32, proof: Duplication
    ) -> None:
        """Prove that a record repeats an earlier record of somebody else; the chain decides.

        The copy is paid nothing from now on, and a tenth of what is left of the batch's bond is
        slashed: a tenth of that goes to whoever proves it, the rest to the treasury.
        """
        reporter = ensure_signed(origin)
        net = self._datanet(datanet)
        entry = self._batch(datanet, batch)
        copy, original = proof.copy, proof.original
        ensure(entry.status == BatchStatus.ACCEPTED, Error.WRONG_EVIDENCE)
        ensure(copy.position == entry.position, Error.WRONG_EVIDENCE)
        ensure(self._proven(net, copy) and self._proven(net, original), Error.WRONG_EVIDENCE)
        ensure(
            copy.record.canonical_hash == original.record.canonical_hash
            and original.record_id() < copy.record_id()
            and original.batch.owner != entry.contributor,
            Error.NOT_REDUNDANT,
        )
        record = RecordId(datanet, copy.record_id())
        ensure(record not in self.clusters, Error.ALREADY_REDUNDANT)
        first = RecordId(datanet, original.record_id())
        self.clusters.insert(record, self.canonical(first))
        slashed = div_ceil(entry.bond * REDUNDANCY_SLASH_PERCENT, 100)
        self._slash(datanet, batch, entry, slashed, reporter)
        self._add(datanet, entry.contributor, redundant=1)
        self.deposit_event(
            RecordRedundant(datanet, record.record, first.record, entry.contributor, slashed)
        )

    @call(index=6, weight=weights.FLAG)
    def flag(
        self,
        origin: Origin,
        datanet: DatanetId,
        batch: U32,
        kind: FlagKind,
        evidence: H256,
        bond: Balance,
    ) -> None:
        """Bond an accusation that needs judgement; the batch's bond stays held until then.

        Copies need no judgement: prove them with `flag_redundant`.
        """
        flagger = ensure_signed(origin)
        ensure(kind != FlagKind.REDUNDANT, Error.WRONG_EVIDENCE)
        ensure(bond >= self.flag_deposit, Error.FLAG_BOND_TOO_LOW)
        entry = self._batch(datanet, batch)
        ensure(entry.status == BatchStatus.ACCEPTED, Error.UNKNOWN_BATCH)
        number = self.number.get()
        ensure(number <= entry.decided + self.flag_window, Error.WINDOW_OVER)
        ensure(entry.open_flags < MAX_OPEN_FLAGS, Error.TOO_MANY_FLAGS)
        self.currency.hold(HoldReason.DATANET_FLAG, flagger, bond)
        index = self.next_flag.get()
        self.flags.insert(
            index,
            Flag(datanet, batch, kind, flagger, evidence, bond, number, FlagStatus.OPEN),
        )
        self.next_flag.put(index + 1)
        self.batches.insert(datanet, batch, replace(entry, open_flags=entry.open_flags + 1))
        self.deposit_event(Flagged(index, datanet, batch, kind, flagger))

    @call(index=7, weight=weights.RESOLVE_FLAG)
    def resolve_flag(self, origin: Origin, flag: U32, upheld: bool) -> None:
        """Judge an accusation; governance only.

        Upheld, the batch loses its bond: a tenth to the accuser, the rest to the treasury.
        Dismissed, the accuser loses the accusation's bond to the accused.
        """
        ensure_root(origin)
        found = self.flags.get(flag)
        if found is None or found.status != FlagStatus.OPEN:
            raise DispatchFailure(Error.UNKNOWN_FLAG)
        entry = self._batch(found.datanet, found.batch)
        entry = replace(entry, open_flags=entry.open_flags - 1)
        slashed = entry.bond if upheld else 0
        if upheld:
            self.currency.release(HoldReason.DATANET_FLAG, found.flagger, found.bond)
        else:
            self.currency.transfer_held(
                HoldReason.DATANET_FLAG, found.flagger, entry.contributor, found.bond
            )
        self._slash(found.datanet, found.batch, entry, slashed, found.flagger)
        status = FlagStatus.UPHELD if upheld else FlagStatus.DISMISSED
        self.flags.insert(flag, replace(found, status=status, bond=0))
        self.deposit_event(FlagResolved(flag, status, slashed))

    @call(index=8, weight=weights.RELEASE_BOND)
    def release_bond(self, origin: Origin, datanet: DatanetId, batch: U32) -> None:
        """Free the bond of a batch whose flag window is over; anybody may ask for it."""
        ensure_signed(origin)
        entry = self._batch(datanet, batch)
        ensure(entry.bond > 0, Error.NOTHING_BONDED)
        over = entry.decided + self.flag_window < self.number.get()
        ensure(
            entry.status == BatchStatus.ACCEPTED and over and entry.open_flags == 0,
            Error.WINDOW_OPEN,
        )
        self.currency.release(HoldReason.DATANET_BOND, entry.contributor, entry.bond)
        self.batches.insert(datanet, batch, replace(entry, bond=0))
        self._add(datanet, entry.contributor, bonded=-entry.bond)
        self.deposit_event(BondReleased(datanet, batch, entry.bond))

    @call(index=9, weight=weights.SET_POLICY)
    def set_policy(self, origin: Origin, datanet: DatanetId, policy: Policy) -> None:
        """Change who may contribute under what bond, for batches submitted from now on."""
        net = self._owned(origin, datanet)
        ensure(policy.bond_per_record <= self.max_bond_per_record, Error.BAD_POLICY)
        self.datanets.insert(datanet, replace(net, policy=policy))
        self.deposit_event(PolicySet(datanet, policy))

    @call(index=10, weight=weights.FORCE_DELIST)
    def force_delist(self, origin: Origin, datanet: DatanetId) -> None:
        """Close a Datanet for good: it takes and pays no records; governance only."""
        ensure_root(origin)
        net = self._datanet(datanet)
        self.datanets.insert(datanet, replace(net, status=Status.DELISTED))
        self.deposit_event(Delisted(datanet))

    # What other pallets ask follows.

    def version(self, datanet: int, version: int) -> Version | None:
        """Return a published version."""
        return self.versions.get(datanet, version)

    def canonical(self, record: RecordId) -> ClusterId:
        """Return the cluster a record is paid through: its original where it is a copy."""
        for _ in range(MAX_CHAIN):
            found = self.clusters.get(record)
            if found is None:
                break
            record = found
        return record

    def contributor_of(self, record: RecordId) -> bytes | None:
        """Return who contributed an accepted record, None where there is no such record."""
        batch = self.batch_of(record)
        return None if batch is None else self._batch(record.datanet, batch).contributor

    def batch_of(self, record: RecordId) -> int | None:
        """Return the batch that brought an accepted record, None where there is no such record."""
        net = self.datanets.get(record.datanet)
        if net is None or record.record >= net.records:
            return None
        low, high = 0, net.range.size - 1
        while low < high:
            middle = (low + high + 1) // 2
            first = self._batch(record.datanet, self.accepted[record.datanet, middle]).first_record
            low, high = (middle, high) if first <= record.record else (low, middle - 1)
        return self.accepted[record.datanet, low]

    def pays(self, datanet: int) -> bool:
        """Tell whether a Datanet's records are paid."""
        net = self.datanets.get(datanet)
        return net is not None and net.status == Status.ACTIVE

    def check_invariants(self) -> None:
        """Holds equal the bonds; record numbers are dense; a version never exceeds its Datanet."""
        bonds = sum(b.bond for _, b in self.batches.items())
        bonded = sum(c.bonded for _, c in self.contributors.items())
        invariant(bonds == bonded, "batches and contributors disagree on what is bonded")
        for datanet, net in self.datanets.items():
            records = 0
            for position in range(net.range.size):
                batch = self._batch(datanet, self.accepted[datanet, position])
                invariant(batch.first_record == records, f"a gap in the records of {datanet}")
                records += batch.count
            invariant(records == net.records, f"Datanet {datanet} miscounts its records")
            for _, version in self.versions.items_under(datanet):
                invariant(version.records <= records, f"a version of {datanet} is too large")

    def ledger(self) -> dict[HoldReason, int]:
        """Return what this pallet holds for each of its reasons."""
        return {
            HoldReason.DATANET_DEPOSIT: sum(d.deposit for _, d in self.datanets.items()),
            HoldReason.DATANET_BOND: sum(b.bond for _, b in self.batches.items()),
            HoldReason.DATANET_FLAG: sum(f.bond for _, f in self.flags.items()),
        }

    def _datanet(self, datanet: int) -> Datanet:
        net = self.datanets.get(datanet)
        if net is None:
            raise DispatchFailure(Error.UNKNOWN_DATANET)
        return net

    def _last_version(self, datanet: int, net: Datanet) -> Version | None:
        return self.versions.get(datanet, net.versions - 1) if net.versions else None

    def _active(self, datanet: int) -> Datanet:
        net = self._datanet(datanet)
        ensure(net.status == Status.ACTIVE, Error.CLOSED)
        return net

    def _owned(self, origin: Origin, datanet: int) -> Datanet:
        net = self._datanet(datanet)
        ensure(ensure_signed(origin) == net.owner, Error.NOT_OWNER)
        return net

    def _batch(self, datanet: int, batch: int) -> Batch:
        entry = self.batches.get(datanet, batch)
        if entry is None:
            raise DispatchFailure(Error.UNKNOWN_BATCH)
        return entry

    def _pending(self, datanet: int, batch: int) -> Batch:
        entry = self._batch(datanet, batch)
        ensure(entry.status == BatchStatus.PENDING, Error.ALREADY_DECIDED)
        return entry

    @staticmethod
    def _proven(net: Datanet, proof: RecordProof) -> bool:
        return proof.size == net.range.size and verify_record_proof(net.range.root(), proof)

    def _slash(self, datanet: int, batch: int, entry: Batch, amount: int, reporter: bytes) -> None:
        """Take `amount` of a batch's bond: a tenth, rounded down, to the reporter."""
        reward = amount * REPORTER_PERCENT // 100
        who = entry.contributor
        self.currency.transfer_held(HoldReason.DATANET_BOND, who, reporter, reward)
        self.currency.transfer_held(HoldReason.DATANET_BOND, who, TREASURY, amount - reward)
        self.batches.insert(datanet, batch, replace(entry, bond=entry.bond - amount))
        self._add(datanet, who, bonded=-amount)

    def _add(
        self, datanet: int, who: bytes, *, records: int = 0, bonded: int = 0, redundant: int = 0
    ) -> None:
        found = self.contributors.get(datanet, who) or Contributor(0, 0, 0)
        self.contributors.insert(
            datanet,
            who,
            Contributor(
                found.records + records, found.bonded + bonded, found.redundant + redundant
            ),
        )


def required_bond(policy: Policy, count: int) -> int:
    """Return the least bond of a batch of `count` records."""
    return max(policy.min_bond, policy.bond_per_record * count)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _ensure_schema(schema: tuple[bytes, ...]) -> None:
    try:
        check_schema([name.decode() for name in schema])
    except (RecordRefusal, UnicodeDecodeError):
        raise DispatchFailure(Error.BAD_SCHEMA) from None
