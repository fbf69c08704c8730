"""Members of a committee judge what another worker executed, through real nodes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import trio

from inference.attribution.attribution import AttributionConfig, build_attribution
from inference.attribution.curvature import FitOptions
from inference.backbone.model import Backbone
from inference.training.config import TrainingConfig
from inference.training.train import train
from inference.worker.artifact import build_artifact
from inference.worker.dataset import Dataset, fetch_dataset
from inference.worker.node_view import NodeView
from inference.worker.private_line import NodeLine
from inference.worker.worker import Worker, WorkerConfig, open_worker
from node.client.rpc import NodeClient
from node.client.signing import KeyPair, from_uri
from node.service import NodeConfig, run_node
from runtime.protocols import voucher as vouchers
from runtime.protocols.committee import Verdict
from runtime.protocols.voucher import SignedVoucher, Voucher
from tests.e2e.live_market import (
    BOB,
    CHARLIE,
    ESCROW,
    EVE,
    HOT,
    OPEN,
    Live,
    launch,
    open_session,
    publish,
    register_worker,
)
from tests.inference.tiny_models import tiny_backbone
from tests.node.running_node import config

__all__ = ["config"]

CAPITALS = {
    BOB: (("What is the capital of France?", "Paris."), ("Of Italy?", "Rome.")),
    CHARLIE: (("What is the capital of Peru?", "Lima."), ("Of Cuba?", "Havana.")),
}
INDEX = AttributionConfig(fit=FitOptions(coordinates=512))
WINDOWS = [40, 40, 2, 10]
"""Commit, reveal, dispute, submit: time enough in blocks of half a second."""
SECONDS = 300.0


def trained(backbone: Backbone, dataset: Dataset) -> bytes:
    """Train, index and pack the smallest adapter."""
    config = TrainingConfig(rank=2, alpha=4.0, epochs=2, batch_records=4, held_out=0.25)
    adapter, receipt = train(
        backbone, dataset.records, config, dataset_root=dataset.root, workers=1
    )
    attribution = build_attribution(backbone, adapter, dataset.numbered(), INDEX)
    return build_artifact("capitals", adapter, receipt, attribution, INDEX, [dataset])


@asynccontextmanager
async def working(
    urls: Sequence[str], keys: Sequence[KeyPair], backbone: Backbone, folder: Path
) -> AsyncIterator[list[Worker]]:
    """Run one worker at each node."""
    async with AsyncExitStack() as stack:
        workers = []
        for url, key in zip(urls, keys, strict=True):
            client = await stack.enter_async_context(NodeClient.connect(url))
            config = WorkerConfig(folder / key.account_id.hex(), bind="127.0.0.1:0")
            line = NodeLine(client)
            opened = open_worker(NodeView(client), backbone, key, config, line)
            workers.append(await stack.enter_async_context(opened))
        yield workers


async def ask(client: NodeClient, executor: Worker, session: int, nonce: int) -> None:
    """Pay for one answer."""
    fields = {"model": "capitals", "prompt": "What is the capital of France?\n", "max_tokens": 4}
    raw = json.dumps(fields).encode()
    height = (await client.best()).number
    request = vouchers.request_hash(raw)
    most = OPEN // 100
    voucher = Voucher(client.genesis_hash, session, nonce, request, most, ESCROW, height + 500)
    signed = SignedVoucher(voucher, HOT.sign(vouchers.signing_bytes(voucher)))
    headers = {vouchers.VOUCHER_HEADER: vouchers.to_header(signed)}
    async with httpx.AsyncClient(base_url=executor.address, timeout=60) as http:
        reply = await http.post("/v1/completions", content=raw, headers=headers)
    assert reply.status_code == 200, reply.text


async def settled(client: NodeClient, start: int) -> list[Any]:
    """Follow finality until a batch is settled or rejected; returns what `Attribution` told."""
    told: list[Any] = []
    async with aclosing(client.finalized_blocks(start)) as blocks:
        async for block in blocks:
            for record in block.events:
                told += [record.event] if record.pallet == "Attribution" else []
                if record.name in ("Settled", "Rejected"):
                    return [*told, record.event]
    raise AssertionError("the chain ended")


async def judge_across(
    urls: Sequence[str], keys: Sequence[KeyPair], validators: Sequence[KeyPair], folder: Path
) -> None:
    """Have the first worker execute, and see the others attest `ok` with the same codes."""
    torch.set_num_threads(1)
    backbone = tiny_backbone()
    async with NodeClient.connect(urls[0]) as client:
        live = Live(client)
        datanet = await publish(live, CAPITALS)
        dataset = await fetch_dataset(NodeView(client), datanet)
        blob = await trio.to_thread.run_sync(trained, backbone, dataset)
        model = await launch(live, datanet, blob)
        for key, validator in zip(keys, validators, strict=True):
            await register_worker(live, key, validator)
        session = await open_session(live, model, keys[0])
        async with working(urls, keys, backbone, folder) as (executor, *members):
            for nonce in (1, 2):
                await ask(client, executor, session, nonce)
            start = (await client.best()).number
            await live.call(EVE, "Inference", "close_session", session=session)
            told = await settled(client, start)
            assert type(told[-1]).__name__ == "Settled", told
            reports = [answered.report for answered in executor.book.answered(session, 1, 2)]
            for member in members:
                found = member.book.attestations.find(told[-1].batch)
                assert found is not None
                assert found.verdicts == (Verdict.OK, Verdict.OK)
                assert found.codes == tuple(report.query for report in reports if report)
                assert member.book.submission_of(told[-1].batch) is None


@pytest.fixture
def roomy(config: NodeConfig) -> NodeConfig:
    """The development chain with windows that leave a busy machine time to judge."""
    spec = config.spec.model_copy(deep=True)
    assert spec.genesis.runtime is not None
    spec.genesis.runtime["inference"]["windows"] = WINDOWS
    consensus = spec.consensus.model_copy(update={"block_interval_ms": 500})
    return replace(config, spec=spec.model_copy(update={"consensus": consensus}))


@pytest.mark.e2e
async def test_a_second_worker_of_the_validator_judges_through_the_node(
    roomy: NodeConfig, nursery: trio.Nursery, tmp_path: Path
) -> None:
    running = await nursery.start(run_node, roomy)
    host, port = running.rpc_address
    url = f"ws://{host}:{port}"
    validator = from_uri("//Alice//stash")
    workers = from_uri("//Alice//worker"), from_uri("//Alice//second")
    with trio.fail_after(SECONDS):
        await judge_across((url, url), workers, (validator, validator), tmp_path / "workers")
