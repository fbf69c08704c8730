"""Receipts to the chain: in batches, in the order of their nonces, each exactly once.

A batch is fixed in the book before it is sent. Whether the chain has it is read from the session's
settled nonce, so a crash between the two neither loses nor repeats it.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from inference.log import Log
from inference.worker.attributing import Attributing
from inference.worker.book import SessionBook
from inference.worker.book_rows import Answered, Attributed, Submission
from inference.worker.chain_view import ChainError, ChainView, Head, event_named
from inference.worker.figures import Figures
from inference.worker.pulse import Pulse
from node.client.signing import KeyPair
from runtime.construct import encode_call
from runtime.pallets.inference.types import BatchState, Session, SessionState
from runtime.protocols.batch import MAX_BATCH_RECEIPTS, summarise

_LOG = Log("submission")
_LAST_BLOCKS = 3
"""So many blocks before the window shuts, receipts are submitted without their reports."""
_RECENT = 256
_PAUSE_BLOCKS = 2
_REBUILT = ("BadClusters", "VoucherRefused", "BadTotals", "AboveEscrow", "AboveMaxFee")
"""Errors that sending the same batch again cannot mend; pools name them in capitals."""


@dataclass(frozen=True, slots=True)
class SubmissionPolicy:
    """When receipts of an open session are submitted: at a count, or at an age in blocks."""

    receipts: int = 256
    blocks: int = 600


class Submitting:
    """Submits what is due at each block."""

    def __init__(
        self,
        view: ChainView,
        book: SessionBook,
        attributing: Attributing,
        key: KeyPair,
        figures: Figures,
        policy: SubmissionPolicy,
    ) -> None:
        self._view = view
        self._book = book
        self._attributing = attributing
        self._key = key
        self._figures = figures
        self._policy = policy
        self._paused: dict[int, int] = {}

    async def catch_up(self) -> None:
        """Learn what became of earlier submissions while the worker was away."""
        for submission in await _run(self._book.latest_submissions, _RECENT):
            batch = await self._view.storage("Inference", "Batches", submission.chain_batch)
            if batch is not None and batch.state == BatchState.VOID:
                await _run(self._book.void, submission.chain_batch)

    async def note(self, head: Head) -> None:
        """Take note of batches that are void, or settled."""
        for record in head.events:
            if record.pallet != "Inference":
                continue
            if record.name == "BatchVoided":
                await _run(self._book.void, record.event.batch)
                _LOG.warning("batch voided", batch=record.event.batch)
            elif record.name == "Settled":
                paid = record.event.compute + record.event.premium
                _LOG.info("batch settled", batch=record.event.batch, fee=paid)

    async def run(self, pulse: Pulse) -> None:
        """Submit at every block what is due, until cancelled."""
        height = -1
        while True:
            height = await pulse.beyond(height)
            try:
                await self.submit_due()
            except ChainError as error:
                _LOG.warning("submission waits", cause=error)
            except Exception:  # later blocks try again
                _LOG.error("submission failed", trace=True)

    async def submit_due(self) -> None:
        """Send what was prepared, then prepare and send what is due now."""
        for pending in await _run(self._book.pending_submissions):
            if not self._is_paused(pending.session):
                await self._send(pending)
        for number in await _run(self._book.busy_sessions):
            if self._is_paused(number):
                continue
            session = await self._view.storage("Inference", "Sessions", number)
            prepared = await self._prepare(number, session)
            if prepared is not None:
                await self._send(prepared)

    def _is_paused(self, session: int) -> bool:
        return self._view.height < self._paused.get(session, 0)

    async def _prepare(self, number: int, session: Session) -> Submission | None:
        free = await _run(self._book.unsubmitted, number)
        entries = self._due(session, free[:MAX_BATCH_RECEIPTS])
        voucher = await _run(self._book.latest_voucher, number)
        if not entries or voucher is None:
            return None
        fresh = [await self._attributing.refresh(answered) for answered in entries]
        batch = summarise([answered.entry() for answered in fresh])
        return await _run(self._book.prepare, number, batch, voucher)

    def _due(self, session: Session, free: list[Answered]) -> list[Answered]:
        """Return the receipts that go to the chain now, up to the first without a report.

        In the last blocks of a session's window all go.
        """
        if not free:
            return []
        height = self._view.height
        ready = _until_pending(free)
        if session.state == SessionState.CLOSED:
            return free
        if session.state == SessionState.CLOSING:
            if height + _LAST_BLOCKS >= session.closes:
                return free
            return ready if len(ready) == len(free) else []
        counted = len(ready) >= self._policy.receipts
        aged = bool(ready) and height - ready[0].height >= self._policy.blocks
        return ready if counted or aged else []

    async def _send(self, submission: Submission) -> None:
        session: Session = await self._view.storage("Inference", "Sessions", submission.session)
        if session.settled_nonce >= submission.batch.last_nonce:
            await self._adopt(submission)
            return
        if session.state == SessionState.CLOSED:
            await _run(self._book.forfeit, submission.id)
            _LOG.error(
                "receipts came too late and are lost",
                session=submission.session,
                receipts=submission.batch.count,
            )
            return
        call = encode_call(
            "Inference",
            "submit_receipts",
            session=submission.session,
            batch=submission.batch,
            voucher=submission.voucher,
        )
        try:
            events = await self._view.submit(call, self._key)
        except ChainError as error:
            await self._refused(submission, error)
            return
        found = event_named(events, "Inference", "ReceiptsSubmitted")
        await _run(self._book.submitted, submission.id, found.batch)
        self._figures.duty("submit_receipts")
        _LOG.info(
            "receipts submitted",
            session=submission.session,
            batch=found.batch,
            receipts=found.count,
            compute=found.compute,
            premium=found.premium,
        )

    async def _refused(self, submission: Submission, error: ChainError) -> None:
        """Free the receipts where another batch of them may do; else send the same one again.

        What the chain may still take is never changed, so that it is known again when it lands.
        """
        text = f"{error.name} {error.detail}".replace("_", "").lower()
        rebuilt = any(name.lower() in text for name in _REBUILT)
        _LOG.warning("batch refused", session=submission.session, cause=error, rebuilt=rebuilt)
        self._paused[submission.session] = self._view.height + _PAUSE_BLOCKS
        if rebuilt:
            await _run(self._book.withdraw, submission.id)

    async def _adopt(self, submission: Submission) -> None:
        """Find the batch that the chain has already, the latest first."""
        following = await self._view.storage("Inference", "NextBatch")
        for number in range(following - 1, -1, -1):
            batch = await self._view.storage("Inference", "Batches", number)
            same = (batch.session, batch.executor) == (submission.session, self._key.account_id)
            if same and batch.summary == submission.batch:
                await _run(self._book.submitted, submission.id, number)
                _LOG.info("batch found on chain", session=submission.session, batch=number)
                return
            if same and batch.summary.last_nonce < submission.batch.first_nonce:
                break
        await _run(self._book.forfeit, submission.id)
        _LOG.error("another batch settled these receipts", session=submission.session)


def _until_pending(free: list[Answered]) -> list[Answered]:
    ready = []
    for answered in free:
        if answered.attributed == Attributed.PENDING:
            break
        ready.append(answered)
    return ready


_run = trio.to_thread.run_sync
