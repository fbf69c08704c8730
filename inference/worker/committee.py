"""Committee duty: repeat the drawn receipts, commit, reveal; as executor, open them.

What is due follows from the chain's state at each finalised block; what was committed to lies in
the book. So a restart in any window goes on where it has to.
"""

from __future__ import annotations

import secrets

import trio

from inference.attribution.report import METHOD
from inference.worker.book import SessionBook
from inference.worker.book_rows import Answered, Submission
from inference.worker.chain_view import ChainView, Head
from inference.worker.engine_room import EngineRoom
from inference.worker.figures import Figures
from inference.worker.judging import judge
from inference.worker.library import Library
from inference.worker.log import Log
from inference.worker.pulse import Pulse
from node.client.signing import KeyPair
from runtime.construct import encode_call
from runtime.pallets.attribution.pallet import NO_CODE
from runtime.pallets.attribution.types import Duty, DutyStage, Opening
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
        room: EngineRoom,
        key: KeyPair,
        figures: Figures,
    ) -> None:
        self._view = view
        self._book = book
        self._library = library
        self._room = room
        self._key = key
        self._figures = figures
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
            computed = await self._recompute(batch, duty)
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
        entries = [answered.entry() for answered in await self._entries(submission)]
        data = leaves(entries)
        openings = tuple(
            Opening(entries[at].receipt, entries[at].report, merkle.path(data, at))
            for at in duty.receipts
        )
        call = encode_call("Attribution", "publish", batch=batch, openings=openings)
        await self._view.submit(call, self._key)
        self._figures.duty("publish")
        _LOG.info("opened", batch=batch, receipts=len(openings))

    async def _recompute(self, batch: int, duty: Duty) -> Attestation:
        submission = await trio.to_thread.run_sync(self._book.submission_of, batch)
        if submission is None:
            # Without the executor's data a seat can say neither that an answer is right nor wrong.
            _LOG.warning("no data for the drawn receipts: inconclusive", batch=batch)
            found = [(Verdict.INCONCLUSIVE, NO_CODE)] * len(duty.receipts)
        else:
            entries = await self._entries(submission)
            found = [await self._judge(entries[at]) for at in duty.receipts]
        return Attestation(
            method=METHOD,
            codes=tuple(code for _, code in found),
            verdicts=tuple(verdict for verdict, _ in found),
            salt=secrets.token_bytes(32),
        )

    async def _judge(self, answered: Answered) -> tuple[Verdict, QueryCode]:
        receipt = answered.signed.receipt
        session = await self._view.storage("Inference", "Sessions", receipt.session)
        model = await self._library.model(session.model)
        taken = self._book.voucher(receipt.session, receipt.nonce)
        if taken is None:
            return Verdict.UNAVAILABLE, NO_CODE
        signed, body = taken
        return await trio.to_thread.run_sync(
            judge, answered, signed, body, session, model, self._room.backbone, self._room.store
        )

    async def _entries(self, submission: Submission) -> list[Answered]:
        batch = submission.batch
        found = await trio.to_thread.run_sync(
            self._book.answered, submission.session, batch.first_nonce, batch.last_nonce
        )
        return [answered for answered in found if answered.submission == submission.id]
