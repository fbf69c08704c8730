"""A worker over real HTTP, on the real runtime: what is served, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Served
from memory_chain import MemoryChain
from paid_world import EVE, OPEN, PRICE, WORKER, open_session, vouch
from runtime.protocols import receipt as receipts
from runtime.protocols import voucher as vouchers

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
    events = [block.split("\n") for block in reply.text.strip().split("\n\n")]
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
