"""The paying endpoint: any client talks to it, and no answer passes without a valid receipt."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from node.cli.answer import check_proof, parse_proof
from node.cli.local_http import Handler, serve
from node.cli.output import Planck
from node.cli.proxy import MAX_BODY, PaidSession, Proxy
from node.cli.session import _facts
from node.cli.voucher_purse import Purse
from node.client.signing import from_uri
from runtime.pallets.inference.types import Session, SessionState
from tests.node.cli import executor as executors
from tests.node.cli.executor import (
    GENESIS,
    OUTPUT,
    PRICE,
    SESSION,
    TEXT,
    VOUCHERS,
    WORKER,
    Executor,
)
from tests.patience import PATIENCE

BODY = {"model": "model:0", "prompt": "ls(1)\n", "max_tokens": 4}
FEE = 9 * 10 + 4 * 20 + 13 * 40
SESSION_ON_CHAIN = Session(
    customer=bytes(32),
    voucher_key=VOUCHERS.account_id,
    model=0,
    executor=WORKER.account_id,
    price=PRICE,
    escrow=10_000,
    held=10_000,
    max_fee=1_000,
    settled_nonce=0,
    settled_total=0,
    opened=1,
    expires=500,
    closes=0,
    state=SessionState.OPEN,
)


@dataclass
class Local:
    """The proxy as a client sees it."""

    url: str
    client: httpx.AsyncClient
    purse: Purse
    receipts: Path

    async def post(self, **changes: Any) -> httpx.Response:
        return await self.client.post(f"{self.url}/v1/completions", json=BODY | changes)


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[str]:
    ports: list[int] = []
    async with trio.open_nursery() as nursery:
        start = partial(serve, max_body=MAX_BODY, started=ports.append)
        nursery.start_soon(start, handler, "127.0.0.1", 0)
        while not ports:
            await trio.sleep(0)
        yield f"http://127.0.0.1:{ports[0]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def paying(
    executor: Executor, folder: Path, session: Session = SESSION_ON_CHAIN, height: int = 90
) -> AsyncIterator[Local]:
    async with (
        listening(executor.handle) as endpoint,
        httpx.AsyncClient(timeout=PATIENCE) as client,
    ):

        async def refresh() -> PaidSession:
            await trio.lowlevel.checkpoint()
            return PaidSession(SESSION, session, endpoint, height)

        with Purse(folder, GENESIS, SESSION, VOUCHERS) as purse:
            proxy = Proxy(refresh, purse, client, folder / "receipts.jsonl")
            async with listening(proxy.handle) as url:
                yield Local(url, client, purse, folder / "receipts.jsonl")


async def test_an_unmodified_client_gets_its_answer_and_a_valid_receipt_is_kept(
    tmp_path: Path,
) -> None:
    async with paying(Executor(), tmp_path) as local:
        for _ in range(2):
            answer = await local.post()
            assert (answer.status_code, answer.json()["choices"][0]["text"]) == (200, TEXT)
        assert (local.purse.nonce, local.purse.ceiling) == (2, 2 * FEE)
    for nonce, line in enumerate((tmp_path / "receipts.jsonl").read_text().splitlines(), 1):
        proof = parse_proof(line)
        assert (proof.receipt.receipt.nonce, proof.output_ids) == (nonce, OUTPUT)
        checked = check_proof(
            proof, genesis=GENESIS, price=PRICE, max_fee=1_000, worker=WORKER.account_id
        )
        assert checked == ("chain", "worker's signature", "price", "output tokens", "voucher")


async def test_a_stream_is_passed_on_and_ends_with_its_receipt(tmp_path: Path) -> None:
    async with paying(Executor(), tmp_path) as local:
        answer = await local.post(stream=True)
        blocks = answer.text.strip().split("\n\n")
        assert len(blocks) == len(TEXT.split(" ")) + 2
        assert blocks[-2].startswith("event: openledger.receipt\n")
        assert blocks[-1] == "data: [DONE]"
        assert local.purse.ceiling == FEE


@pytest.mark.parametrize(
    ("executor", "code"),
    [
        (Executor(with_receipt=False), "NO_RECEIPT"),
        (Executor(cheat=executors.dearer), "WRONG_COST"),
        (Executor(cheat=executors.padded), "WRONG_RESPONSE"),
        (Executor(cheat=executors.of_another_request), "WRONG_VOUCHER"),
        (Executor(shown=(5, 6, 7, 9)), "WRONG_RESPONSE"),
        (Executor(key=from_uri("//Mallory")), "BAD_SIGNATURE"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_with_a_bad_receipt_is_refused_by_name(
    tmp_path: Path, executor: Executor, code: str, stream: bool
) -> None:
    executor = replace(executor, last_nonce=0, charged=0)
    async with paying(executor, tmp_path) as local:
        answer = await local.post(stream=stream)
        if stream:
            last = answer.text.strip().split("\n\n")[-1]
            assert last.startswith("event: error\n")
            assert "[DONE]" not in answer.text
            assert json.loads(last.split("data: ")[1])["error"]["code"] == code
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, code)
        assert not local.receipts.exists()
        assert local.purse.ceiling == 1_000  # the executor may claim it all the same


async def test_what_the_worker_refuses_is_passed_on_and_costs_nothing(tmp_path: Path) -> None:
    refusal = {"error": {"code": "fee_too_low", "message": "raise max_fee"}}
    async with paying(Executor(refuse=(402, refusal)), tmp_path) as local:
        answer = await local.post()
        assert (answer.status_code, answer.json()) == (402, refusal)
        assert (local.purse.nonce, local.purse.ceiling) == (1, 0)


async def test_free_questions_carry_no_voucher(tmp_path: Path) -> None:
    executor = Executor()
    async with paying(executor, tmp_path) as local:
        answer = await local.client.get(f"{local.url}/v1/models")
        assert answer.json() == {"path": "/v1/models"}
        assert "openledger-voucher" not in executor.seen[0].headers
        assert local.purse.nonce == 0


@pytest.mark.parametrize(
    ("session", "height"),
    [
        (replace(SESSION_ON_CHAIN, state=SessionState.CLOSING), 90),
        (SESSION_ON_CHAIN, SESSION_ON_CHAIN.expires),
    ],
)
async def test_no_voucher_is_signed_for_a_session_that_is_over(
    tmp_path: Path, session: Session, height: int
) -> None:
    executor = Executor()
    async with paying(executor, tmp_path, session, height) as local:
        answer = await local.post()
        assert (answer.status_code, answer.json()["error"]["code"]) == (402, "SESSION_NOT_OPEN")
        assert (executor.seen, local.purse.nonce) == ([], 0)


async def test_a_worker_that_is_gone_is_told_by_name(tmp_path: Path) -> None:
    async def refresh() -> PaidSession:
        await trio.lowlevel.checkpoint()
        return PaidSession(SESSION, SESSION_ON_CHAIN, "http://127.0.0.1:1", 90)

    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        with Purse(tmp_path, GENESIS, SESSION, VOUCHERS) as purse:
            proxy = Proxy(refresh, purse, client, tmp_path / "receipts.jsonl")
            async with listening(proxy.handle) as url:
                answer = await client.post(f"{url}/v1/completions", json=BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "WORKER_UNREACHABLE")


async def test_a_body_above_the_limit_and_malformed_requests_are_refused(tmp_path: Path) -> None:
    async with paying(Executor(), tmp_path) as local:
        answer = await local.client.post(f"{local.url}/v1/completions", content=bytes(MAX_BODY + 1))
        assert answer.status_code == 413
        host, port = local.url.removeprefix("http://").split(":")
        stream = await trio.open_tcp_stream(host, int(port))
        await stream.send_all(b"\x00\x01nonsense\r\n\r\n")
        assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 400")
        await stream.aclose()
        assert (await local.client.delete(f"{local.url}/v1/models")).status_code == 405
        assert (await local.client.get(f"{local.url}/")).status_code == 404


def test_a_closed_session_is_not_said_to_have_had_what_it_claimed_as_escrow() -> None:
    assert _facts(0, SESSION_ON_CHAIN)["escrow"] == Planck(10_000)
    closed = replace(
        SESSION_ON_CHAIN, state=SessionState.CLOSED, escrow=70, held=0, settled_total=70
    )
    shown = _facts(0, closed)
    assert (shown["escrow"], shown["claimed"]) == (None, Planck(70))
