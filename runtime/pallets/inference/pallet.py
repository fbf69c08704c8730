"""Inference: workers, customers' escrowed sessions, batches of receipts, settlement."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any, Protocol

from runtime.frame.currency import STAKERS, TREASURY, Currency, HoldReason, pot_account
from runtime.frame.host import Host
from runtime.frame.origin import Origin, ensure_signed
from runtime.frame.pallet import Const, Pallet, call, constant, refusal
from runtime.frame.storage import (
    StorageDoubleMap,
    StorageMap,
    StorageValue,
    double_map,
    storage_map,
    value,
)
from runtime.pallets.inference import weights
from runtime.pallets.inference.errors import Error
from runtime.pallets.inference.events import (
    EVENTS,
    BatchVoided,
    Claimed,
    Paid,
    ReceiptsSubmitted,
    SessionClosed,
    SessionClosing,
    SessionOpened,
    SessionToppedUp,
    Settled,
    WorkerRegistered,
    WorkerRetired,
    WorkerUpdated,
)
from runtime.pallets.inference.types import (
    Batch,
    BatchState,
    Session,
    SessionState,
    Windows,
    Worker,
)
from runtime.primitives.errors import (
    DispatchFailure,
    InvalidTransaction,
    TransactionReason,
    ensure,
    invariant,
)
from runtime.primitives.fixed_point import largest_remainder
from runtime.primitives.hashing import Hasher
from runtime.primitives.keys import verify
from runtime.primitives.scale import U8, U32
from runtime.primitives.types import AccountId, Balance, BlockNumber, MultiSignature
from runtime.protocols.batch import ReceiptBatch
from runtime.protocols.ids import BatchId, DatanetId, ModelId, SessionId
from runtime.protocols.price import Price, cost
from runtime.protocols.report import ReportRefusal, check_clusters
from runtime.protocols.settlement import (
    ClusterShare,
    Payment,
    Role,
    Royalty,
    Seat,
    Settlement,
    split,
)
from runtime.protocols.split_parameters import DEFAULT_SPLIT, SplitParameters
from runtime.protocols.voucher import SignedVoucher, VoucherRefusal, check_settlement

OPEN = 10**18
POT = pot_account("open/inf")
"""Holds what is claimable and the audit pot."""
OWNERSHIP_TAG = b"openledger-worker-v1"
MAX_PER_BLOCK = 64
"""Sessions that one block moves on by itself; the rest waits for the next block."""


class ModelRegistry(Protocol):
    """What this pallet asks of the one that keeps models."""

    def launched(self, model: int) -> Any:
        """Return a model that takes sessions, None where it does not."""

    def model(self, model: int) -> Any:
        """Return a model that exists."""

    def royalties(self, model: int) -> tuple[Royalty, ...]:
        """Return what the owners of a model's ancestors take."""


class RecordRegistry(Protocol):
    """What this pallet asks of the one that keeps Datanets."""

    def canonical(self, record: Any) -> Any:
        """Return the cluster a record is paid through."""

    def contributor_of(self, record: Any) -> bytes | None:
        """Return who contributed a record."""

    def pays(self, datanet: int) -> bool:
        """Tell whether a Datanet's records are paid."""

    def version(self, datanet: int, version: int) -> Any:
        """Return a published version."""


class Attestation(Protocol):
    """What this pallet asks of the one that judges batches."""

    def schedule(self, batch: int, number: int) -> None:
        """Have a batch judged from its randomness on."""

    def seats_of(self, batch: int) -> tuple[Seat, ...] | None:
        """Return the seats of a judged batch; None where it was not audited."""


class Inference(Pallet, index=12):
    """Workers serve models; customers escrow, vouch and are refunded; receipts are settled.

    A session is a customer's. Its vouchers, prompts and answers stay off the chain; the executor
    submits batches of receipts, a committee judges them, and every unit of the fee finds its owner.
    """

    Error = Error
    EVENTS = EVENTS

    worker_deposit: Const[Balance] = constant(10 * OPEN, doc="Held while a worker is registered.")
    least_escrow: Const[Balance] = constant(OPEN // 100, doc="Least escrow of a session.")
    longest_ttl: Const[BlockNumber] = constant(100_000, doc="Longest a session may last.")
    shortest_ttl: Const[BlockNumber] = constant(10, doc="Shortest a session may last.")
    payout_minimum: Const[Balance] = constant(
        OPEN // 1000, doc="Credits of this size are moved to their account at once."
    )
    workers_per_validator: Const[U32] = constant(64, doc="Most workers of a validator.")
    duty_epoch: Const[BlockNumber] = constant(100, doc="Blocks over which quotas are counted.")
    batches_per_epoch: Const[U8] = constant(16, doc="Feeless batches of a worker in an epoch.")

    windows: StorageValue[Windows] = value(
        default=Windows(20, 20, 14_400, 600), doc="Lengths of the phases, in blocks."
    )
    split_parameters: StorageValue[SplitParameters] = value(
        default=DEFAULT_SPLIT, doc="How fees are divided, in basis points."
    )
    workers: StorageMap[AccountId, Worker] = storage_map(
        Hasher.BLAKE2_128_CONCAT, doc="Workers that serve models, by their own keys."
    )
    next_session: StorageValue[SessionId] = value(default=0, doc="Id of the next session.")
    sessions: StorageMap[SessionId, Session] = storage_map(
        Hasher.TWOX_64_CONCAT, doc="Sessions, kept after their end."
    )
    deadlines: StorageDoubleMap[BlockNumber, SessionId, None] = double_map(
        Hasher.TWOX_64_CONCAT,
        Hasher.TWOX_64_CONCAT,
        doc="Sessions to move on in a block: from open to closing, from closing to closed.",
    )
    oldest_deadline: StorageValue[BlockNumber] = value(
        default=0, doc="The first block whose deadlines are not all dealt with."
    )
    active_workers: StorageMap[AccountId, U32] = storage_map(
        Hasher.BLAKE2_128_CONCAT, default=0, doc="Workers of a validator that do not retire."
    )
    next_batch: StorageValue[BatchId] = value(default=0, doc="Id of the next batch.")
    batches: StorageMap[BatchId, Batch] = storage_map(
        Hasher.TWOX_64_CONCAT, doc="Batches of receipts, kept after their settlement."
    )
    claimable: StorageMap[AccountId, Balance] = storage_map(
        Hasher.BLAKE2_128_CONCAT, default=0, doc="Credits that are not paid out yet."
    )
    upkeep: StorageMap[DatanetId, Balance] = storage_map(
        Hasher.TWOX_64_CONCAT,
        default=0,
        doc="Upkeep pots of Datanets: what contributors forwent, and half of unmatched premiums.",
    )
    audit_pot: StorageValue[Balance] = value(
        default=0, doc="Committee shares of batches that were not audited."
    )

    attestation: Attestation
    """Wired after both pallets exist."""

    def __init__(
        self,
        host: Host,
        currency: Currency,
        models: ModelRegistry,
        records: RecordRegistry,
        system: Any,
        validators: StorageValue[tuple[Any, ...]],
    ) -> None:
        super().__init__(host)
        self.currency = currency
        self.models = models
        self.records = records
        self.system = system
        self.validators = validators

    @call(index=0, weight=weights.REGISTER_WORKER)
    def register_worker(
        self,
        origin: Origin,
        key: AccountId,
        proof: MultiSignature,
        endpoint: bytes,
        models: tuple[ModelId, ...],
        capacity: U32,
    ) -> None:
        """Register a worker's key, where customers reach it and what it serves.

        `proof` is the key's signature over ``ownership_message``: tag, genesis hash, key,
        validator. An endpoint is a URL; `models` is empty for all.
        """
        validator = ensure_signed(origin)
        ensure(any(v.account == validator for v in self.validators.get()), Error.NOT_VALIDATOR)
        ensure(key not in self.workers, Error.WORKER_KNOWN)
        active = self.active_workers[validator]
        ensure(active < self.workers_per_validator, Error.TOO_MANY_WORKERS)
        _ensure_offer(endpoint, models)
        message = ownership_message(self._genesis(), key, validator)
        ensure(verify(proof, message, key), Error.BAD_PROOF)
        self.currency.hold(HoldReason.WORKER_DEPOSIT, validator, self.worker_deposit)
        self.system.inc_providers(key)
        self.workers.insert(
            key,
            Worker(
                validator=validator,
                endpoint=endpoint,
                models=models,
                capacity=capacity,
                deposit=self.worker_deposit,
                registered=self.system.number.get(),
                retiring=False,
                open_batches=0,
                final_batches=0,
                faults=0,
                quota_epoch=0,
                quota_used=0,
            ),
        )
        self.active_workers.insert(validator, active + 1)
        self.deposit_event(WorkerRegistered(key, validator, endpoint))

    @call(index=1, weight=weights.UPDATE_WORKER)
    def update_worker(
        self,
        origin: Origin,
        key: AccountId,
        endpoint: bytes,
        models: tuple[ModelId, ...],
        capacity: U32,
    ) -> None:
        """Change where a worker is reached and what it serves."""
        worker = self._validators_worker(origin, key)
        _ensure_offer(endpoint, models)
        self.workers.insert(
            key, replace(worker, endpoint=endpoint, models=models, capacity=capacity)
        )
        self.deposit_event(WorkerUpdated(key, endpoint))

    @call(index=2, weight=weights.RETIRE_WORKER)
    def retire_worker(self, origin: Origin, key: AccountId) -> None:
        """Retire a worker: at once where its last batch is settled, else it takes no sessions.

        Call it again when the last batch is settled to get the deposit back.
        """
        worker = self._validators_worker(origin, key)
        ensure(not (worker.open_batches and worker.retiring), Error.WORKER_BUSY)
        if not worker.retiring:
            active = self.active_workers[worker.validator]
            self.active_workers.insert(worker.validator, active - 1)
        if worker.open_batches:
            self.workers.insert(key, replace(worker, retiring=True))
            return
        self.currency.release(HoldReason.WORKER_DEPOSIT, worker.validator, worker.deposit)
        self.workers.remove(key)
        self.system.dec_providers(key)
        self.deposit_event(WorkerRetired(key))

    @call(index=3, weight=weights.OPEN_SESSION)
    def open_session(
        self,
        origin: Origin,
        model: ModelId,
        executor: AccountId,
        voucher_key: AccountId,
        escrow: Balance,
        max_fee: Balance,
        ttl: BlockNumber,
    ) -> None:
        """Put `escrow` aside for answers of a model by a worker, for `ttl` blocks.

        `voucher_key` signs a voucher per request, none above `max_fee`; it is a hot key and needs
        no funds. The price is the model's at this moment and stays.
        """
        customer = ensure_signed(origin)
        found = self.models.launched(model)
        if found is None:
            raise DispatchFailure(Error.UNKNOWN_MODEL)
        worker = self._worker(executor)
        ensure(not worker.retiring, Error.WORKER_RETIRING)
        ensure(not worker.models or model in worker.models, Error.MODEL_NOT_SERVED)
        ensure(escrow >= self.least_escrow and 0 < max_fee <= escrow, Error.BAD_ESCROW)
        ensure(self.shortest_ttl <= ttl <= self.longest_ttl, Error.BAD_TTL)
        self.currency.hold(HoldReason.SESSION_ESCROW, customer, escrow)
        session = self.next_session.get()
        number = self.system.number.get()
        self.sessions.insert(
            session,
            Session(
                customer=customer,
                voucher_key=voucher_key,
                model=model,
                executor=executor,
                price=found.price,
                escrow=escrow,
                held=escrow,
                max_fee=max_fee,
                settled_nonce=0,
                settled_total=0,
                opened=number,
                expires=number + ttl,
                closes=0,
                state=SessionState.OPEN,
            ),
        )
        self.next_session.put(session + 1)
        self._at(number + ttl, session)
        self.deposit_event(SessionOpened(session, customer, model, executor, escrow))

    @call(index=4, weight=weights.TOP_UP)
    def top_up(self, origin: Origin, session: SessionId, amount: Balance) -> None:
        """Put more money aside for an open session; price and time stay."""
        found = self._customers_session(origin, session)
        ensure(found.state == SessionState.OPEN, Error.SESSION_NOT_OPEN)
        self.currency.hold(HoldReason.SESSION_ESCROW, found.customer, amount)
        self.sessions.insert(
            session, replace(found, escrow=found.escrow + amount, held=found.held + amount)
        )
        self.deposit_event(SessionToppedUp(session, amount))

    @call(index=5, weight=weights.SUBMIT_RECEIPTS, duty="admit_receipts")
    def submit_receipts(
        self, origin: Origin, session: SessionId, batch: ReceiptBatch, voucher: SignedVoucher
    ) -> None:
        """Claim the fees of answers, with the latest voucher that covers them.

        A duty: the session's worker pays no fee, within its quota.
        """
        key = ensure_signed(origin)
        found = self._session(session)
        ensure(found.executor == key, Error.NOT_EXECUTOR)
        ensure(self._takes_receipts(found), Error.TOO_LATE)
        self._check_batch(session, found, batch, voucher)
        worker = self._count_quota(self._worker(key))
        number = self.system.number.get()
        index = self.next_batch.get()
        total = batch.compute + batch.premium
        self.batches.insert(index, Batch(session, key, batch, number, BatchState.OPEN))
        self.next_batch.put(index + 1)
        self.sessions.insert(
            session,
            replace(
                found,
                settled_nonce=batch.last_nonce,
                settled_total=found.settled_total + total,
            ),
        )
        self.workers.insert(key, replace(worker, open_batches=worker.open_batches + 1))
        self.attestation.schedule(index, number)
        self.deposit_event(
            ReceiptsSubmitted(index, session, batch.count, batch.compute, batch.premium)
        )

    @call(index=6, weight=weights.CLOSE_SESSION)
    def close_session(self, origin: Origin, session: SessionId) -> None:
        """Take no more requests; after the submission window the rest is refunded."""
        found = self._customers_session(origin, session)
        ensure(found.state == SessionState.OPEN, Error.SESSION_NOT_OPEN)
        self._start_closing(session, found)

    @call(index=7, weight=weights.FORCE_CLOSE)
    def force_close(self, origin: Origin, session: SessionId) -> None:
        """Move on a session whose time is over; anybody may, if the chain has not done it."""
        ensure_signed(origin)
        ensure(self._advance(session), Error.NOT_DUE)

    @call(index=8, weight=weights.SETTLE)
    def settle(self, origin: Origin, batch: BatchId) -> None:
        """Divide the fee of a final batch; anybody may, if the chain has not done it."""
        ensure_signed(origin)
        found = self.batches.get(batch)
        if found is None:
            raise DispatchFailure(Error.UNKNOWN_BATCH)
        ensure(found.state == BatchState.FINAL, Error.NOT_FINAL)
        self.settle_final(batch)

    @call(index=9, weight=weights.CLAIM)
    def claim(self, origin: Origin) -> None:
        """Move the caller's credits to its account; larger ones are moved by themselves."""
        who = ensure_signed(origin)
        amount = self.claimable[who]
        ensure(amount > 0, Error.NOTHING_TO_CLAIM)
        self._pay_out(who, amount)

    def admit_receipts(
        self, signer: bytes, session: int, batch: ReceiptBatch, voucher: SignedVoucher
    ) -> tuple[bytes, ...]:
        """Admit a batch without a fee from the session's worker, once, within its quota."""
        found = self.sessions.get(session)
        worker = self.workers.get(signer)
        if found is None or worker is None or found.executor != signer:
            raise InvalidTransaction(TransactionReason.BAD_SIGNER, "not the session's worker")
        if not self._takes_receipts(found) or batch.first_nonce <= found.settled_nonce:
            raise InvalidTransaction(TransactionReason.STALE, "late, or submitted before")
        if self._quota_used(worker) >= self.batches_per_epoch:
            raise InvalidTransaction(TransactionReason.EXHAUSTS_RESOURCES, "quota of this epoch")
        try:
            self._check_batch(session, found, batch, voucher)
        except DispatchFailure as failure:
            raise refusal(type(self), failure) from failure
        return (b"receipts" + session.to_bytes(8, "little"),)

    # What the judging pallet calls follows.

    def batch(self, batch: int) -> Batch:
        """Return a batch that exists."""
        return self.batches[batch]

    def session(self, session: int) -> Session:
        """Return a session that exists."""
        return self.sessions[session]

    def mark(self, batch: int, state: BatchState) -> None:
        """Move a batch on; states only rise."""
        found = self.batches[batch]
        invariant(state > found.state, f"batch {batch} would go back to {state.name}")
        self.batches.insert(batch, replace(found, state=state))

    def void(self, batch: int, *, fault: bool) -> None:
        """Give a batch's claim back to the customer; `fault` says that the executor is to blame."""
        found = self.batches[batch]
        session = self.sessions[found.session]
        total = found.summary.compute + found.summary.premium
        self.mark(batch, BatchState.VOID)
        self.currency.release(HoldReason.SESSION_ESCROW, session.customer, total)
        self.sessions.insert(
            found.session,
            replace(
                session,
                escrow=session.escrow - total,
                held=session.held - total,
                settled_total=session.settled_total - total,
            ),
        )
        self._finish_batch(found.executor, fault=fault)
        self.deposit_event(BatchVoided(batch, total))

    def settle_final(self, batch: int) -> None:
        """Divide the fee of a final batch: every unit is paid, credited, burned or refunded."""
        found = self.batches[batch]
        session = self.sessions[found.session]
        total = found.summary.compute + found.summary.premium
        seats = self.attestation.seats_of(batch)
        top_up = self._top_up(found.summary.compute, seats)
        payments = split(
            self._settlement(found, session, seats, top_up), self.split_parameters.get()
        )
        refunded = sum(p.amount for p in payments if p.role == Role.REFUND)
        self.mark(batch, BatchState.SETTLED)
        self.currency.release(HoldReason.SESSION_ESCROW, session.customer, refunded)
        self.currency.transfer_held(
            HoldReason.SESSION_ESCROW, session.customer, POT, total - refunded
        )
        self.sessions.insert(found.session, replace(session, held=session.held - total))
        self.audit_pot.put(self.audit_pot.get() - top_up)
        for payment in self._with_backers(payments, session.model):
            self._credit(batch, payment)
        self._finish_batch(found.executor, confirmed=True)
        self.deposit_event(
            Settled(batch, found.session, found.summary.compute, found.summary.premium)
        )

    def on_initialize(self, number: int) -> None:
        """Move on sessions whose time is over; what exceeds the budget waits for the next block."""
        block = self.oldest_deadline.get()
        budget = MAX_PER_BLOCK
        while block <= number:
            due = [session for session, _ in islice(self.deadlines.items_under(block), budget)]
            for session in due:
                self.deadlines.remove(block, session)
                self._advance(session)
            budget -= len(due)
            if not budget:
                break
            block += 1
        self.oldest_deadline.put(block)

    def build_genesis(self, genesis: Any) -> None:
        """Set the windows: ``{"windows": [commit, reveal, dispute, submit]}``."""
        self.system.inc_providers(POT)
        if "windows" in genesis:
            self.windows.put(Windows(*genesis["windows"]))

    def ledger(self) -> dict[HoldReason, int]:
        """Return what this pallet holds for each of its reasons."""
        return {
            HoldReason.SESSION_ESCROW: sum(s.held for _, s in self.sessions.items()),
            HoldReason.WORKER_DEPOSIT: sum(w.deposit for _, w in self.workers.items()),
        }

    def check_invariants(self) -> None:
        """Escrow in = settled + refunded + pending; the pot holds exactly what is owed."""
        pending: dict[int, int] = {}
        for _, batch in self.batches.items():
            if batch.state < BatchState.SETTLED:
                total = batch.summary.compute + batch.summary.premium
                pending[batch.session] = pending.get(batch.session, 0) + total
        for session, found in self.sessions.items():
            owed = pending.get(session, 0)
            invariant(found.held >= owed, f"session {session} cannot pay its batches")
            invariant(found.settled_total <= found.escrow, f"session {session} is overdrawn")
            invariant(
                found.state != SessionState.CLOSED or found.held == owed,
                f"closed session {session} keeps money back",
            )
        active: dict[bytes, int] = {}
        for _, worker in self.workers.items():
            active[worker.validator] = active.get(worker.validator, 0) + (not worker.retiring)
        counted = {who: count for who, count in self.active_workers.items() if count}
        invariant(counted == {w: c for w, c in active.items() if c}, "workers are miscounted")
        owed = sum(amount for _, amount in self.claimable.items())
        owed += sum(amount for _, amount in self.upkeep.items()) + self.audit_pot.get()
        invariant(self.currency.free(POT) >= owed, "the pot does not hold what is owed")

    def _genesis(self) -> bytes:
        genesis: bytes = self.system.block_hash[0]
        return genesis

    def _worker(self, key: bytes) -> Worker:
        worker = self.workers.get(key)
        if worker is None:
            raise DispatchFailure(Error.UNKNOWN_WORKER)
        return worker

    def _validators_worker(self, origin: Origin, key: bytes) -> Worker:
        worker = self._worker(key)
        ensure(worker.validator == ensure_signed(origin), Error.NOT_WORKERS_VALIDATOR)
        return worker

    def _session(self, session: int) -> Session:
        found = self.sessions.get(session)
        if found is None:
            raise DispatchFailure(Error.UNKNOWN_SESSION)
        return found

    def _customers_session(self, origin: Origin, session: int) -> Session:
        found = self._session(session)
        ensure(found.customer == ensure_signed(origin), Error.NOT_CUSTOMER)
        return found

    def _check_batch(
        self, session: int, found: Session, batch: ReceiptBatch, voucher: SignedVoucher
    ) -> None:
        total = batch.compute + batch.premium
        ensure(batch.first_nonce > found.settled_nonce, Error.NONCE_SETTLED)
        span = batch.last_nonce - batch.first_nonce + 1
        ensure(1 <= batch.count <= span, Error.BAD_TOTALS)
        ensure(_is_priced(found.price, batch), Error.BAD_TOTALS)
        ensure(total <= batch.count * found.max_fee, Error.ABOVE_MAX_FEE)
        ensure(found.settled_total + total <= found.escrow, Error.ABOVE_ESCROW)
        self._check_clusters(found.model, batch)
        try:
            check_settlement(
                voucher,
                genesis=self._genesis(),
                session=session,
                voucher_key=found.voucher_key,
                last_nonce=batch.last_nonce,
                settled_total=found.settled_total + total,
            )
        except VoucherRefusal:
            raise DispatchFailure(Error.VOUCHER_REFUSED) from None

    def _check_clusters(self, model: int, batch: ReceiptBatch) -> None:
        ensure(batch.unmatched <= batch.premium, Error.BAD_TOTALS)
        ensure((batch.unmatched == batch.premium) == (not batch.clusters), Error.BAD_CLUSTERS)
        try:
            check_clusters(batch.clusters)
        except ReportRefusal:
            raise DispatchFailure(Error.BAD_CLUSTERS) from None
        frozen = {
            used.datanet: self.records.version(used.datanet, used.version).records
            for used in self.models.model(model).datanets
        }
        for entry in batch.clusters:
            cluster = entry.cluster
            known = cluster.record < frozen.get(cluster.datanet, 0)
            ensure(known and self.records.canonical(cluster) == cluster, Error.BAD_CLUSTERS)

    def _takes_receipts(self, found: Session) -> bool:
        closing = found.state == SessionState.CLOSING
        in_time = not closing or self.system.number.get() <= found.closes
        return found.state != SessionState.CLOSED and in_time

    def _quota_used(self, worker: Worker) -> int:
        epoch = self.system.number.get() // self.duty_epoch
        return worker.quota_used if worker.quota_epoch == epoch else 0

    def _count_quota(self, worker: Worker) -> Worker:
        used = self._quota_used(worker)
        ensure(used < self.batches_per_epoch, Error.QUOTA_EXHAUSTED)
        epoch = self.system.number.get() // self.duty_epoch
        return replace(worker, quota_epoch=epoch, quota_used=used + 1)

    def _at(self, number: int, session: int) -> None:
        self.deadlines.insert(number, session, None)

    def _start_closing(self, session: int, found: Session) -> None:
        closes = self.system.number.get() + self.windows.get().submit
        self.sessions.insert(session, replace(found, state=SessionState.CLOSING, closes=closes))
        self._at(closes + 1, session)
        self.deposit_event(SessionClosing(session, closes))

    def _advance(self, session: int) -> bool:
        """Move a session on if its time is over; tells whether it was."""
        found = self._session(session)
        number = self.system.number.get()
        if found.state == SessionState.OPEN and number >= found.expires:
            self._start_closing(session, found)
            return True
        if found.state == SessionState.CLOSING and number > found.closes:
            refund = found.escrow - found.settled_total
            self.currency.release(HoldReason.SESSION_ESCROW, found.customer, refund)
            self.sessions.insert(
                session,
                replace(
                    found,
                    state=SessionState.CLOSED,
                    escrow=found.settled_total,
                    held=found.held - refund,
                ),
            )
            self.deposit_event(SessionClosed(session, refund))
            return True
        return False

    def _settlement(
        self, found: Batch, session: Session, seats: tuple[Seat, ...] | None, top_up: int
    ) -> Settlement:
        model = self.models.model(session.model)
        worker = self._worker(found.executor)
        return Settlement(
            compute=found.summary.compute,
            premium=found.summary.premium,
            unmatched=found.summary.unmatched,
            executor=worker.validator,
            customer=session.customer,
            owner=model.owner,
            clusters=tuple(self._share(entry) for entry in found.summary.clusters),
            datanets=tuple(
                (used.datanet, self.records.version(used.datanet, used.version).records)
                for used in model.datanets
            ),
            seats=seats,
            audit_top_up=top_up,
            royalties=self.models.royalties(session.model),
            has_backers=bool(model.backers),
        )

    def _share(self, entry: Any) -> ClusterShare:
        """Say whom a cluster pays; a copy found since, or a delisted Datanet, is paid nothing."""
        cluster = entry.cluster
        account = self.records.contributor_of(cluster)
        if account is None:
            raise DispatchFailure(Error.BAD_CLUSTERS)
        original = self.records.canonical(cluster) == cluster
        payable = 1_000_000 if original and self.records.pays(cluster.datanet) else 0
        return ClusterShare(cluster, account, entry.weight, payable)

    def _top_up(self, compute: int, seats: tuple[Seat, ...] | None) -> int:
        """Return what the audit pot adds for an audited batch: at most the committee's share."""
        if seats is None:
            return 0
        share = largest_remainder(compute, self.split_parameters.get().of_compute())[1]
        return min(share, self.audit_pot.get())

    def _with_backers(self, payments: tuple[Payment, ...], model: int) -> list[Payment]:
        """Divide the backers' pot by stake, ties by account."""
        found: list[Payment] = []
        for payment in payments:
            if payment.role != Role.BACKERS:
                found.append(payment)
                continue
            backers = self.models.model(model).backers
            parts = largest_remainder(payment.amount, [b.amount for b in backers])
            found += [
                Payment(Role.BACKERS, backer.account, None, part)
                for backer, part in zip(backers, parts, strict=True)
                if part
            ]
        return found

    def _credit(self, batch: int, payment: Payment) -> None:
        """Give one payment to its owner; the money is in the pot already, refunds are paid."""
        amount = payment.amount
        self.deposit_event(Paid(batch, payment.role, payment.account, payment.datanet, amount))
        if payment.role == Role.TREASURY:
            self.currency.transfer(POT, TREASURY, amount, keep_alive=False)
        elif payment.role == Role.STAKERS:
            self.currency.transfer(POT, STAKERS, amount, keep_alive=False)
        elif payment.role == Role.BURN:
            self.currency.burn_free(POT, amount)
        elif payment.role == Role.AUDIT_POT:
            self.audit_pot.put(self.audit_pot.get() + amount)
        elif payment.role == Role.UPKEEP and payment.datanet is not None:
            self.upkeep.insert(payment.datanet, self.upkeep[payment.datanet] + amount)
        elif payment.role != Role.REFUND and payment.account is not None:
            self._accrue(payment.account, amount)

    def _accrue(self, who: bytes, amount: int) -> None:
        owed = self.claimable[who] + amount
        self.claimable.insert(who, owed)
        if owed >= self.payout_minimum:
            self._pay_out(who, owed)

    def _pay_out(self, who: bytes, amount: int) -> None:
        self.claimable.remove(who)
        self.currency.transfer(POT, who, amount, keep_alive=False)
        self.deposit_event(Claimed(who, amount))

    def _finish_batch(self, key: bytes, *, confirmed: bool = False, fault: bool = False) -> None:
        """Count an executor's batch; only confirmed ones make its audits rarer."""
        worker = self._worker(key)
        self.workers.insert(
            key,
            replace(
                worker,
                open_batches=worker.open_batches - 1,
                final_batches=worker.final_batches + confirmed,
                faults=worker.faults + fault,
            ),
        )


def ownership_message(genesis: bytes, key: bytes, validator: bytes) -> bytes:
    """Return what a worker's key signs to be registered by a validator."""
    return OWNERSHIP_TAG + genesis + key + validator


def _ensure_offer(endpoint: bytes, models: tuple[int, ...]) -> None:
    ensure(1 <= len(endpoint) <= 256 and endpoint.isascii(), Error.BAD_ENDPOINT)
    ensure(len(models) <= 64, Error.TOO_MANY_MODELS)


def _is_priced(price: Price, batch: ReceiptBatch) -> bool:
    """Tell whether some number of tokens at this price gives the batch's sums.

    The premium counts all tokens; their compute lies between that of prompts and of completions.
    """
    if price.premium == 0:
        return batch.premium == 0 and batch.compute == 0
    tokens, rest = divmod(batch.premium, price.premium)
    bounds = (cost(price, tokens, 0).compute, cost(price, 0, tokens).compute)
    return rest == 0 and min(bounds) <= batch.compute <= max(bounds)
