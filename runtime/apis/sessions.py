"""`SessionsApi`: paid sessions, their batches of receipts, and the workers that serve them."""

from __future__ import annotations

from runtime.apis.base import StateApi
from runtime.apis.paging import MOST, PageSize, by_key, newest_first, text
from runtime.apis.session_views import (
    ReceiptBatchPage,
    ReceiptBatchRow,
    SessionPage,
    SessionRow,
    SessionView,
    WorkerPage,
    WorkerView,
)
from runtime.frame.runtime_api import api_method
from runtime.pallets.inference import Inference
from runtime.pallets.inference.types import Batch, Session, SessionState, Worker
from runtime.primitives.types import AccountId
from runtime.protocols.ids import BatchId, ModelId, SessionId


class SessionsApi(StateApi, version=1):
    """Paid sessions as an explorer shows them."""

    @api_method
    def sessions(
        self,
        start: SessionId | None,
        count: PageSize | None,
        customer: AccountId | None,
        model: ModelId | None,
        executor: AccountId | None,
    ) -> SessionPage:
        """List sessions, the newest first; a customer's, a model's or a worker's where asked.

        Of the sessions from `start` down, `count` are looked at; a page may hold fewer, even none.
        """
        inference = self.runtime.inference
        found, following = newest_first(
            inference.sessions.get,
            inference.next_session.get(),
            start,
            count,
            lambda session: (
                (customer is None or session.customer == customer)
                and (model is None or session.model == model)
                and (executor is None or session.executor == executor)
            ),
        )
        return SessionPage(tuple(session_row(i, session) for i, session in found), following)

    @api_method
    def session(self, session: SessionId) -> SessionView | None:
        """Return a session's page; none where there is no such session."""
        inference = self.runtime.inference
        found = inference.sessions.get(session)
        if found is None:
            return None
        worker = inference.workers.get(found.executor)
        unclaimed = found.escrow - found.settled_total
        return SessionView(
            session=session,
            state=found.state,
            customer=found.customer,
            voucher_key=found.voucher_key,
            model=found.model,
            model_name=text(self.runtime.models.model(found.model).name),
            executor=found.executor,
            worker=None if worker is None else worker_view(inference, found.executor, worker),
            price=found.price,
            max_fee=found.max_fee,
            escrow=_escrow(found),
            held=found.held,
            settled=found.escrow - found.held,
            pending=found.held - unclaimed,
            refundable=0 if found.state == SessionState.CLOSED else unclaimed,
            last_nonce=found.settled_nonce,
            opened=found.opened,
            expires=found.expires,
            closes=None if found.state == SessionState.OPEN else found.closes,
            batches=self.receipt_batches(None, MOST, session, None),
        )

    @api_method
    def receipt_batches(
        self,
        start: BatchId | None,
        count: PageSize | None,
        session: SessionId | None,
        executor: AccountId | None,
    ) -> ReceiptBatchPage:
        """List batches of receipts, the newest first; a session's or a worker's where asked.

        Of the batches from `start` down, `count` are looked at; a page may hold fewer, even none.
        """
        inference = self.runtime.inference
        found, following = newest_first(
            inference.batches.get,
            inference.next_batch.get(),
            start,
            count,
            lambda batch: (
                (session is None or batch.session == session)
                and (executor is None or batch.executor == executor)
            ),
        )
        return ReceiptBatchPage(tuple(receipt_row(i, batch) for i, batch in found), following)

    @api_method
    def workers(
        self, after: AccountId | None, count: PageSize | None, validator: AccountId | None
    ) -> WorkerPage:
        """List the workers that serve models; a validator's where asked.

        Behind `after`, `count` are looked at; a page may hold fewer, even none.
        """
        inference = self.runtime.inference
        found, following = by_key(self.state, inference.workers, (), after, count)
        views = tuple(
            worker_view(inference, key, worker)
            for key, worker in found
            if validator is None or worker.validator == validator
        )
        return WorkerPage(views, following)

    @api_method
    def worker(self, key: AccountId) -> WorkerView | None:
        """Return a worker by its key; none where none is registered."""
        inference = self.runtime.inference
        found = inference.workers.get(key)
        return None if found is None else worker_view(inference, key, found)


def session_row(number: int, session: Session) -> SessionRow:
    """Show a session in a list."""
    return SessionRow(
        session=number,
        customer=session.customer,
        model=session.model,
        executor=session.executor,
        state=session.state,
        escrow=_escrow(session),
        claimed=session.settled_total,
        opened=session.opened,
        expires=session.expires,
    )


def _escrow(session: Session) -> int | None:
    """Return what was put aside; the state of a closed session holds only what was claimed."""
    return None if session.state == SessionState.CLOSED else session.escrow


def receipt_row(number: int, batch: Batch) -> ReceiptBatchRow:
    """Show a batch of receipts in a list."""
    summary = batch.summary
    return ReceiptBatchRow(
        batch=number,
        session=batch.session,
        executor=batch.executor,
        state=batch.state,
        count=summary.count,
        first_nonce=summary.first_nonce,
        last_nonce=summary.last_nonce,
        compute=summary.compute,
        premium=summary.premium,
        unmatched=summary.unmatched,
        submitted=batch.submitted,
    )


def worker_view(inference: Inference, key: bytes, worker: Worker) -> WorkerView:
    """Show a worker."""
    epoch = inference.system.number.get() // inference.duty_epoch
    used = worker.quota_used if worker.quota_epoch == epoch else 0
    return WorkerView(
        key=key,
        validator=worker.validator,
        endpoint=text(worker.endpoint),
        models=worker.models,
        capacity=worker.capacity,
        deposit=worker.deposit,
        registered=worker.registered,
        retiring=worker.retiring,
        open_batches=worker.open_batches,
        final_batches=worker.final_batches,
        faults=worker.faults,
        feeless_batches_left=inference.batches_per_epoch - used,
    )
