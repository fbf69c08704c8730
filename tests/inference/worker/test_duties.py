"""The worker's duties on the real runtime: from paid answers to settled fees, through restarts."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import trio
from memory_chain import MemoryChain, rested
from paid_world import (
    BOB,
    CHARLIE,
    DAVE,
    EVE,
    OPEN,
    PRICE,
    WORKER,
    contribute,
    flag_copy,
    launch,
    new_chain,
    open_session,
    register,
    train_artifact,
    vouch,
)
from served import Served

from inference.backbone.model import Backbone
from inference.worker.dataset import fetch_dataset
from inference.worker.evidence import Evidence
from inference.worker.judging import judge
from inference.worker.submitting import SubmissionPolicy
from inference.worker.worker import Worker, WorkerConfig, open_worker
from runtime.pallets.inference.types import BatchState
from runtime.primitives.keys import ss58_encode
from runtime.protocols import voucher as vouchers
from runtime.protocols.batch import summarise
from runtime.protocols.committee import Verdict
from runtime.protocols.ids import RecordId
from runtime.protocols.price import cost
from runtime.protocols.receipt import SignedReceipt, response_hash, signing_bytes

COUNTRIES = ("France", "Peru", "Italy", "Cuba", "Spain", "Chile", "Norway", "Egypt")


def body(country: str) -> bytes:
    fields = {"model": "capitals", "prompt": f"What is the capital of {country}?\n"}
    return json.dumps(fields | {"max_tokens": 4, "temperature": 0}).encode()


async def ask(client: httpx.AsyncClient, chain: MemoryChain, country: str, nonce: int) -> Any:
    raw = body(country)
    reply = await client.post(
        "/v1/completions",
        content=raw,
        headers={vouchers.VOUCHER_HEADER: vouch(chain, raw, nonce)},
    )
    assert reply.status_code == 200, reply.text
    return reply.json()


async def advance(chain: MemoryChain, worker: Worker, *until: str) -> None:
    """Make blocks as the worker's duties keep up, until an event has happened."""
    await rested(worker)
    for _ in range(120):
        if chain.named(*until):
            return
        chain.block()
        await rested(worker)
    raise AssertionError(f"no {until} in 120 blocks")


def clusters(worker: Worker) -> set[RecordId]:
    """Return all clusters that the reports of the first session name."""
    kept = worker.book.answered(0, 1, 100)
    return {entry.cluster for answered in kept for entry in answered.report.clusters}


async def attributed(worker: Worker) -> None:
    with trio.fail_after(300):
        while worker.book.unattributed(1):
            await trio.sleep(0.05)


@asynccontextmanager
async def running(chain: MemoryChain, backbone: Backbone, folder: Path, **changes: Any) -> Any:
    config = WorkerConfig(folder, bind="127.0.0.1:0", **changes)
    async with (
        open_worker(chain, backbone, WORKER, config) as worker,
        httpx.AsyncClient(base_url=worker.address, timeout=300) as client,
    ):
        yield Served(worker, client)


async def test_answers_are_attributed_submitted_attested_and_paid_to_contributors(
    served: Served, chain: MemoryChain
) -> None:
    told = [await ask(served.client, chain, c, n) for n, c in ((1, "France"), (2, "Peru"))]
    await attributed(served.worker)
    path = told[0]["openledger"]["attribution_path"]
    shown = (await served.client.get(path)).json()
    assert shown["status"] == "done"
    assert sum(w["weight_ppm"] for w in shown["weights"]) == 1_000_000
    contributors = {ss58_encode(p.account_id) for p in (BOB, CHARLIE)}
    assert {top["contributor"] for top in shown["top"]} <= contributors
    for top in shown["top"]:
        assert sum(int(part) for part in top["fields"].values()) == int(top["score"])
    chain.call(EVE, "Inference", "close_session", session=0)
    await advance(chain, served.worker, "Inference", "Settled")
    settled = chain.named("Inference", "Settled")
    due = [
        cost(PRICE, t["usage"]["prompt_tokens"], t["usage"]["completion_tokens"]).total()
        for t in told
    ]
    assert [s.compute + s.premium for s in settled] == [sum(due)]
    paid = [p for p in chain.named("Inference", "Paid") if p.role.name == "CONTRIBUTOR"]
    assert {p.account for p in paid} <= {BOB.account_id, CHARLIE.account_id}
    assert sum(p.amount for p in paid) > 0
    assert [d.self_attested for d in chain.named("Attribution", "CommitteeDrawn")] == [True]
    assert not chain.named("Attribution", "Rejected")


async def test_a_batch_sums_what_its_receipts_say(served: Served, chain: MemoryChain) -> None:
    for nonce, country in enumerate(("France", "Peru", "Cuba"), 1):
        await ask(served.client, chain, country, nonce)
    await attributed(served.worker)
    entries = [answered.entry() for answered in served.worker.book.answered(0, 1, 3)]
    chain.call(EVE, "Inference", "close_session", session=0)
    await advance(chain, served.worker, "Inference", "ReceiptsSubmitted")
    assert chain.runtime.inference.batches[0].summary == summarise(entries)


async def test_duties_go_on_after_every_restart(
    chain: MemoryChain, backbone: Backbone, tmp_path: Path
) -> None:
    async with running(chain, backbone, tmp_path) as served:
        await ask(served.client, chain, "France", 1)
    chain.call(EVE, "Inference", "close_session", session=0)
    for event in (
        ("Inference", "ReceiptsSubmitted"),
        ("Attribution", "Committed"),
        ("Attribution", "Opened"),
        ("Inference", "Settled"),
    ):
        async with running(chain, backbone, tmp_path) as served:
            await advance(chain, served.worker, *event)
    assert chain.runtime.inference.batches[0].state == BatchState.SETTLED
    assert len(chain.named("Inference", "ReceiptsSubmitted")) == 1


async def test_a_crash_between_submission_and_note_does_not_submit_twice(
    chain: MemoryChain, backbone: Backbone, tmp_path: Path
) -> None:
    async with running(chain, backbone, tmp_path) as served:
        await ask(served.client, chain, "France", 1)
        await attributed(served.worker)
        chain.call(EVE, "Inference", "close_session", session=0)
        await advance(chain, served.worker, "Inference", "ReceiptsSubmitted")
        await rested(served.worker)
        with served.worker.book._file.transaction() as rows:
            rows.execute("UPDATE submissions SET chain_batch = NULL")
    async with running(chain, backbone, tmp_path) as served:
        await advance(chain, served.worker, "Inference", "Settled")
    assert len(chain.named("Inference", "ReceiptsSubmitted")) == 1


async def test_an_open_session_submits_at_its_count(
    chain: MemoryChain, backbone: Backbone, tmp_path: Path
) -> None:
    policy = SubmissionPolicy(receipts=2, blocks=1000)
    async with running(chain, backbone, tmp_path, policy=policy) as served:
        await ask(served.client, chain, "France", 1)
        await attributed(served.worker)
        for _ in range(3):
            chain.block()
            await rested(served.worker)
        assert not chain.named("Inference", "ReceiptsSubmitted")
        await ask(served.client, chain, "Italy", 2)
        await attributed(served.worker)
        await advance(chain, served.worker, "Inference", "ReceiptsSubmitted")
        assert chain.named("Inference", "ReceiptsSubmitted")[0].count == 2
        await ask(served.client, chain, "Spain", 3)


async def test_a_judge_confirms_the_answer_and_detects_any_other(
    served: Served, chain: MemoryChain, backbone: Backbone
) -> None:
    await ask(served.client, chain, "France", 1)
    await attributed(served.worker)
    worker = served.worker
    answered = worker.book.answered(0, 1, 1)[0]
    evidence = Evidence(
        answered.signed,
        *worker.book.voucher(0, 1),
        answered.output_ids,
        answered.trace,
        answered.engine,
    )
    session = chain.runtime.inference.sessions[0]
    model = await worker.library.model(0)

    def verdict(**changes: Any) -> Verdict:
        changed = replace(evidence, **changes)
        return judge(changed, session, model, worker.device, worker.room.store)[0]

    found, code = judge(evidence, session, model, worker.device, worker.room.store)
    assert found is Verdict.OK
    assert code == answered.report.query
    ids = answered.output_ids
    assert verdict(output_ids=((ids[0] + 1) % 256, *ids[1:])) is Verdict.BAD
    forged = replace(answered.signed.receipt, logits_digest=bytes(32))
    assert verdict(signed=replace(answered.signed, receipt=forged)) is Verdict.BAD
    assert verdict(trace=replace(answered.trace, logits=bytes(32))) is Verdict.BAD
    assert verdict(engine=answered.engine + b" ") is Verdict.BAD
    assert verdict(body=body("Peru")) is Verdict.BAD
    voucher = replace(evidence.voucher.voucher, max_fee=2 * OPEN)
    assert verdict(voucher=replace(evidence.voucher, voucher=voucher)) is Verdict.BAD


async def test_an_executor_that_signs_another_output_is_found_out(
    served: Served, chain: MemoryChain, backbone: Backbone
) -> None:
    """The receipt is consistent; only the replay can tell that the model never said so."""
    await ask(served.client, chain, "France", 1)
    worker = served.worker
    answered = worker.book.answered(0, 1, 1)[0]
    model = await worker.library.model(0)
    output = tuple((token + 1) % 256 for token in answered.output_ids)
    receipt = replace(answered.signed.receipt, response_hash=response_hash(output))
    signed = SignedReceipt(receipt, WORKER.sign(signing_bytes(receipt)))
    lie = Evidence(signed, *worker.book.voucher(0, 1), output, answered.trace, answered.engine)
    session = chain.runtime.inference.sessions[0]
    found = judge(lie, session, model, worker.device, worker.room.store)
    assert found[0] is Verdict.BAD


async def test_a_record_that_proves_to_be_a_copy_hands_its_weight_to_the_original(
    backbone: Backbone, tmp_path: Path
) -> None:
    chain = new_chain()
    contribute(chain, CHARLIE, (("What is the capital  of FRANCE?", "Paris."),))
    chain.call(DAVE, "Datanets", "publish_version", datanet=0)
    dataset = await fetch_dataset(chain, 0)
    launch(chain, train_artifact(backbone, dataset).blob, version=1)
    register(chain)
    open_session(chain)
    copy, original = RecordId(0, 8), RecordId(0, 0)
    async with running(chain, backbone, tmp_path) as served:
        for nonce, country in enumerate(COUNTRIES, 1):
            await ask(served.client, chain, country, nonce)
        await attributed(served.worker)
        assert copy in clusters(served.worker)
        flag_copy(chain)
        assert chain.runtime.datanets.clusters.get(copy) == original
        chain.call(EVE, "Inference", "close_session", session=0)
        await advance(chain, served.worker, "Inference", "Settled")
        assert copy not in clusters(served.worker)
        assert original in clusters(served.worker)
    assert not chain.named("Attribution", "Rejected")
