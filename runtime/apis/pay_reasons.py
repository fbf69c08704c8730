"""Why an account is or is not paid as a contributor for a batch of receipts."""

from __future__ import annotations

from runtime.apis.attribution_views import (
    ClusterStanding,
    ClusterView,
    PayAnswer,
    PayReason,
)
from runtime.construct import Runtime
from runtime.frame.documentation import member_docs
from runtime.pallets.inference.types import Batch, BatchState
from runtime.pallets.models.types import DatanetVersion, Model
from runtime.protocols.settlement import Role

MOST_LATER_BATCHES = 128
"""Batches accepted after a version that are looked through for an account's."""


def pay_answer(runtime: Runtime, number: int, batch: Batch, account: bytes) -> PayAnswer:
    """Find the reason, the clusters of the account and its other parts in the fee."""
    own = tuple(view for view in cluster_views(runtime, batch) if view.contributor == account)
    reason = _reason(runtime, batch, account, own)
    return PayAnswer(
        batch=number,
        account=account,
        reason=reason,
        text=member_docs(PayReason)[reason.name].replace("\n", " "),
        clusters=own,
        other_roles=_other_roles(runtime, number, batch, account),
    )


def cluster_views(runtime: Runtime, batch: Batch) -> tuple[ClusterView, ...]:
    """Show the clusters that a batch pays, heaviest first."""
    nets = runtime.datanets
    views = []
    for entry in batch.summary.clusters:
        cluster = entry.cluster
        standing = ClusterStanding.PAYABLE
        if nets.canonical(cluster) != cluster:
            standing = ClusterStanding.COPY
        elif not nets.pays(cluster.datanet):
            standing = ClusterStanding.DELISTED
        views.append(
            ClusterView(
                datanet=cluster.datanet,
                record=cluster.record,
                weight=entry.weight,
                contributor=nets.contributor_of(cluster),
                standing=standing,
            )
        )
    return tuple(views)


def _reason(
    runtime: Runtime, batch: Batch, account: bytes, own: tuple[ClusterView, ...]
) -> PayReason:
    if batch.state == BatchState.VOID:
        return PayReason.BATCH_VOID
    standings = [view.standing for view in own]
    if ClusterStanding.PAYABLE in standings:
        settled = batch.state == BatchState.SETTLED
        return PayReason.PAID if settled else PayReason.PENDING
    if ClusterStanding.COPY in standings:
        return PayReason.COPY
    if standings:
        return PayReason.DELISTED
    model = runtime.models.model(runtime.inference.session(batch.session).model)
    absent = _absent_from(runtime, model, account)
    if absent is not None:
        return absent
    nothing = batch.summary.unmatched == batch.summary.premium
    return PayReason.NOTHING_MATCHED if nothing else PayReason.NO_INFLUENCE


def _absent_from(runtime: Runtime, model: Model, account: bytes) -> PayReason | None:
    """Tell why none of an account's records could shape a model; None where some could."""
    nets = runtime.datanets
    found = [(used, nets.contributors.get(used.datanet, account)) for used in model.datanets]
    held = [(used, part) for used, part in found if part is not None and part.records]
    if not held:
        return PayReason.NO_RECORDS
    if all(part.redundant >= part.records for _, part in held):
        return PayReason.ONLY_COPIES
    if all(_later_records(runtime, used, account) >= part.records for used, part in held):
        return PayReason.TOO_LATE
    return None


def _later_records(runtime: Runtime, used: DatanetVersion, account: bytes) -> int:
    """Count an account's records accepted after a version; 0 where that were too long a search."""
    nets = runtime.datanets
    frozen = nets.versions[used.datanet, used.version].batches
    size = nets.datanets[used.datanet].range.size
    if size - frozen > MOST_LATER_BATCHES:
        return 0
    later = 0
    for position in range(frozen, size):
        batch = nets.batches[used.datanet, nets.accepted[used.datanet, position]]
        later += batch.count if batch.contributor == account else 0
    return later


def _other_roles(runtime: Runtime, number: int, batch: Batch, account: bytes) -> tuple[Role, ...]:
    inference = runtime.inference
    session = inference.session(batch.session)
    model = runtime.models.model(session.model)
    worker = inference.workers.get(batch.executor)
    duty = runtime.attribution.duties.get(number)
    royalties = runtime.models.royalties(session.model)
    holds = {
        Role.EXECUTOR: worker is not None and worker.validator == account,
        Role.COMMITTEE: duty is not None and account in duty.seats,
        Role.OWNER: model.owner == account,
        Role.LINEAGE: any(royalty.account == account for royalty in royalties),
        Role.BACKERS: any(backer.account == account for backer in model.backers),
        Role.REFUND: session.customer == account and batch.summary.unmatched > 0,
    }
    return tuple(role for role, held in holds.items() if held)
