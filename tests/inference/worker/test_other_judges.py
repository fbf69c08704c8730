"""Two workers of two validators at two nodes: what one executed, the other judges."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from memory_chain import MemoryChain, rested
from nacl.public import PrivateKey
from paid_world import (
    EVE,
    WORKER,
    Trained,
    launch,
    new_chain,
    open_session,
    register,
    vouch,
)

from inference.backbone.model import Backbone
from inference.worker.evidence import Material, is_of, seal, unseal
from inference.worker.gathering import LEAST_MISSES
from inference.worker.private_line import NodeLine
from inference.worker.worker import Worker, WorkerConfig, open_worker
from node.client.material import MaterialReason, MaterialRefusal, MaterialRequest, sign_request
from node.client.rpc import NodeClient
from node.client.signing import from_uri
from node.committee_gate import CommitteeGate
from node.private_exchange import PrivateExchange
from runtime.pallets.inference.types import BatchState
from runtime.primitives.scale import encode
from runtime.protocols import voucher as vouchers
from runtime.protocols.committee import Verdict
from runtime.protocols.receipt import response_hash, signing_bytes
from tests.node.committee_world import Node, libp2p_line, open_door
from tests.patience import PATIENCE

FERDIE = from_uri("//Ferdie")
MEMBER = from_uri("//Ferdie//worker")
SECRET = "What is the capital of France?"


@dataclass
class Pair:
    """The executor's worker and the member's, each at a node of its own."""

    chain: MemoryChain
    executor: Worker
    member: Worker
    exchanges: Sequence[PrivateExchange]
    nodes: Sequence[Node] = ()
    """The links between the two, where they are not real ones."""
    enough: Callable[[], bool] = lambda: False
    """Tells that the member's search, which only further blocks end, has gone on long enough."""
    misses: int = 0
    """How often the member was told in vain."""

    def __post_init__(self) -> None:
        gathering = self.member.committee._gathering
        ask = gathering._ask

        async def noted(found: Any, *asked: Any) -> Any:
            evidence = await ask(found, *asked)
            self.misses = found.misses
            return evidence

        gathering._ask = noted  # type: ignore[method-assign]

    async def ask(self, nonce: int = 1) -> None:
        """Have one paid answer."""
        fields = {"model": "capitals", "prompt": f"{SECRET}\n", "max_tokens": 4}
        raw = json.dumps(fields).encode()
        headers = {vouchers.VOUCHER_HEADER: vouch(self.chain, raw, nonce)}
        async with httpx.AsyncClient(base_url=self.executor.address, timeout=300) as client:
            reply = await client.post("/v1/completions", content=raw, headers=headers)
        assert reply.status_code == 200, reply.text

    async def until(self, pallet: str, name: str) -> Any:
        """Make blocks as the workers keep up, until an event has happened."""
        workers = self.executor, self.member
        await rested(*workers, enough=self.enough)
        for _ in range(120):
            if found := self.chain.named(pallet, name):
                return found[-1]
            self.chain.block()
            await rested(*workers, enough=self.enough)
        raise AssertionError(f"no {name}")

    async def attested(self) -> tuple[Verdict, ...]:
        """Close the session and return what the member reveals."""
        self.chain.call(EVE, "Inference", "close_session", session=0)
        await self.until("Attribution", "Revealed")
        reveals = self.chain.runtime.attribution.reveals
        (attestation,) = [found for _, found in reveals.items_under(0)]
        verdicts: tuple[Verdict, ...] = attestation.verdicts
        return verdicts


@pytest.fixture
async def pair(
    request: pytest.FixtureRequest,
    trained: Trained,
    backbone: Backbone,
    tmp_path: Path,
    nursery: trio.Nursery,
) -> AsyncIterator[Pair]:
    chain = new_chain(FERDIE)
    launch(chain, trained.blob)
    register(chain)
    register(chain, MEMBER, FERDIE)
    open_session(chain)
    names = "executor", "member"
    nodes: tuple[Node, ...] = ()
    if getattr(request, "param", "linked") == "libp2p":
        gate = CommitteeGate(chain)
        line = await libp2p_line(tmp_path, chain.genesis, nursery, *names)
        exchanges = [PrivateExchange(gate, network) for network in line]
    else:
        nodes = tuple(Node(name, chain) for name in names)
        nodes[0].link(nodes[1])
        exchanges = [node.exchange for node in nodes]
    workers = []
    async with AsyncExitStack() as stack:
        for exchange, key in zip(exchanges, (WORKER, MEMBER), strict=True):
            url = await open_door(exchange, nursery)
            client = await stack.enter_async_context(NodeClient.connect(url))
            config = WorkerConfig(tmp_path / key.public.hex(), bind="127.0.0.1:0")
            opened = open_worker(chain, backbone, key, config, NodeLine(client))
            workers.append(await stack.enter_async_context(opened))
        with trio.fail_after(PATIENCE):
            while not all(len(exchange.inboxes) for exchange in exchanges):
                await trio.sleep(0.01)
        yield Pair(chain, workers[0], workers[1], exchanges, nodes)


@pytest.mark.parametrize(
    "pair", ["linked", pytest.param("libp2p", marks=pytest.mark.slow)], indirect=True
)
async def test_a_member_at_another_node_attests_the_same_codes(pair: Pair) -> None:
    for nonce in (1, 2):
        await pair.ask(nonce)
    assert await pair.attested() == (Verdict.OK, Verdict.OK)
    mine = pair.member.book.attestations.find(0)
    reports = [answered.report for answered in pair.executor.book.answered(0, 1, 2)]
    assert mine is not None
    assert mine.codes == tuple(report.query for report in reports if report)
    await pair.until("Inference", "Settled")
    assert pair.chain.runtime.inference.batches[0].state == BatchState.SETTLED
    drawn = pair.chain.named("Attribution", "CommitteeDrawn")
    assert [(d.seats, d.self_attested) for d in drawn] == [((FERDIE.account_id,), False)]
    assert pair.exchanges[0].counts["served"] == 2


async def test_an_executor_that_serves_nothing_is_unavailable(pair: Pair) -> None:
    await pair.ask()
    pair.exchanges[0].inboxes._open.clear()
    pair.enough = lambda: pair.misses >= LEAST_MISSES
    assert await pair.attested() == (Verdict.UNAVAILABLE,)
    assert (await pair.until("Attribution", "Rejected")).fault


async def test_a_member_that_could_ask_nobody_accuses_nobody(pair: Pair) -> None:
    await pair.ask()
    pair.nodes[1].links.clear()
    pair.enough = lambda: True
    assert await pair.attested() == (Verdict.INCONCLUSIVE,)
    assert not (await pair.until("Attribution", "Rejected")).fault


async def test_a_member_that_cannot_have_the_model_accuses_nobody(pair: Pair) -> None:
    await pair.ask()
    pair.chain.blobs.clear()
    assert await pair.attested() == (Verdict.INCONCLUSIVE,)


async def test_an_executor_that_serves_another_prompt_is_unavailable(pair: Pair) -> None:
    await pair.ask()
    serve = pair.executor.handing_out._material

    def lie(batch: int, position: int) -> Material:
        material = serve(batch, position)
        body = material.evidence.body.replace(b"France", b"Norway")
        return replace(material, evidence=replace(material.evidence, body=body))

    pair.executor.handing_out._material = lie  # type: ignore[method-assign]
    pair.enough = lambda: pair.misses >= LEAST_MISSES
    assert await pair.attested() == (Verdict.UNAVAILABLE,)


async def test_an_executor_whose_receipt_states_what_no_model_said_is_bad(pair: Pair) -> None:
    await pair.ask()
    book = pair.executor.book
    (answered,) = book.answered(0, 1, 1)
    output = tuple((token + 1) % 256 for token in answered.output_ids)
    receipt = replace(answered.signed.receipt, response_hash=response_hash(output))
    signed = replace(
        answered.signed, receipt=receipt, signature=WORKER.sign(signing_bytes(receipt))
    )
    with trio.fail_after(PATIENCE):
        while book.unattributed(1):
            await trio.sleep(0.05)
    with book._file.transaction() as rows:
        rows.execute("DELETE FROM receipts")
        rows.execute("UPDATE vouchers SET state = 0")
    book.answer(replace(answered, signed=signed, output_ids=output))
    assert await pair.attested() == (Verdict.BAD,)


async def test_who_is_not_drawn_gets_nothing_even_from_a_node_that_would_carry_it(
    pair: Pair,
) -> None:
    await pair.ask()
    pair.chain.call(EVE, "Inference", "close_session", session=0)
    await pair.until("Attribution", "CommitteeDrawn")
    secret = PrivateKey.generate()
    genesis, box = pair.chain.genesis, bytes(secret.public_key)
    asked = MaterialRequest(genesis, 0, 0, FERDIE.account_id, MEMBER.account_id, box)
    answer = await pair.executor.handing_out.answer(sign_request(asked, MEMBER))
    assert SECRET.encode() not in answer
    thief = replace(asked, worker=EVE.account_id)
    for request, reason in (
        (sign_request(thief, EVE), MaterialReason.NOT_A_MEMBER),
        (sign_request(asked, EVE), MaterialReason.BAD_SIGNATURE),
        (sign_request(replace(asked, receipt=1), MEMBER), MaterialReason.NOT_DRAWN),
        (sign_request(replace(asked, batch=9), MEMBER), MaterialReason.NO_DUTY),
        (sign_request(replace(asked, genesis=bytes(32)), MEMBER), MaterialReason.WRONG_CHAIN),
        (sign_request(replace(asked, box=bytes(32)), MEMBER), MaterialReason.MALFORMED),
    ):
        with pytest.raises(MaterialRefusal) as refusal:
            await pair.executor.handing_out.answer(request)
        assert refusal.value.reason is reason
    duty = pair.chain.runtime.attribution.duties[0]
    while pair.chain.height < duty.commit_until:
        pair.chain.block()
    with pytest.raises(MaterialRefusal) as refusal:
        await pair.executor.handing_out.answer(sign_request(asked, MEMBER))
    assert refusal.value.reason is MaterialReason.WINDOW_SHUT


async def test_material_proves_its_receipt_and_holds_no_report(pair: Pair) -> None:
    for nonce in (1, 2, 3):
        await pair.ask(nonce)
    pair.chain.call(EVE, "Inference", "close_session", session=0)
    await pair.until("Inference", "ReceiptsSubmitted")
    with trio.fail_after(PATIENCE):
        while pair.executor.book.submission_of(0) is None:
            await trio.sleep(0.05)
    batch = pair.chain.runtime.inference.batches[0]
    secret = PrivateKey.generate()
    for position in range(3):
        material = pair.executor.handing_out._material(0, position)
        (answered,) = pair.executor.book.answered(0, position + 1, position + 1)
        assert unseal(seal(material, bytes(secret.public_key)), secret) == material
        assert is_of(material, batch, position)
        assert not is_of(material, batch, (position + 1) % 3)
        assert answered.report is not None
        data = encode(Material, material)
        assert answered.report.salt not in data
        assert answered.report.query.codes not in data
    with pytest.raises(MaterialRefusal):
        unseal(seal(material, bytes(secret.public_key)), PrivateKey.generate())
