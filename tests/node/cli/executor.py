"""An executor for tests of the proxy: real vouchers in, real receipts out, honest or not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from node.cli.local_http import Request, Response
from node.client.signing import KeyPair, from_uri
from runtime.protocols.price import Price, cost
from runtime.protocols.receipt import (
    Receipt,
    SignedReceipt,
    response_hash,
    signing_bytes,
    to_text,
)
from runtime.protocols.voucher import SessionView, check_request, from_header

GENESIS = b"\x07" * 32
SESSION = 3
PRICE = Price(10, 20, 40)
WORKER = from_uri("//Alice//worker")
VOUCHERS = from_uri("//Eve//vouchers")
OUTPUT = (5, 6, 7, 8)
TEXT = "four tokens of text"
Cheat = Callable[[Receipt], Receipt]


@dataclass
class Executor:
    """Checks each voucher as an executor has to, and signs what `cheat` makes of the receipt."""

    cheat: Cheat = lambda receipt: receipt
    key: KeyPair = WORKER
    shown: tuple[int, ...] = OUTPUT
    with_receipt: bool = True
    refuse: tuple[int, dict[str, Any]] | None = None
    charged: int = 0
    last_nonce: int = 0
    seen: list[Request] = field(default_factory=list)

    async def handle(self, request: Request, response: Response) -> None:
        self.seen.append(request)
        if request.method == "GET":
            await response.whole(200, json.dumps({"path": request.target}).encode())
            return
        if self.refuse is not None:
            await response.whole(self.refuse[0], json.dumps(self.refuse[1]).encode())
            return
        proof = self.answer(request)
        if json.loads(request.body).get("stream"):
            await self.stream(response, proof)
            return
        document: dict[str, Any] = {"choices": [{"index": 0, "text": TEXT}]}
        if self.with_receipt:
            document["openledger"] = proof
        await response.whole(200, json.dumps(document).encode())

    def answer(self, request: Request) -> dict[str, Any]:
        signed = from_header(request.headers["openledger-voucher"])
        view = SessionView(
            GENESIS, SESSION, VOUCHERS.account_id, 10_000, self.last_nonce, self.charged, 0
        )
        check_request(signed, request.body, view, height=100)
        due = cost(PRICE, 9, len(OUTPUT))
        self.last_nonce = signed.voucher.nonce
        self.charged += due.total()
        receipt = Receipt(
            genesis=GENESIS,
            session=SESSION,
            nonce=signed.voucher.nonce,
            request_hash=signed.voucher.request_hash,
            response_hash=response_hash(OUTPUT),
            prompt_tokens=9,
            completion_tokens=len(OUTPUT),
            compute=due.compute,
            premium=due.premium,
            manifest_hash=bytes(32),
            engine_hash=bytes(32),
            sampling_hash=bytes(32),
            logits_digest=bytes(32),
        )
        receipt = self.cheat(receipt)
        given = SignedReceipt(receipt, self.key.sign(signing_bytes(receipt)))
        return {"receipt": to_text(given), "output_ids": list(self.shown)}

    async def stream(self, response: Response, proof: dict[str, Any]) -> None:
        await response.head(200, [("Content-Type", "text/event-stream")])
        for word in TEXT.split(" "):
            chunk = {"choices": [{"index": 0, "text": word}]}
            await response.data(f"data: {json.dumps(chunk)}\n\n".encode())
        if self.with_receipt:
            event = f"event: openledger.receipt\ndata: {json.dumps(proof)}\n\n"
            await response.data(event.encode())
        await response.data(b"data: [DONE]\n\n")
        await response.end()


def dearer(receipt: Receipt) -> Receipt:
    return replace(receipt, premium=receipt.premium + 1)


def of_another_request(receipt: Receipt) -> Receipt:
    return replace(receipt, request_hash=bytes(32))


def padded(receipt: Receipt) -> Receipt:
    due = cost(PRICE, receipt.prompt_tokens, receipt.completion_tokens + 1)
    return replace(
        receipt,
        completion_tokens=receipt.completion_tokens + 1,
        compute=due.compute,
        premium=due.premium,
    )


def garbage() -> str:
    return base64.b64encode(b"no receipt").decode()
