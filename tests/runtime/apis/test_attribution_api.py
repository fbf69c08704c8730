from __future__ import annotations

from typing import Any

import pytest
from asking import ask
from dev_chain import ROOT, account
from market import WORKER, answer
from panel import Opinion, Panel

from runtime.apis.attribution import AttributionApi
from runtime.apis.attribution_views import ClusterStanding, PayReason, SeatState
from runtime.frame.origin import Signed
from runtime.pallets.attribution.types import DutyStage
from runtime.pallets.datanets.types import Contributor
from runtime.pallets.inference.types import BatchState
from runtime.protocols.batch import summarise
from runtime.protocols.committee import Verdict
from runtime.protocols.ids import RecordId
from runtime.protocols.settlement import Role

BOB, CHARLIE, DAVE, EVE, FERDIE = (
    account(name) for name in ("Bob", "Charlie", "Dave", "Eve", "Ferdie")
)
FIRST, SECOND = RecordId(0, 1), RecordId(0, 4)
"""The records that shaped the answers: Bob's and Charlie's."""


def report(panel: Panel, batch: int) -> Any:
    return ask(panel.chain, AttributionApi, "attribution", batch)


def why(panel: Panel, batch: int, who: bytes) -> Any:
    return ask(panel.chain, AttributionApi, "why_not_paid", batch, who)


def test_a_report_follows_the_judgement(panel: Panel) -> None:
    batch = panel.submit()
    panel.block()
    assert report(panel, batch).duty is None
    duty = panel.drawn(batch)
    seats = {seat.validator: seat for seat in report(panel, batch).duty.seats}
    assert {seat.state for seat in seats.values()} == {SeatState.WAITING}
    member = duty.seats[0]
    attestation = panel.attestation(duty, Opinion(Verdict.INCONCLUSIVE))
    panel.commit(batch, member, attestation)
    panel.block()
    assert _seat(panel, batch, member).state == SeatState.COMMITTED
    while panel.chain.head.number < duty.commit_until:
        panel.block()
    panel.reveal(batch, member, attestation)
    panel.block()
    seat = _seat(panel, batch, member)
    assert (seat.state, seat.method) == (SeatState.REVEALED, 0)
    assert seat.verdicts == (Verdict.INCONCLUSIVE,) * len(duty.receipts)
    assert report(panel, batch).duty.opened is False
    panel.publish(batch)
    panel.block()
    assert report(panel, batch).duty.opened is True


def _seat(panel: Panel, batch: int, validator: bytes) -> Any:
    (seat,) = (s for s in report(panel, batch).duty.seats if s.validator == validator)
    return seat


def test_what_a_settlement_will_pay_is_what_it_pays(panel: Panel) -> None:
    batch = panel.submit()
    panel.judge(batch, {})
    found = report(panel, batch)
    assert found.duty.stage == DutyStage.DISPUTE
    made = panel.settled(batch)
    paid = [(p.role, p.account, p.datanet, p.amount) for p in made.named("Paid")]
    assert [(p.role, p.account, p.datanet, p.amount) for p in found.expected] == paid
    assert paid
    after = report(panel, batch)
    assert (after.expected, after.batch.state) == ((), BatchState.SETTLED)


def test_a_judgement_that_is_over_says_nothing_against_its_members(panel: Panel) -> None:
    batch = panel.submit()
    panel.judge(batch, {})
    during = report(panel, batch).duty
    assert during.opened is True
    assert {seat.state for seat in during.seats} == {SeatState.REVEALED}
    panel.settled(batch)
    after = report(panel, batch).duty
    assert after.opened is None
    assert [s.validator for s in after.seats] == [s.validator for s in during.seats]
    assert {(s.state, s.method, s.verdicts) for s in after.seats} == {(SeatState.PAST, None, None)}


def test_clusters_name_their_records_and_contributors(panel: Panel) -> None:
    batch = panel.submit()
    panel.block()
    found = report(panel, batch)
    assert [(c.datanet, c.record, c.contributor, c.standing) for c in found.clusters] == [
        (0, 1, BOB, ClusterStanding.PAYABLE),
        (0, 4, CHARLIE, ClusterStanding.PAYABLE),
    ]
    assert sum(cluster.weight for cluster in found.clusters) == 1_000_000
    assert (found.customer, found.model, found.model_name) == (EVE, 0, "m")


def test_who_has_clusters_is_pending_then_paid(panel: Panel) -> None:
    batch = panel.submit()
    panel.judge(batch, {})
    before = why(panel, batch, BOB)
    assert (before.reason, [c.record for c in before.clusters]) == (PayReason.PENDING, [1])
    panel.settled(batch)
    assert why(panel, batch, BOB).reason == PayReason.PAID


def test_a_void_batch_pays_nobody(panel: Panel) -> None:
    batch = panel.submit()
    panel.judge(batch, {}, opens=False)
    assert report(panel, batch).batch.state == BatchState.VOID
    assert why(panel, batch, BOB).reason == PayReason.BATCH_VOID


def test_a_cluster_that_proved_to_be_a_copy_pays_nothing(panel: Panel) -> None:
    batch = panel.submit()
    panel.chain.runtime.datanets.clusters.insert(SECOND, FIRST)
    panel.block()
    found = why(panel, batch, CHARLIE)
    assert (found.reason, found.clusters[0].standing) == (PayReason.COPY, ClusterStanding.COPY)
    assert why(panel, batch, BOB).reason == PayReason.PENDING


def test_a_delisted_datanet_pays_nothing(panel: Panel) -> None:
    batch = panel.submit()
    panel.chain.call(ROOT, "Datanets", "force_delist", datanet=0)
    panel.block()
    assert why(panel, batch, BOB).reason == PayReason.DELISTED


def test_who_contributed_nothing_has_no_records(panel: Panel) -> None:
    batch = panel.submit()
    panel.block()
    found = why(panel, batch, FERDIE)
    assert (found.reason, found.clusters) == (PayReason.NO_RECORDS, ())
    assert found.text == (
        "No record of the account was accepted by the Datanets that the model is trained on."
    )


def test_who_contributed_after_the_version_came_too_late(panel: Panel) -> None:
    contribute(panel, "Ferdie")
    batch = panel.submit()
    panel.block()
    assert why(panel, batch, FERDIE).reason == PayReason.TOO_LATE


def test_copies_alone_are_named_as_such(panel: Panel) -> None:
    contribute(panel, "Ferdie")
    contributors = panel.chain.runtime.datanets.contributors
    contributors.insert(0, FERDIE, Contributor(2, 0, 2))
    batch = panel.submit()
    panel.block()
    assert why(panel, batch, FERDIE).reason == PayReason.ONLY_COPIES


def test_records_without_influence_are_told_from_answers_without_any(panel: Panel) -> None:
    contribute(panel, "Ferdie")
    contributors = panel.chain.runtime.datanets.contributors
    contributors.insert(0, FERDIE, Contributor(3, 0, 0))  # one of them in the version
    batch, unmatched = panel.submit(), submit_unmatched(panel)
    panel.block()
    assert why(panel, batch, FERDIE).reason == PayReason.NO_INFLUENCE
    assert why(panel, unmatched, FERDIE).reason == PayReason.NOTHING_MATCHED
    assert why(panel, unmatched, BOB).reason == PayReason.NOTHING_MATCHED
    assert why(panel, unmatched, EVE).other_roles == (Role.REFUND,)


def test_other_parts_of_the_fee_are_named(panel: Panel) -> None:
    batch = panel.submit()
    duty = panel.drawn(batch)
    assert why(panel, batch, account("Alice")).other_roles == (Role.EXECUTOR,)
    assert why(panel, batch, DAVE).other_roles == (Role.OWNER,)
    assert why(panel, batch, duty.seats[0]).other_roles == (Role.COMMITTEE,)


def test_unknown_batches_have_no_report(panel: Panel) -> None:
    panel.block()
    assert report(panel, 0) is None
    assert why(panel, 0, BOB) is None
    assert ask(panel.chain, AttributionApi, "attribution_method", 0).name == "ekw-q fp32"
    assert ask(panel.chain, AttributionApi, "attribution_method", 9) is None


@pytest.fixture
def panel() -> Panel:
    return Panel()


def contribute(panel: Panel, who: str) -> None:
    """Have two records accepted after the version that the model is trained on."""
    panel.chain.call(
        who,
        "Datanets",
        "submit_batch",
        datanet=0,
        sub_root=bytes(32),
        count=2,
        bytes_=9,
        blob=bytes([77]) * 32,
        licence=b"MIT",
        bond=0,
    )
    panel.chain.call("Dave", "Datanets", "accept", datanet=0, batch=2)


def submit_unmatched(panel: Panel) -> int:
    inference = panel.chain.runtime.inference
    nonce = inference.sessions[0].settled_nonce + 1
    batch: int = inference.next_batch.get()
    panel.chain.call(
        Signed(WORKER.account_id),
        "Inference",
        "submit_receipts",
        session=0,
        batch=summarise([answer(panel.genesis, 0, nonce, 20, False)]),
        voucher=panel.voucher(nonce),
    )
    return batch
