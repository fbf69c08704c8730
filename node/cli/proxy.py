"""The local OpenAI-compatible endpoint: signs a voucher per request, checks every receipt.

Any OpenAI client talks to it as to a local server. The request goes to the session's worker with
a voucher; the answer comes back once its receipt holds. A stream is passed on as it comes, and
ends with an error event where its receipt does not hold.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import trio

from node.cli.answer import RECEIPT_EVENT, Proof, check_answer
from node.cli.events import Event, EventReader
from node.cli.local_http import Request, Response
from node.cli.voucher_purse import Purse
from runtime.pallets.inference.types import Session, SessionState
from runtime.primitives.errors import Refusal
from runtime.protocols.receipt import to_text
from runtime.protocols.voucher import VOUCHER_HEADER, SignedVoucher, Voucher, to_header

PREFIX = "/v1/"
MAX_BODY = 1 << 20
DONE = "[DONE]"
DRAIN_SECONDS = 5.0
VOUCHER_BLOCKS = 100
"""Blocks for which a voucher may be taken on."""
TIMEOUT = httpx.Timeout(600.0, connect=10.0)


@dataclass(slots=True)
class PaidSession:
    """The session as the chain last showed it, and where its worker is reached."""

    id: int
    session: Session
    endpoint: str
    height: int


class _Listener:
    """The client at the other end; an answer is paid for, so it is read on if the client left."""

    def __init__(self, response: Response) -> None:
        self.reader = EventReader()
        self._response = response
        self._gone = False

    async def send(self, event: Event) -> None:
        """Send an event to the client, if it still listens."""
        if not self._gone:
            try:
                await self._response.data(event.encode())
            except trio.BrokenResourceError:
                self._gone = True

    async def end(self) -> None:
        """End the answer."""
        if not self._gone:
            await self._response.end()


Refresh = Callable[[], Awaitable[PaidSession]]


@dataclass(slots=True)
class Proxy:
    """Answers the local clients of one session."""

    refresh: Refresh
    purse: Purse
    client: httpx.AsyncClient
    receipts: Path
    """Verified receipts are appended here, one JSON document per line."""
    max_fee: int | None = None
    """Planck for one request; the session's by default."""
    answered: int = field(default=0, init=False)

    async def handle(self, request: Request, response: Response) -> None:
        """Answer one request; the worker's and the chain's refusals are passed on by name."""
        if not request.target.startswith(PREFIX):
            await _refuse(response, 404, "NOT_FOUND", "the endpoints are below /v1/")
            return
        try:
            if request.method == "GET":
                await self._free(request, response)
            elif request.method == "POST":
                await self._paid(request, response)
            else:
                await _refuse(response, 405, "BAD_METHOD", "use GET or POST")
        except httpx.HTTPError as error:
            reason = f"the worker does not answer: {str(error) or type(error).__name__}"
            await _refuse(response, 502, "WORKER_UNREACHABLE", reason)
        except Refusal as refusal:
            await _refuse(response, 502, refusal.reason.name, refusal.detail)

    async def _free(self, request: Request, response: Response) -> None:
        paid = await self.refresh()
        found = await self.client.get(_url(paid, request), timeout=TIMEOUT)
        kind = found.headers.get("content-type", "application/json")
        await response.whole(found.status_code, found.content, kind)

    async def _paid(self, request: Request, response: Response) -> None:
        paid = await self.refresh()
        session = paid.session
        if session.state != SessionState.OPEN or paid.height >= session.expires:
            text = "the session is over; open another with `openledger session open`"
            await _refuse(response, 402, "SESSION_NOT_OPEN", text)
            return
        signed = self.purse.sign(
            request.body,
            max_fee=session.max_fee if self.max_fee is None else self.max_fee,
            escrow=session.escrow,
            valid_until=paid.height + VOUCHER_BLOCKS,
        )
        headers = {
            VOUCHER_HEADER: to_header(signed),
            "Content-Type": request.headers.get("content-type", "application/json"),
        }
        outgoing = self.client.build_request(
            "POST", _url(paid, request), content=request.body, headers=headers, timeout=TIMEOUT
        )
        answer = await self.client.send(outgoing, stream=True)
        try:
            await self._pass_on(answer, response, signed, paid)
        finally:
            await answer.aclose()

    async def _pass_on(
        self, answer: httpx.Response, response: Response, signed: SignedVoucher, paid: PaidSession
    ) -> None:
        kind = answer.headers.get("content-type", "application/json")
        if answer.status_code != 200:
            self.purse.charge(signed.voucher, 0)
            await response.whole(answer.status_code, await answer.aread(), kind)
        elif kind.startswith("text/event-stream"):
            await self._stream(answer, response, signed, paid)
        else:
            body = await answer.aread()
            self._check(_parsed(body), signed, paid)
            await response.whole(200, body, kind)

    async def _stream(
        self, answer: httpx.Response, response: Response, signed: SignedVoucher, paid: PaidSession
    ) -> None:
        """Pass events on as they come; the closing ``[DONE]`` waits for a valid receipt."""
        await response.head(200, [("Content-Type", "text/event-stream")])
        listener = _Listener(response)
        proof: Proof | None = None
        failure: BaseException | None = None
        try:
            with trio.CancelScope() as scope:
                async for piece in answer.aiter_raw():
                    if failure is not None:
                        continue  # a stream is read to its end, else it stays half open
                    try:
                        for event in listener.reader.feed(piece):
                            if event.name == RECEIPT_EVENT:
                                proof = self._check(_parsed(event.data.encode()), signed, paid)
                            if event.data != DONE:
                                await listener.send(event)
                    except (Refusal, ValueError) as error:
                        failure = error
                        scope.deadline = trio.current_time() + DRAIN_SECONDS
            if proof is None and failure is None:
                self._check({}, signed, paid)
        except (httpx.HTTPError, Refusal) as error:
            failure = error
        await listener.send(Event(DONE) if failure is None else _failure(failure))
        await listener.end()

    def _check(self, document: object, signed: SignedVoucher, paid: PaidSession) -> Proof:
        """Check a receipt, count its fee, keep it; raises AnswerRefusal or ReceiptRefusal."""
        session = paid.session
        proof = check_answer(document, signed.voucher, session.price, session.executor)
        self.purse.charge(signed.voucher, proof.receipt.receipt.cost().total())
        self._keep(signed, proof, signed.voucher)
        self.answered += 1
        return proof

    def _keep(self, signed: SignedVoucher, proof: Proof, voucher: Voucher) -> None:
        line = {
            "session": voucher.session,
            "nonce": voucher.nonce,
            "receipt": to_text(proof.receipt),
            "voucher": to_header(signed),
            "output_ids": list(proof.output_ids or ()),
        }
        with self.receipts.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _url(paid: PaidSession, request: Request) -> str:
    return paid.endpoint.rstrip("/") + request.target


def _parsed(body: bytes) -> object:
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed


def _failure(error: BaseException) -> Event:
    name = error.reason.name if isinstance(error, Refusal) else "WORKER_UNREACHABLE"
    return Event(json.dumps(_error(name, str(error))), "error")


def _error(name: str, text: str) -> dict[str, object]:
    return {"error": {"type": "openledger", "code": name, "message": text}}


async def _refuse(response: Response, status: int, name: str, text: str) -> None:
    if not response.begun:
        await response.whole(status, json.dumps(_error(name, text)).encode())
