"""Receipts, vouchers, attestations and openings that are wrong, at every stage of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from node.client.rpc import NodeClient
from node.client.signing import KeyPair, from_uri
from runtime.protocols import merkle, receipt
from runtime.protocols.batch import Entry, leaves, summarise
from runtime.protocols.committee import Attestation, Verdict
from runtime.protocols.ids import RecordId
from runtime.protocols.report import ClusterWeight
from tests.clients.main_job import (
    EVE,
    FERDIE,
    HOT,
    OPEN,
    QUERY,
    WORKER,
    Market,
    answer,
    at_height,
    attest,
    commit_call,
    event_of,
    height,
    in_order,
    openings,
    publish_call,
    receipts_call,
    reveal_call,
    settlement,
    submit_receipts,
    vouch,
)
from tests.e2e.bad_world import goes_on, reason, signed, unharmed

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


class Stranger:
    """Signs duties as it should and submits them, to be told why not."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client

    async def is_told(self, call: bytes, signer: KeyPair = WORKER) -> str:
        nonce = await self._client.nonce(signer.account_id)
        return await reason(self._client, signed(self._client, call, signer, nonce))


def bad_receipts(market: Market) -> dict[str, tuple[bytes, str]]:
    """List what no session settles, and the reason."""
    honest = summarise([answer(market, 1), answer(market, 2)])
    dear = summarise([answer(market, 1, prompt=1000)])
    # Eleven answers below the most that one may cost, together above the escrow.
    many = summarise([answer(market, nonce, prompt=850) for nonce in range(1, 12)])
    ceiling = vouch(market, 11, authorised=1000 * OPEN)
    total = honest.compute + honest.premium

    def clusters(*found: tuple[int, int, int]) -> Any:
        return tuple(ClusterWeight(RecordId(net, record), part) for net, record, part in found)

    def batch(**changed: Any) -> bytes:
        return receipts_call(market, replace(honest, **changed), vouch(market, 2))

    def covered(**changed: Any) -> bytes:
        return receipts_call(market, honest, vouch(market, 2, **changed))

    net, million = market.datanet, 1_000_000
    voucher = "Inference.VoucherRefused"
    totals = "Inference.BadTotals"
    unknown = "Inference.BadClusters"
    zeros = replace(vouch(market, 2), signature=replace(HOT.sign(b""), value=bytes(64)))
    return {
        "forged": (covered(key=EVE), voucher),
        "ed25519 of the key": (covered(key=from_uri("//Eve//voucher", "ed25519")), voucher),
        "zeros": (receipts_call(market, honest, zeros), voucher),
        "other chain": (covered(genesis=bytes(32)), voucher),
        "other session": (covered(session=market.session + 1), voucher),
        "earlier nonce": (receipts_call(market, honest, vouch(market, 1)), voucher),
        "overspent voucher": (covered(authorised=total - 1), voucher),
        "compute one too high": (batch(compute=honest.compute * 2 + 1), totals),
        "premium one too high": (batch(premium=honest.premium + 1), totals),
        "compute in vain": (batch(compute=0), totals),
        "nothing": (batch(count=0), totals),
        "more than its nonces": (batch(count=3), totals),
        "backwards": (batch(first_nonce=2, last_nonce=1), totals),
        "unmatched too high": (batch(unmatched=honest.premium + 1), totals),
        "nonce nought": (batch(first_nonce=0), "Stale"),
        "a request above the most": (receipts_call(market, dear), "Inference.AboveMaxFee"),
        "above the escrow": (receipts_call(market, many, ceiling), "Inference.AboveEscrow"),
        "no clusters": (batch(clusters=()), unknown),
        "unknown Datanet": (batch(clusters=clusters((net + 9, 0, million))), unknown),
        "unknown record": (batch(clusters=clusters((net, 6, million))), unknown),
        "light": (batch(clusters=clusters((net, 0, million - 1))), unknown),
        "twice": (batch(clusters=clusters((net, 0, 500_000), (net, 0, 500_000))), unknown),
        "out of order": (batch(clusters=clusters((net, 0, 1), (net, 1, million - 1))), unknown),
        "unknown session": (receipts_call(market, honest, session=999), "BadSigner"),
    }


async def test_bad_receipts_and_vouchers_are_refused_by_name(
    client: NodeClient, market: Market
) -> None:
    stranger = Stranger(client)
    async with unharmed(client):
        for name, (call, expected) in bad_receipts(market).items():
            assert await stranger.is_told(call) == expected, name
        honest = receipts_call(market, summarise([answer(market, 1)]))
        assert await stranger.is_told(honest, FERDIE) == "BadSigner"
        assert await stranger.is_told(honest, EVE) == "BadSigner"


def priced_wrong(entry: Entry) -> Entry:
    """Return an answer whose receipt counts other tokens than it charges for."""
    given = replace(entry.receipt, prompt_tokens=11, completion_tokens=19)
    assert entry.report is not None
    named = replace(entry.report, receipt_hash=receipt.receipt_hash(given))
    return Entry(given, named)


def weighed_wrong(entry: Entry) -> Entry:
    """Return an answer whose clusters do not follow from its scores."""
    assert entry.report is not None
    first, second = entry.report.clusters
    bent = (replace(first, weight=second.weight), replace(second, weight=first.weight))
    turned = tuple(sorted(bent, key=lambda found: -found.weight))
    return Entry(entry.receipt, replace(entry.report, clusters=turned))


def ranked_wrong(entry: Entry) -> Entry:
    """Return an answer whose records do not stand by their scores."""
    assert entry.report is not None
    return Entry(entry.receipt, replace(entry.report, top=entry.report.top[::-1]))


LIES: dict[str, Callable[[Entry], Entry]] = {
    "Attribution.WrongCost": priced_wrong,
    "Attribution.WrongWeights": weighed_wrong,
    "Attribution.WrongReport": ranked_wrong,
}


async def test_a_batch_is_judged_by_the_book_whatever_strangers_and_liars_send(
    client: NodeClient, market: Market
) -> None:
    stranger = Stranger(client)
    start = await height(client)
    session = await client.storage("Inference", "Sessions", market.session)
    entries = [answer(market, 1), answer(market, 2)]
    batch = await submit_receipts(client, market, entries)
    again = receipts_call(market, summarise(entries))
    assert await stranger.is_told(again) == "Stale", "a receipt is settled once"
    lies = {}
    for nonce, (name, lie) in enumerate(LIES.items(), 3):
        told = [lie(answer(market, nonce))]
        lies[name] = (await submit_receipts(client, market, told), told)
    wrong = [lie_batch for lie_batch, _ in lies.values()]
    early = await stranger.is_told(commit_call(market, 99, attest(2)))
    assert early == "Attribution.NoDuty"
    drawn = await event_of(client, start, "CommitteeDrawn", batch)
    assert drawn.receipts == (0, 1)
    found = attest(2)
    await _before_commits(market, stranger, batch, found)
    for lie_batch in wrong:
        await event_of(client, start, "CommitteeDrawn", lie_batch)
    # At once, lest a window passes meanwhile.
    commits = [commit_call(market, batch, found)]
    commits += [commit_call(market, lie_batch, attest(1)) for lie_batch in wrong]
    await in_order(client, WORKER, *commits)
    assert await stranger.is_told(commits[0]) == "Attribution.AlreadyCommitted"
    last = max(wrong)
    duty = await client.storage("Attribution", "Duties", last)
    await at_height(client, duty.commit_until)
    async with unharmed(client):
        await _bad_reveals(market, stranger, batch, found)
        await _bad_openings(stranger, batch, entries)
        for name, (lie_batch, told) in lies.items():
            call = publish_call(lie_batch, openings(told, (0,)))
            assert await stranger.is_told(call) == name
    opened = publish_call(batch, openings(entries, drawn.receipts))
    await in_order(client, WORKER, reveal_call(batch, found), opened)
    assert await stranger.is_told(reveal_call(batch, found)) == "Attribution.AlreadyRevealed"
    assert await stranger.is_told(opened) == "Attribution.AlreadyOpened"
    await _ends_well(client, market, start, batch, entries, wrong, session)


async def _before_commits(
    market: Market, stranger: Stranger, batch: int, found: Attestation
) -> None:
    commit = commit_call(market, batch, found)
    assert await stranger.is_told(commit, FERDIE) == "Attribution.NotAMember"
    outside = "Attribution.OutsideWindow"
    assert await stranger.is_told(reveal_call(batch, found)) == outside
    assert await stranger.is_told(publish_call(batch, ())) == outside


async def _bad_reveals(market: Market, stranger: Stranger, batch: int, found: Attestation) -> None:
    other = replace(QUERY, codes=QUERY.codes[::-1])
    for wrong in (
        replace(found, salt=bytes(32)),
        replace(found, method=1),
        replace(found, verdicts=(Verdict.OK, Verdict.BAD)),
        replace(found, verdicts=(Verdict.OK,)),
        replace(found, codes=(QUERY, other)),
        replace(found, codes=()),
    ):
        assert await stranger.is_told(reveal_call(batch, wrong)) == "Attribution.WrongReveal"
    right = reveal_call(batch, found)
    assert await stranger.is_told(right, FERDIE) == "Attribution.NotAMember"
    assert await stranger.is_told(reveal_call(99, found)) == "Attribution.NoDuty"
    late = commit_call(market, batch, found)
    assert await stranger.is_told(late) == "Attribution.OutsideWindow"


async def _bad_openings(stranger: Stranger, batch: int, entries: list[Entry]) -> None:
    one, two = openings(entries, (0, 1))
    assert one.report is not None
    opening = "Attribution.WrongOpening"
    dearer = replace(one.receipt, premium=one.receipt.premium * 2)
    own = (replace(one.report, salt=bytes(32)), replace(one.report, clusters=()))
    data = leaves(entries)
    cases = [
        ((one,), "Attribution.WrongShape"),
        ((one, two, two), "Attribution.WrongShape"),
        ((two, one), opening),
        ((one, one), opening),
        ((replace(one, path=()), two), opening),
        ((replace(one, path=two.path), two), opening),
        ((replace(one, path=(merkle.leaf_hash(data[1]),) * 2), two), opening),
        ((replace(one, path=(bytes(32),) * 65), two), opening),
        ((replace(one, receipt=dearer), two), opening),
        ((replace(one, report=None), two), opening),
        *(((replace(one, report=report), two), opening) for report in own),
    ]
    for opened, expected in cases:
        assert await stranger.is_told(publish_call(batch, opened)) == expected, opened
    right = publish_call(batch, (one, two))
    assert await stranger.is_told(right, EVE) == "Attribution.NotExecutor"


async def _ends_well(
    client: NodeClient,
    market: Market,
    start: int,
    batch: int,
    entries: list[Entry],
    lies: list[int],
    before: Any,
) -> None:
    """The honest batch is paid, those of the liar are void and their claims given back."""
    done = await settlement(client, start, batch)
    fee = sum(e.receipt.compute + e.receipt.premium for e in entries)
    assert sum(paid.amount for paid in done.events("Paid")) == fee
    for lie in lies:
        rejected = await event_of(client, start, "Rejected", lie)
        assert rejected.fault
    after = await client.storage("Inference", "Sessions", market.session)
    assert (before.held - after.held, after.settled_total - before.settled_total) == (
        fee + (before.escrow - after.escrow),
        fee,
    )
    worker = await client.storage("Inference", "Workers", WORKER.account_id)
    assert (worker.open_batches, worker.faults) == (0, len(lies))
    async with unharmed(client):
        await goes_on(client)
