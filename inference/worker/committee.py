"""Committee duty: repeat the drawn receipts, commit, reveal; as executor, open them.

What is due follows from the chain's state at each finalised block; what was committed to lies in
the book. So a restart in any window goes on where it has to. The evidence of an answer comes from
the book where this worker gave it, and from its executor otherwise.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

import trio

from inference.adapters.store import AdapterStore
from inference.attribution.report import METHOD
from inference.log import Log
from inference.worker.book import SessionBook
from inference.worker.book_rows import Answered
from inference.worker.chain_view import ChainView, Head
from inference.worker.devices import Device
from inference.worker.evidence import Evidence
from inference.worker.figures import Figures
from inference.worker.gathering import Gathering, is_late
from inference.worker.judging import judge
from inference.worker.library import Library
from inference.worker.pulse import Pulse
from node.client.signing import KeyPair
from runtime.construct import encode_call
from runtime.pallets.attribution.pallet import NO_CODE
from runtime.pallets.attribution.types import Duty, DutyStage, Opening
from runtime.pallets.inference.types import Batch, Session
from runtime.primitives.errors import Refusal
from runtime.protocols import merkle
from runtime.protocols.batch import leaves
from runtime.protocols.committee import Attestation, Verdict, commitment
from runtime.protocols.report import QueryCode

_LOG = Log("committee")


class Committee:
    """The duties of one worker."""

    def __init__(
        self,
        view: ChainView,
        book: SessionBook,
        library: Library,
        store: AdapterStore,
        device: Device,
        key: KeyPair,
        figures: Figures,
        gathering: Gathering,
    ) -> None:
        self._view = view
        self._book = book
        self._library = library
        self._store = store
        self._device = device
        self._key = key
        self._figures = figures
        self._gathering = gathering
        self._watched: set[int] = set()
        self._attending: set[int] = set()

    @property
    def watched(self) -> int:
        """Number of batches that are being judged."""
        return len(self._watched)

    async def catch_up(self) -> None:
        """Watch every batch that is being judged now."""
        for keys, duty in await self._view.items("Attribution", "Duties"):
            if duty.stage == DutyStage.JUDGING:
                self._watched.add(int(keys[0]))
        if self._watched:
            _LOG.info("duties found", batches=len(self._watched))

    def note(self, head: Head) -> None:
        """Watch the batches whose committee was drawn in a block."""
        for record in head.events:
            if (record.pallet, record.name) == ("Attribution", "CommitteeDrawn"):
                drawn = record.event
                if drawn.audited:
                    self._watched.add(drawn.batch)
                if drawn.self_attested:
                    _LOG.warning(
                        "batch is self-attested: no other validator has a worker",
                        batch=drawn.batch,
                        receipts=len(drawn.receipts),
                    )

    async def run(self, pulse: Pulse) -> None:
        """Attend to all watched batches at every block, until cancelled."""
        height = -1
        async with trio.open_nursery() as nursery:
            while True:
                height = await pulse.beyond(height)
                for batch in sorted(self._watched - self._attending):
                    self._attending.add(batch)
                    nursery.start_soon(self._attend, batch)

    async def _attend(self, batch: int) -> None:
        try:
            if not await self.attend(batch):
                self._watched.discard(batch)
        except Refusal as refusal:
            _LOG.warning("duty waits", batch=batch, cause=refusal)
        except Exception:  # one batch must not keep the others waiting
            _LOG.error("duty failed", trace=True, batch=batch)
        finally:
            self._attending.discard(batch)

    async def attend(self, batch: int) -> bool:
        """Do what is due for a batch now; False once nothing will be due any more."""
        duty: Duty | None = await self._view.storage("Attribution", "Duties", batch)
        if duty is None or duty.stage != DutyStage.JUDGING:
            return duty is None
        worker = await self._view.storage("Inference", "Workers", self._key.account_id)
        next_block = self._view.height + 1
        if worker is not None and worker.validator in duty.seats:
            if next_block <= duty.commit_until:
                await self._commit(batch, duty, worker.validator)
            elif next_block <= duty.reveal_until:
                await self._reveal(batch, worker.validator)
        if duty.commit_until < next_block <= duty.reveal_until:
            await self._publish(batch, duty)
        return True

    async def _commit(self, batch: int, duty: Duty, validator: bytes) -> None:
        if await self._view.storage("Attribution", "Commits", batch, validator) is not None:
            return
        attestation = await trio.to_thread.run_sync(self._book.attestations.find, batch)
        if attestation is None:
            computed = await self._recompute(batch, duty, validator)
            attestation = await trio.to_thread.run_sync(
                self._book.attestations.keep, batch, computed
            )
        digest = commitment(self._view.genesis, batch, validator, attestation)
        call = encode_call("Attribution", "commit", batch=batch, digest=digest)
        await self._view.submit(call, self._key)
        self._figures.duty("commit")
        _LOG.info("committed", batch=batch, verdicts="/".join(v.name for v in attestation.verdicts))

    async def _reveal(self, batch: int, validator: bytes) -> None:
        attestation = await trio.to_thread.run_sync(self._book.attestations.find, batch)
        committed = await self._view.storage("Attribution", "Commits", batch, validator)
        revealed = await self._view.storage("Attribution", "Reveals", batch, validator)
        if attestation is None or committed is None or revealed is not None:
            return
        if commitment(self._view.genesis, batch, validator, attestation) != committed:
            return  # another worker of this validator holds the seat
        call = encode_call("Attribution", "reveal", batch=batch, attestation=attestation)
        await self._view.submit(call, self._key)
        self._figures.duty("reveal")
        _LOG.info("revealed", batch=batch)

    async def _publish(self, batch: int, duty: Duty) -> None:
        submission = await trio.to_thread.run_sync(self._book.submission_of, batch)
        if submission is None:
            return
        if await self._view.storage("Attribution", "Opened", batch) is not None:
            return
        answers = await trio.to_thread.run_sync(self._book.answers_of, submission)
        entries = [answered.entry() for answered in answers]
        data = leaves(entries)
        openings = tuple(
            Opening(entries[at].receipt, entries[at].report, merkle.path(data, at))
            for at in duty.receipts
        )
        call = encode_call("Attribution", "publish", batch=batch, openings=openings)
        await self._view.submit(call, self._key)
        self._figures.duty("publish")
        _LOG.info("opened", batch=batch, receipts=len(openings))

    async def _recompute(self, batch: int, duty: Duty, validator: bytes) -> Attestation:
        found = await self._view.storage("Inference", "Batches", batch)
        session = await self._view.storage("Inference", "Sessions", found.session)
        evidence: list[Evidence | Verdict] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._warm_up, session.model)
            evidence = await self._evidence(batch, found, duty, validator)
        ballots = [await self._judge(each, found.session, session, duty) for each in evidence]
        return Attestation(
            method=METHOD,
            codes=tuple(code for _, code in ballots),
            verdicts=tuple(verdict for verdict, _ in ballots),
            salt=secrets.token_bytes(32),
        )

    async def _warm_up(self, model: int) -> None:
        """Load a model while its receipts are gathered; whether it can be had shows later."""
        with suppress(Refusal):
            await self._library.model(model)

    async def _evidence(
        self, number: int, batch: Batch, duty: Duty, validator: bytes
    ) -> list[Evidence | Verdict]:
        submission = await trio.to_thread.run_sync(self._book.submission_of, number)
        if submission is None:
            return await self._gathering.gather(number, batch, duty, validator)
        entries = await trio.to_thread.run_sync(self._book.answers_of, submission)
        return [self._own(entries[position]) for position in duty.receipts]

    def _own(self, answered: Answered) -> Evidence | Verdict:
        receipt = answered.signed.receipt
        taken = self._book.voucher(receipt.session, receipt.nonce)
        if taken is None:
            return Verdict.UNAVAILABLE
        return Evidence(
            answered.signed, *taken, answered.output_ids, answered.trace, answered.engine
        )

    async def _judge(
        self, evidence: Evidence | Verdict, number: int, session: Session, duty: Duty
    ) -> tuple[Verdict, QueryCode]:
        if isinstance(evidence, Verdict):
            return evidence, NO_CODE
        if evidence.signed.receipt.session != number:
            return Verdict.BAD, NO_CODE
        try:
            model = await self._library.model(session.model)
        except Refusal as refusal:
            if not is_late(duty, self._view.height):
                raise
            _LOG.warning("no model to judge with: inconclusive", cause=refusal)
            return Verdict.INCONCLUSIVE, NO_CODE
        return await trio.to_thread.run_sync(
            judge, evidence, session, model, self._device, self._store
        )
