"""A worker over real HTTP, on the real runtime: what is served, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import trio
from memory_chain import MemoryChain, rested
from paid_world import EVE, OPEN, PRICE, WORKER, open_session, vouch
from served import STALE_SECONDS, Served
from starlette.datastructures import Headers

from inference.api.bodies import AnyBody
from inference.api.events import Opened
from runtime.protocols import receipt as receipts
from runtime.protocols import voucher as vouchers
from runtime.protocols.price import cost
from tests.inference.api.gate import Gate
from tests.patience import PATIENCE

PROMPT = "What is the capital of France?\n"


def body(**changes: Any) -> bytes:
    fields = {"model": "capitals", "prompt": PROMPT, "max_tokens": 6, "temperature": 0}
    return json.dumps(fields | changes).encode()


async def post(served: Served, raw: bytes, header: str | None, path: str = "completions") -> Any:
    headers = {} if header is None else {vouchers.VOUCHER_HEADER: header}
    return await served.client.post(f"/v1/{path}", content=raw, headers=headers)


async def test_an_answer_carries_a_receipt_that_verifies(
    served: Served, chain: MemoryChain
) -> None:
    raw = body()
    header = vouch(chain, raw, 1)
    reply = await post(served, raw, header)
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    told = answer["openledger"]
    signed = receipts.from_text(told["receipt"])
    voucher = vouchers.from_header(header).voucher
    receipts.check_receipt(signed, voucher, told["output_ids"], PRICE, WORKER.account_id)
    assert answer["usage"]["completion_tokens"] == len(told["output_ids"]) <= 6
    assert signed.receipt.manifest_hash == chain.runtime.models.models[0].artifact.manifest
    assert receipts.receipt_hash(signed.receipt).hex() == told["receipt_hash"][2:]


async def test_a_streamed_answer_equals_the_whole_one_and_ends_with_its_receipt(
    served: Served, chain: MemoryChain
) -> None:
    whole = (await post(served, body(), vouch(chain, body(), 1))).json()
    raw = body(stream=True, stream_options={"include_usage": True})
    reply = await post(served, raw, vouch(chain, raw, 2))
    assert reply.headers["content-type"].startswith("text/event-stream")
    blocks = reply.text.strip().split("\n\n")
    events = [block.split("\n") for block in blocks if not block.startswith(":")]
    named = [block for block in events if block[0].startswith("event: ")]
    assert named == [events[-1]]
    assert events[-1][0] == "event: openledger.receipt"
    assert events[-2] == ["data: [DONE]"]
    chunks = [json.loads(block[0][6:]) for block in events[:-2]]
    text = "".join(c["choices"][0]["text"] for c in chunks if c["choices"])
    assert text == whole["choices"][0]["text"]
    assert chunks[-1]["usage"] == whole["usage"]
    proof = json.loads(events[-1][1][6:])
    assert proof["output_ids"] == whole["openledger"]["output_ids"]
    assert receipts.from_text(proof["receipt"]).receipt.nonce == 2


async def test_a_chat_is_written_line_by_line(served: Served, chain: MemoryChain) -> None:
    whole = (await post(served, body(), vouch(chain, body(), 1))).json()
    chat = {"model": "model:0", "max_tokens": 6, "temperature": 0}
    raw = json.dumps(chat | {"messages": [{"role": "user", "content": PROMPT[:-1]}]}).encode()
    reply = (await post(served, raw, vouch(chain, raw, 2), "chat/completions")).json()
    assert reply["choices"][0]["message"]["content"] == whole["choices"][0]["text"]


async def test_a_request_without_a_seed_draws_with_its_vouchers(
    served: Served, chain: MemoryChain
) -> None:
    raw = body(temperature=1.0)
    header = vouch(chain, raw, 1)
    reply = (await post(served, raw, header)).json()
    seed = vouchers.voucher_hash(vouchers.from_header(header).voucher)[:8]
    assert reply["openledger"]["sampling"]["seed"] == str(int.from_bytes(seed, "little"))


REFUSED_BODIES = [
    (b"{", 400, "bad_json"),
    (b"[]", 400, "bad_json"),
    (body(prompt=7), 400, "bad_parameter"),
    (body(n=2), 400, "unsupported_parameter"),
    (body(tools=[{}]), 400, "unsupported_parameter"),
    (body(prompt="x" * 500), 400, "context_exceeded"),
    (body(prompt=[999]), 400, "unknown_token"),
    (body(temperature=-1), 400, "bad_temperature"),
    (body(model="nobody"), 404, "unknown_model"),
    (body(max_tokens=100_000), 402, "fee_too_low"),
    (body(prompt="x" * 300_000), 413, "body_too_large"),
    (b'{"model": "capitals", "prompt": "\\ud800"}', 400, "bad_json"),
    (b'{"model": "\\ud800", "prompt": "x"}', 400, "bad_json"),
    (b'{"model": "capitals", "prompt": "\xff"}', 400, "bad_json"),
    (b"[" * 100_000, 400, "bad_json"),
    (b'{"model": "capitals", "prompt": "x", "temperature": NaN}', 400, "bad_temperature"),
    (body(seed=2**64), 400, "bad_seed"),
    (body(stop=[""]), 400, "bad_stop"),
    (body(prompt=""), 400, "empty_prompt"),
    (body(stop=["a"] * 5), 400, "bad_parameter"),
    (body(temperature="hot"), 400, "bad_parameter"),
]


@pytest.mark.parametrize(("raw", "status", "code"), REFUSED_BODIES)
async def test_a_bad_body_is_refused_by_name_and_spends_no_nonce(
    served: Served, chain: MemoryChain, raw: bytes, status: int, code: str
) -> None:
    reply = await post(served, raw, vouch(chain, raw, 1))
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert set(reply.json()["error"]) == {"message", "type", "code", "param"}
    good = body()
    assert (await post(served, good, vouch(chain, good, 1))).status_code == 200


async def test_bad_vouchers_are_refused_by_name(served: Served, chain: MemoryChain) -> None:
    raw = body()
    good = vouch(chain, raw, 1)
    other = open_session(chain)
    cases = [
        (None, 402, "missing_voucher"),
        ("?", 400, "malformed"),
        ("aGVsbG8=", 400, "wrong_tag"),
        (vouch(chain, raw, 1, session=77), 404, "unknown_session"),
        (vouch(chain, raw + b" ", 1), 402, "wrong_request"),
        (vouch(chain, raw, 1, key=EVE), 401, "bad_signature"),
        (vouch(chain, raw, 1, authorised=1), 402, "above_authorised"),
        (vouch(chain, raw, 1, max_fee=1), 402, "fee_too_low"),
        (vouch(chain, raw, 1, max_fee=11 * OPEN, authorised=99 * OPEN), 402, "above_escrow"),
        (vouch(chain, raw, 0), 402, "stale_nonce"),
    ]
    for header, status, code in cases:
        reply = await post(served, raw, header)
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert (await post(served, raw, good)).status_code == 200
    again = await post(served, raw, good)
    assert (again.status_code, again.json()["error"]["code"]) == (402, "stale_nonce")
    assert (await post(served, raw, vouch(chain, raw, 1, session=other))).status_code == 200


async def test_a_closed_session_takes_no_requests(served: Served, chain: MemoryChain) -> None:
    chain.call(EVE, "Inference", "close_session", session=0)
    reply = await post(served, body(), vouch(chain, body(), 1))
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "session_not_open")


async def test_a_full_worker_says_so_and_spends_no_nonce(
    served: Served, chain: MemoryChain
) -> None:
    raw = body()
    assert (await post(served, raw, vouch(chain, raw, 1))).status_code == 200
    served.worker.serving._capacity = 0
    reply = await post(served, raw, vouch(chain, raw, 2))
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "overloaded")
    assert reply.headers["retry-after"] == "1"
    served.worker.serving._capacity = 4
    assert (await post(served, raw, vouch(chain, raw, 2))).status_code == 200


async def test_a_worker_whose_node_stands_still_takes_no_requests(
    served: Served, chain: MemoryChain
) -> None:
    served.worker.pulse._at -= STALE_SECONDS + 1
    reply = await post(served, body(), vouch(chain, body(), 1))
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "not_ready")
    assert (await served.client.get("/health")).status_code == 503
    chain.block()
    await rested(served.worker)
    assert (await served.client.get("/health")).status_code == 200
    assert (await post(served, body(), vouch(chain, body(), 1))).status_code == 200


async def test_figures_models_and_health_are_told(served: Served, chain: MemoryChain) -> None:
    raw = body()
    await post(served, raw, vouch(chain, raw, 1))
    await post(served, raw, vouch(chain, raw, 1))
    models = (await served.client.get("/v1/models")).json()
    assert [m["id"] for m in models["data"]] == ["capitals"]
    health = (await served.client.get("/health")).json()
    assert health["ready"]
    assert health["models"] == [0]
    figures = (await served.client.get("/metrics")).text
    assert 'openledger_worker_requests_total{outcome="answered"} 1.0' in figures
    assert 'openledger_worker_requests_total{outcome="stale_nonce"} 1.0' in figures
    session = (await served.client.get("/v1/sessions/0")).json()
    assert session["next_nonce"] == 2
    assert session["reserved"] == "0"
    assert (await served.client.get("/v1/sessions/99")).status_code == 404


async def test_a_customer_that_hangs_up_pays_for_what_was_computed(
    served: Served, chain: MemoryChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, room, left = served.worker.serving, served.worker.room, trio.Event()
    admit = serving.open

    async def opened(headers: Headers, raw: bytes, body: AnyBody) -> Opened:
        found = await admit(headers, raw, body)

        def leave() -> None:
            found.leave()
            left.set()

        return replace(found, leave=leave)

    monkeypatch.setattr(serving, "open", opened)
    raw = body(max_tokens=200, temperature=1.0, seed=4, stream=True)
    host, port = served.worker.address.removeprefix("http://").split(":")
    stream = await trio.open_tcp_stream(host, int(port))
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: worker\r\n"
        f"{vouchers.VOUCHER_HEADER}: {vouch(chain, raw, 1)}\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    with Gate(room.engine) as gate, trio.fail_after(PATIENCE):
        gate.hold(lambda: room.load[0] > 0)
        await stream.send_all(head.encode() + raw)
        assert b" 200 " in await stream.receive_some(4096)
        await gate.reached()
        await stream.aclose()
        await left.wait()
    with trio.fail_after(PATIENCE):
        while serving.under_way:
            await trio.sleep(0.02)
    kept = served.worker.book.answered(0, 1, 1)
    assert len(kept) == 1
    assert 0 < kept[0].signed.receipt.completion_tokens < 200
    session = (await served.client.get("/v1/sessions/0")).json()
    assert session["charged"] == str(kept[0].signed.receipt.cost().total())
    assert session["reserved"] == "0"


async def test_a_crashed_engine_fails_its_requests_and_comes_back(
    served: Served, chain: MemoryChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = body()
    assert (await post(served, raw, vouch(chain, raw, 1))).status_code == 200

    def crash() -> None:
        raise MemoryError("no room for the cache")

    monkeypatch.setattr(served.worker.room.engine._runner, "step", crash)
    reply = await post(served, raw, vouch(chain, raw, 2))
    assert (reply.status_code, reply.json()["error"]["type"]) == (503, "server_error")
    with trio.fail_after(PATIENCE):
        while not (served.worker.room.crashes and served.worker.room.figures):
            await trio.sleep(0.02)
    assert (await post(served, raw, vouch(chain, raw, 3))).status_code == 200
    assert [a.signed.receipt.nonce for a in served.worker.book.answered(0, 1, 9)] == [1, 3]
    assert served.worker.room.crashes == 1


async def test_many_requests_at_once_never_exceed_the_escrow(
    served: Served, chain: MemoryChain
) -> None:
    fee = cost(PRICE, 32, 6).total()
    session = open_session(chain, escrow=OPEN // 100)
    affordable = (OPEN // 100) // (2 * fee)
    served.worker.serving._capacity = 1000
    codes: list[int] = []

    async def one(nonce: int) -> None:
        raw = body()
        header = vouch(chain, raw, nonce, session=session, max_fee=2 * fee, authorised=OPEN // 100)
        codes.append((await post(served, raw, header)).status_code)

    async with trio.open_nursery() as nursery:
        for nonce in range(1, 31):
            nursery.start_soon(one, nonce)
    assert set(codes) <= {200, 402}
    seen = served.worker.book.view(session, chain.runtime.inference.sessions[session])
    assert seen.charged <= seen.escrow
    assert seen.reserved == 0
    assert 1 <= codes.count(200) <= max(1, 2 * affordable)
