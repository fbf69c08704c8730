"""Attribution: committees judge batches of receipts by commit and reveal; the chain counts."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any, Protocol

from runtime.frame.host import Host
from runtime.frame.origin import Origin, ensure_root, ensure_signed
from runtime.frame.pallet import Const, Pallet, call, constant, refusal
from runtime.frame.storage import (
    StorageDoubleMap,
    StorageMap,
    StorageValue,
    double_map,
    storage_map,
    value,
)
from runtime.pallets.attribution import weights as call_weights
from runtime.pallets.attribution.errors import Error
from runtime.pallets.attribution.events import (
    EVENTS,
    Agreed,
    Committed,
    CommitteeDrawn,
    Finalized,
    MethodSet,
    Opened,
    Rejected,
    Revealed,
    Stuck,
)
from runtime.pallets.attribution.types import Duty, DutyStage, Method, Opening, Published
from runtime.primitives.errors import (
    DispatchFailure,
    Refusal,
    ensure,
    invariant,
)
from runtime.primitives.hashing import Hasher
from runtime.primitives.scale import H256, U8, U16, U32
from runtime.primitives.types import AccountId, BlockNumber
from runtime.protocols import merkle
from runtime.protocols.agreement import BF16, FP32, agree
from runtime.protocols.batch import NO_REPORT, leaf
from runtime.protocols.committee import (
    SEATS,
    Attestation,
    Ballot,
    Conclusion,
    audit_rate,
    audited,
    commitment,
    conclude,
    draw,
    draw_receipts,
)
from runtime.protocols.ids import BatchId, RecordId
from runtime.protocols.price import cost
from runtime.protocols.receipt import Receipt, receipt_hash
from runtime.protocols.report import QueryCode, Report, ReportRefusal, check_report, report_hash
from runtime.protocols.scoring import ScoreRefusal, check_query
from runtime.protocols.settlement import Seat
from runtime.protocols.weights import cluster_scores, span_bits, weights

RANDOMNESS_DELAY = 2
"""Blocks from a batch's submission to its draw, so that the executor cannot choose its judges."""
MAX_PER_BLOCK = 4
MAX_DRAWS = 3
COMMITTED, FINAL = 1, 2
"""States of a batch (`Inference.BatchState`) that this pallet sets."""


class Batches(Protocol):
    """What this pallet asks of the one that keeps sessions and batches."""

    windows: StorageValue[Any]
    workers: StorageMap[bytes, Any]
    active_workers: StorageMap[bytes, int]

    def batch(self, batch: int) -> Any:
        """Return a batch that exists."""

    def session(self, session: int) -> Any:
        """Return a session that exists."""

    def mark(self, batch: int, state: Any) -> None:
        """Move a batch on."""

    def void(self, batch: int, *, fault: bool) -> None:
        """Give a batch's claim back to the customer."""

    def settle_final(self, batch: int) -> None:
        """Divide the fee of a final batch."""


class ModelRegistry(Protocol):
    """What this pallet asks of the one that keeps models."""

    def model(self, model: int) -> Any:
        """Return a model that exists."""


class RecordRegistry(Protocol):
    """What this pallet asks of the one that keeps Datanets."""

    def canonical(self, record: RecordId) -> RecordId:
        """Return the cluster a record is paid through."""


class Randomness(Protocol):
    """What this pallet asks of the one that keeps the validator set and the randomness."""

    members: StorageValue[tuple[Any, ...]]
    mix: StorageValue[bytes]


class Attribution(Pallet, index=13):
    """Committees recompute drawn receipts and attest by commit and reveal; the chain counts.

    The chain derives the agreement itself, in integers, from the revealed query codes. What
    follows from the codes (scores, spans, weights) is exact, so anybody can prove it wrong.
    """

    Error = Error
    EVENTS = EVENTS

    seats: Const[U8] = constant(SEATS, doc="Seats of a committee.")
    redraw_after: Const[BlockNumber] = constant(
        100, doc="Blocks until a draw without eligible validators is repeated."
    )

    allow_self_attestation: StorageValue[bool] = value(
        default=False, doc="Whether a lone validator may judge itself; development chains only."
    )
    methods: StorageMap[U16, Method] = storage_map(
        Hasher.TWOX_64_CONCAT,
        doc="Admitted ways of attributing, and how far two engines may differ.",
    )
    agenda: StorageDoubleMap[BlockNumber, BatchId, None] = double_map(
        Hasher.TWOX_64_CONCAT, Hasher.TWOX_64_CONCAT, doc="Batches to move on in a block."
    )
    oldest_agenda: StorageValue[BlockNumber] = value(
        default=0, doc="The first block whose batches are not all moved on."
    )
    draws: StorageMap[BatchId, U8] = storage_map(
        Hasher.TWOX_64_CONCAT, default=0, doc="Draws of a batch that found nobody."
    )
    duties: StorageMap[BatchId, Duty] = storage_map(
        Hasher.TWOX_64_CONCAT, doc="Who judges each batch, and how far they are."
    )
    commits: StorageDoubleMap[BatchId, AccountId, H256] = double_map(
        Hasher.TWOX_64_CONCAT,
        Hasher.BLAKE2_128_CONCAT,
        doc="What members committed to, until the judgement is over.",
    )
    reveals: StorageDoubleMap[BatchId, AccountId, Attestation] = double_map(
        Hasher.TWOX_64_CONCAT,
        Hasher.BLAKE2_128_CONCAT,
        doc="What members revealed, until the judgement is over.",
    )
    opened: StorageMap[BatchId, Published] = storage_map(
        Hasher.TWOX_64_CONCAT,
        doc="The executor's codes for the drawn receipts, until the judgement is over.",
    )
    faults: StorageMap[AccountId, U32] = storage_map(
        Hasher.BLAKE2_128_CONCAT, default=0, doc="Missed reveals of each validator."
    )

    def __init__(
        self,
        host: Host,
        batches: Batches,
        models: ModelRegistry,
        records: RecordRegistry,
        session: Randomness,
        system: Any,
    ) -> None:
        super().__init__(host)
        self.batches = batches
        self.models = models
        self.records = records
        self.session = session
        self.system = system

    @call(index=0, weight=call_weights.COMMIT, duty="admit_commit")
    def commit(self, origin: Origin, batch: BatchId, digest: H256) -> None:
        """Commit to what a seat found; a duty of its validator's worker, free of fees.

        `digest` hides method, codes, verdicts and salt until they are revealed.
        """
        validator = self._commit_duty(ensure_signed(origin), batch)
        self.commits.insert(batch, validator, digest)
        self.deposit_event(Committed(batch, validator, digest))

    @call(index=1, weight=call_weights.reveal, duty="admit_reveal")
    def reveal(self, origin: Origin, batch: BatchId, attestation: Attestation) -> None:
        """Reveal what a seat committed to, once the commit window is shut; a duty, free of fees."""
        validator = self._reveal_duty(ensure_signed(origin), batch, attestation)
        self.reveals.insert(batch, validator, attestation)
        self.deposit_event(Revealed(batch, validator))

    @call(index=2, weight=call_weights.publish, duty="admit_publish")
    def publish(self, origin: Origin, batch: BatchId, openings: tuple[Opening, ...]) -> None:
        """Open the drawn receipts and their reports; a duty of the executor, free of fees.

        The chain checks them against the batch's root, the session's price and the arithmetic.
        """
        published = self._publish_duty(ensure_signed(origin), batch, openings)
        self.opened.insert(batch, published)
        self.deposit_event(Opened(batch, published.reports))

    @call(index=3, weight=call_weights.FINALIZE)
    def finalize(self, origin: Origin, batch: BatchId) -> None:
        """Move a batch on whose window is over; anybody may, if the chain has not done it."""
        ensure_signed(origin)
        duty = self._duty(batch)
        number = self.system.number.get()
        ensure(_is_due(duty, number), Error.NOT_DUE)
        self._advance(batch, number)

    @call(index=4, weight=call_weights.SET_METHOD)
    def set_method(self, origin: Origin, method: U16, declared: Method) -> None:
        """Admit or change a way of attributing; governance only."""
        ensure_root(origin)
        self.methods.insert(method, declared)
        self.deposit_event(MethodSet(method, declared.name))

    def admit_commit(self, signer: bytes, batch: int, digest: bytes) -> tuple[bytes, ...]:
        """Admit a commit without a fee, once for each seat."""
        return self._admitted(b"commit", batch, lambda: self._commit_duty(signer, batch))

    def admit_reveal(
        self, signer: bytes, batch: int, attestation: Attestation
    ) -> tuple[bytes, ...]:
        """Admit a reveal without a fee, once for each seat."""
        return self._admitted(
            b"reveal", batch, lambda: self._reveal_duty(signer, batch, attestation)
        )

    def admit_publish(
        self, signer: bytes, batch: int, openings: tuple[Opening, ...]
    ) -> tuple[bytes, ...]:
        """Admit the executor's opening without a fee, once."""

        def check() -> bytes:
            self._publish_duty(signer, batch, openings)
            return signer

        return self._admitted(b"publish", batch, check)

    def schedule(self, batch: int, number: int) -> None:
        """Have a batch's committee drawn from the randomness of a later block."""
        self._at(number + RANDOMNESS_DELAY, batch)

    def seats_of(self, batch: int) -> tuple[Seat, ...] | None:
        """Return the seats of a batch and whether they revealed; None where it was not audited."""
        duty = self._duty(batch)
        if not duty.audited:
            return None
        return tuple(Seat(seat, (batch, seat) in self.reveals) for seat in duty.seats)

    def on_initialize(self, number: int) -> None:
        """Draw, count and finalise what is due; what exceeds the budget waits a block."""
        block = self.oldest_agenda.get()
        budget = MAX_PER_BLOCK
        while block <= number:
            due = [batch for batch, _ in islice(self.agenda.items_under(block), budget)]
            for batch in due:
                self.agenda.remove(block, batch)
                self._move_on(batch, number)
            budget -= len(due)
            if not budget:
                break
            block += 1
        self.oldest_agenda.put(block)

    def build_genesis(self, genesis: Any) -> None:
        """Admit the methods; ``{"allow_self_attestation": bool}`` on development chains."""
        self.allow_self_attestation.put(bool(genesis.get("allow_self_attestation", False)))
        self.methods.insert(0, Method(b"ekw-q fp32", FP32))
        self.methods.insert(1, Method(b"ekw-q bf16", BF16))

    def check_invariants(self) -> None:
        """Reveals follow commits; a batch that is judged keeps its stage and state together."""
        for (batch, seat), _ in self.reveals.items():
            invariant((batch, seat) in self.commits, "a reveal without a commit")
        for batch, duty in self.duties.items():
            state = self.batches.batch(batch).state
            invariant(
                (duty.stage == DutyStage.JUDGING) == (state == 0)
                and (duty.stage == DutyStage.DISPUTE) == (state == COMMITTED),
                f"batch {batch} is {state} while its duty is {duty.stage.name}",
            )

    def _duty(self, batch: int) -> Duty:
        duty = self.duties.get(batch)
        if duty is None:
            raise DispatchFailure(Error.NO_DUTY)
        return duty

    def _at(self, number: int, batch: int) -> None:
        self.agenda.insert(number, batch, None)

    def _admitted(self, tag: bytes, batch: int, check: Any) -> tuple[bytes, ...]:
        try:
            who = check()
        except DispatchFailure as failure:
            raise refusal(type(self), failure) from failure
        return (tag + batch.to_bytes(8, "little") + who,)

    # Duties: each check raises DispatchFailure and is made again when the call is dispatched.

    def _seat(self, duty: Duty, signer: bytes) -> bytes:
        worker = self.batches.workers.get(signer)
        if worker is None or worker.validator not in duty.seats:
            raise DispatchFailure(Error.NOT_A_MEMBER)
        validator: bytes = worker.validator
        return validator

    def _commit_duty(self, signer: bytes, batch: int) -> bytes:
        duty = self._duty(batch)
        validator = self._seat(duty, signer)
        number = self.system.number.get()
        in_window = duty.stage == DutyStage.JUDGING and number <= duty.commit_until
        ensure(in_window, Error.OUTSIDE_WINDOW)
        ensure((batch, validator) not in self.commits, Error.ALREADY_COMMITTED)
        return validator

    def _reveal_window(self, duty: Duty) -> None:
        number = self.system.number.get()
        judged = duty.stage == DutyStage.JUDGING
        in_window = duty.commit_until < number <= duty.reveal_until
        ensure(judged and duty.audited and in_window, Error.OUTSIDE_WINDOW)

    def _reveal_duty(self, signer: bytes, batch: int, attestation: Attestation) -> bytes:
        duty = self._duty(batch)
        validator = self._seat(duty, signer)
        self._reveal_window(duty)
        committed = self.commits.get(batch, validator)
        if committed is None:
            raise DispatchFailure(Error.NOT_COMMITTED)
        ensure((batch, validator) not in self.reveals, Error.ALREADY_REVEALED)
        genesis = self.system.block_hash[0]
        ensure(commitment(genesis, batch, validator, attestation) == committed, Error.WRONG_REVEAL)
        ensure(attestation.method in self.methods, Error.UNKNOWN_METHOD)
        drawn = len(duty.receipts)
        shaped = len(attestation.codes) == drawn and len(attestation.verdicts) == drawn
        ensure(shaped, Error.WRONG_SHAPE)
        layout = self._layout(batch)
        for code in attestation.codes:
            ensure(code == NO_CODE or _fits(code, layout), Error.WRONG_SHAPE)
        return validator

    def _publish_duty(self, signer: bytes, batch: int, openings: tuple[Opening, ...]) -> Published:
        duty = self._duty(batch)
        found = self.batches.batch(batch)
        ensure(found.executor == signer, Error.NOT_EXECUTOR)
        self._reveal_window(duty)
        ensure(batch not in self.opened, Error.ALREADY_OPENED)
        ensure(len(openings) == len(duty.receipts), Error.WRONG_SHAPE)
        layout = self._layout(batch)
        codes = []
        methods = []
        for position, opening in zip(duty.receipts, openings, strict=True):
            self._check_opening(found, position, opening)
            query = opening.report.query if opening.report else NO_CODE
            ensure(query == NO_CODE or _fits(query, layout), Error.WRONG_SHAPE)
            codes.append(query)
            if opening.report:
                methods.append(opening.report.method)
        ensure(len(frozenset(methods)) <= 1, Error.UNKNOWN_METHOD)
        reports = tuple(report_hash(o.report) if o.report else NO_REPORT for o in openings)
        method = methods[0] if methods else 0
        return Published(tuple(codes), reports, method, self.draws[batch])

    def _check_opening(self, found: Any, position: int, opening: Opening) -> None:
        receipt, report = opening.receipt, opening.report
        session = self.batches.session(found.session)
        data = leaf(receipt, report_hash(report) if report else NO_REPORT)
        summary = found.summary
        ensure(
            merkle.verify_path(summary.root, data, position, summary.count, opening.path),
            Error.WRONG_OPENING,
        )
        ensure(
            receipt.session == found.session
            and summary.first_nonce <= receipt.nonce <= summary.last_nonce,
            Error.WRONG_OPENING,
        )
        due = cost(session.price, receipt.prompt_tokens, receipt.completion_tokens)
        ensure(receipt.cost() == due and due.total() <= session.max_fee, Error.WRONG_COST)
        if report is not None:
            self._check_report(receipt, report)

    def _check_report(self, receipt: Receipt, report: Report) -> None:
        """Refuse a report that the chain can see to be wrong."""
        ensure(report.method in self.methods, Error.UNKNOWN_METHOD)
        ensure(report.receipt_hash == receipt_hash(receipt), Error.WRONG_REPORT)
        try:
            check_report(report)
        except ReportRefusal:
            raise DispatchFailure(Error.WRONG_REPORT) from None
        named = [scored.record for scored in report.top] + [s.record for s in report.spans]
        copies = {r: c for r in named if (c := self.records.canonical(r)) != r}
        scores = {scored.record: scored.score for scored in report.top}
        if any(scored.record in copies for scored in report.top):
            return  # the score of an original outside the top is not here to be seen
        influence = cluster_scores(report.top, copies, scores)
        ensure(
            weights(influence, span_bits(report.spans, copies)) == report.clusters,
            Error.WRONG_WEIGHTS,
        )

    def _layout(self, batch: int) -> tuple[int, ...]:
        session = self.batches.session(self.batches.batch(batch).session)
        layout: tuple[int, ...] = self.models.model(session.model).artifact.layout
        return layout

    # What the chain does by itself.

    def _move_on(self, batch: int, number: int) -> None:
        """Advance a batch; one that cannot be never stops the chain, see `finalize`."""
        try:
            with self.host.transaction():
                self._advance(batch, number)
        except (DispatchFailure, Refusal) as failure:
            self.deposit_event(Stuck(batch, str(failure)))

    def _advance(self, batch: int, number: int) -> None:
        duty = self.duties.get(batch)
        if duty is None:
            self._draw(batch, number)
        elif not _is_due(duty, number):
            return  # `finalize` moved it on before the agenda did; its next turn stands there
        elif duty.stage == DutyStage.JUDGING:
            self._count(batch, duty, number)
        else:
            self._finalise(batch, duty)

    def _draw(self, batch: int, number: int) -> None:
        found = self.batches.batch(batch)
        session = self.batches.session(found.session)
        own = self.batches.workers[found.executor].validator
        owner = self.models.model(session.model).owner
        seed = self.session.mix.get()
        candidates = [
            (v.account, v.stake)
            for v in self.session.members.get()
            if self.batches.active_workers[v.account]
        ]
        excluded = (session.customer, own, owner)
        seats = draw(seed, batch, [c for c in candidates if c[0] not in excluded], self.seats)
        alone = any(account == own for account, _ in candidates)
        self_attested = not seats and self.allow_self_attestation.get() and alone
        if self_attested:
            seats = (own,)
        if not seats:
            self._draw_later(batch, number)
            return
        windows = self.batches.windows.get()
        is_audited = self_attested or self._is_audited(found, seed, batch)
        commit_until = number + windows.commit - 1
        reveal_until = commit_until + windows.reveal
        final_at = reveal_until + 1 + windows.dispute if is_audited else number + windows.dispute
        duty = Duty(
            seed=seed,
            audited=is_audited,
            self_attested=self_attested,
            seats=seats if is_audited else (),
            receipts=draw_receipts(seed, batch, found.summary.count) if is_audited else (),
            commit_until=commit_until,
            reveal_until=reveal_until,
            final_at=final_at,
            stage=DutyStage.JUDGING if is_audited else DutyStage.DISPUTE,
        )
        self.duties.insert(batch, duty)
        if not is_audited:
            self.batches.mark(batch, _state(found, COMMITTED))
        self._at(reveal_until + 1 if is_audited else final_at, batch)
        self.deposit_event(
            CommitteeDrawn(batch, is_audited, self_attested, duty.seats, duty.receipts)
        )

    def _is_audited(self, found: Any, seed: bytes, batch: int) -> bool:
        worker = self.batches.workers[found.executor]
        value = found.summary.compute + found.summary.premium
        rate = audit_rate(worker.final_batches, worker.faults, value, worker.deposit)
        return audited(seed, batch, rate)

    def _draw_later(self, batch: int, number: int) -> None:
        draws = self.draws[batch] + 1
        self.draws.insert(batch, draws)
        if draws < MAX_DRAWS:
            self._at(number + self.redraw_after, batch)
            return
        self.draws.remove(batch)
        self.batches.void(batch, fault=False)
        self.deposit_event(Rejected(batch, False))

    def _count(self, batch: int, duty: Duty, number: int) -> None:
        """Derive the agreement from what was revealed, when the reveal window is over.

        The dispute window begins with the agreement, so one that comes late leaves it whole.
        """
        opened = self.opened.get(batch)
        for seat in duty.seats:
            if (batch, seat) not in self.reveals:
                self.faults.insert(seat, self.faults[seat] + 1)
        conclusion = Conclusion.FAULT if opened is None else self._conclude(batch, duty, opened)
        if conclusion == Conclusion.ACCEPTED:
            final_at = number + duty.final_at - (duty.reveal_until + 1)
            disputable = replace(duty, stage=DutyStage.DISPUTE, final_at=final_at)
            self.duties.insert(batch, disputable)
            self.batches.mark(batch, _state(self.batches.batch(batch), COMMITTED))
            self._at(final_at, batch)
            self.deposit_event(Agreed(batch, final_at))
            return
        fault = conclusion == Conclusion.FAULT
        self._close(batch, duty)
        self.batches.void(batch, fault=fault)
        self.deposit_event(Rejected(batch, fault))

    def _conclude(self, batch: int, duty: Duty, opened: Published) -> Conclusion:
        layout = self._layout(batch)
        tolerance = self.methods[opened.method].tolerance
        ballots = []
        for seat in duty.seats:
            revealed = self.reveals.get(batch, seat)
            if revealed is None:
                continue
            agrees = tuple(
                revealed.method == opened.method and _agree(own, theirs, layout, tolerance)
                for own, theirs in zip(opened.codes, revealed.codes, strict=True)
            )
            ballots.append(Ballot(revealed.verdicts, agrees))
        return conclude(ballots, len(duty.seats))

    def _finalise(self, batch: int, duty: Duty) -> None:
        self.batches.mark(batch, _state(self.batches.batch(batch), FINAL))
        self.deposit_event(Finalized(batch))
        self.batches.settle_final(batch)
        self._close(batch, duty)

    def _close(self, batch: int, duty: Duty) -> None:
        """End a judgement; what was revealed is dropped, the events tell who did what."""
        self.duties.insert(batch, replace(duty, stage=DutyStage.CLOSED))
        self.draws.remove(batch)
        self.opened.remove(batch)
        self.commits.remove_under(batch)
        self.reveals.remove_under(batch)


def _is_due(duty: Duty, number: int) -> bool:
    """Tell whether the window that a batch waits for is over."""
    match duty.stage:
        case DutyStage.JUDGING:
            return number > duty.reveal_until
        case DutyStage.DISPUTE:
            return number >= duty.final_at
        case DutyStage.CLOSED:
            return False


NO_CODE = QueryCode(b"", ())
"""Stands for the code of a receipt that was not attributed, or that a member could not repeat."""


def _fits(code: QueryCode, layout: tuple[int, ...]) -> bool:
    try:
        check_query(code, layout)
    except ScoreRefusal:
        return False
    return True


def _agree(own: QueryCode, theirs: QueryCode, layout: tuple[int, ...], tolerance: Any) -> bool:
    if NO_CODE in (own, theirs):
        return own == theirs
    return agree(own.codes, own.exponents, theirs.codes, theirs.exponents, layout, tolerance)


def _state(found: Any, state: int) -> Any:
    """Return a state of the enumeration that the batch's own pallet uses."""
    return type(found.state)(state)
