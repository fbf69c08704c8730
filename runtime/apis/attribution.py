"""`AttributionApi`: how batches of receipts were judged, and whom they pay."""

from __future__ import annotations

from runtime.apis.attribution_views import (
    AttributionView,
    DutyView,
    MethodView,
    PayAnswer,
    SeatState,
    SeatView,
)
from runtime.apis.base import StateApi
from runtime.apis.paging import text
from runtime.apis.pay_reasons import cluster_views, pay_answer
from runtime.apis.sessions import receipt_row
from runtime.frame.runtime_api import api_method
from runtime.pallets.attribution.types import Duty, DutyStage
from runtime.pallets.inference.events import Paid
from runtime.primitives.errors import DispatchFailure, Refusal
from runtime.primitives.scale import U16
from runtime.primitives.types import AccountId
from runtime.protocols.ids import BatchId
from runtime.protocols.settlement import Payment


class AttributionApi(StateApi, version=1):
    """Attribution as an explorer shows it: committees, clusters, payments and reasons."""

    @api_method
    def attribution(self, batch: BatchId) -> AttributionView | None:
        """Return a batch's report: judgement, clusters and payments; none for an unknown batch.

        What a settled batch paid is not kept in the state: it stands in the `Inference.Paid`
        events of the block that settled it. Nor is what the committee did, once it is over: the
        seats of such a batch are `Past`.
        """
        inference = self.runtime.inference
        found = inference.batches.get(batch)
        if found is None:
            return None
        session = inference.session(found.session)
        duty = self.runtime.attribution.duties.get(batch)
        disputable = duty is not None and duty.stage == DutyStage.DISPUTE
        return AttributionView(
            batch=receipt_row(batch, found),
            root=found.summary.root,
            customer=session.customer,
            model=session.model,
            model_name=text(self.runtime.models.model(session.model).name),
            duty=None if duty is None else self._duty(batch, duty),
            failed_draws=self.runtime.attribution.draws[batch],
            clusters=cluster_views(self.runtime, found),
            expected=self._expected(batch) if disputable else (),
        )

    @api_method
    def why_not_paid(self, batch: BatchId, account: AccountId) -> PayAnswer | None:
        """Tell why an account is or is not paid as a contributor; none for an unknown batch."""
        found = self.runtime.inference.batches.get(batch)
        return None if found is None else pay_answer(self.runtime, batch, found, account)

    @api_method
    def attribution_method(self, method: U16) -> MethodView | None:
        """Return an admitted way of attributing; none where the number is not admitted."""
        found = self.runtime.attribution.methods.get(method)
        return None if found is None else MethodView(method, text(found.name), found.tolerance)

    def _duty(self, batch: int, duty: Duty) -> DutyView:
        return DutyView(
            stage=duty.stage,
            audited=duty.audited,
            self_attested=duty.self_attested,
            seats=tuple(self._seat(batch, duty, seat) for seat in duty.seats),
            receipts=duty.receipts,
            opened=self._opened(batch, duty),
            commit_until=duty.commit_until,
            reveal_until=duty.reveal_until,
            final_at=duty.final_at,
        )

    def _opened(self, batch: int, duty: Duty) -> bool | None:
        if not duty.audited or duty.stage == DutyStage.CLOSED:
            return None
        return batch in self.runtime.attribution.opened

    def _seat(self, batch: int, duty: Duty, validator: bytes) -> SeatView:
        judged = self.runtime.attribution
        revealed = judged.reveals.get(batch, validator)
        if revealed is not None:
            return SeatView(validator, SeatState.REVEALED, revealed.method, revealed.verdicts)
        state = SeatState.WAITING
        if duty.stage == DutyStage.CLOSED:
            state = SeatState.PAST
        elif (batch, validator) in judged.commits:
            state = SeatState.COMMITTED
        return SeatView(validator, state, None, None)

    def _expected(self, batch: int) -> tuple[Payment, ...]:
        """Settle the batch on a state that is dropped, and read what that paid."""
        host = self.runtime.host
        mark = len(host.events)
        try:
            self.runtime.inference.settle_final(batch)
        except (DispatchFailure, Refusal):
            return ()
        paid = [record for *_, record in host.events[mark:] if isinstance(record, Paid)]
        return tuple(Payment(p.role, p.account, p.datanet, p.amount) for p in paid)
