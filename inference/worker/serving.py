"""From a request with a voucher to an answer with a receipt.

Order of a request: everything that can be refused is checked, the voucher is taken durably, the
answer is computed, the receipt is kept durably, and only then does the customer get it. Answers
belong to the worker, not to the connection: a customer that hangs up pays for what was computed.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio
from starlette.datastructures import Headers

from inference.api.bodies import AnyBody
from inference.api.engine_room import EngineRoom
from inference.api.errors import ApiReason, ApiRefused
from inference.api.events import Done, Drawn, Ended, Event, Opened, encode_event, hand_on
from inference.log import Log
from inference.request import Answer, Request
from inference.worker.book import SessionBook
from inference.worker.book_rows import Answered
from inference.worker.chain_view import ChainView
from inference.worker.figures import Figures
from inference.worker.identity import statement_hash
from inference.worker.library import Library, ServedModel
from inference.worker.payment_errors import PaymentReason
from inference.worker.pricing import length_of, prompt_ids, sampling_of
from inference.worker.proof import RECEIPT_EVENT, proof
from inference.worker.pulse import Pulse
from node.client.signing import KeyPair
from runtime.pallets.inference.types import Session, SessionState
from runtime.primitives.errors import Refusal
from runtime.protocols.price import cost
from runtime.protocols.receipt import Receipt, SignedReceipt, response_hash, signing_bytes
from runtime.protocols.voucher import VOUCHER_HEADER, SignedVoucher, check_request, from_header

_LOG = Log("serving")
STALE_SECONDS = 60.0
"""So long after the last finalised block, no requests are taken."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that is paid for and can be computed."""

    session: Session
    signed: SignedVoucher
    model: ServedModel
    request: Request


class Serving:
    """Admits requests and answers them."""

    def __init__(
        self,
        view: ChainView,
        library: Library,
        book: SessionBook,
        room: EngineRoom,
        key: KeyPair,
        figures: Figures,
        pulse: Pulse,
        capacity: int,
        statement: Callable[[], bytes],
    ) -> None:
        self._view = view
        self._library = library
        self._book = book
        self._room = room
        self._key = key
        self._figures = figures
        self._pulse = pulse
        self._capacity = capacity
        self._statement = statement
        self._sessions: dict[int, tuple[int, Session | None]] = {}
        self._under_way = 0
        self._nursery: trio.Nursery | None = None
        self.answered = trio.Event()
        """Set, and replaced, whenever a receipt is kept."""

    @property
    def under_way(self) -> int:
        """Number of requests that are being answered."""
        return self._under_way

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the answers' tasks until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def session(self, number: int) -> Session:
        """Return a session of the chain; raises UNKNOWN_SESSION."""
        height = self._view.height
        known = self._sessions.get(number)
        if known is None or known[0] != height:
            known = height, await self._view.storage("Inference", "Sessions", number)
            self._sessions = {n: e for n, e in self._sessions.items() if e[0] == height}
            self._sessions[number] = known
        if known[1] is None:
            raise ApiRefused(PaymentReason.UNKNOWN_SESSION, f"there is no session {number}")
        return known[1]

    async def open(self, headers: Headers, raw: bytes, body: AnyBody) -> Opened:
        """Admit a request, take its voucher and start the answer; raises Refusal."""
        admitted = await self._admit(raw, headers.get(VOUCHER_HEADER), body)
        if self._nursery is None:
            raise ApiRefused(ApiReason.NOT_READY)
        if self._under_way >= self._capacity:
            raise ApiRefused(
                ApiReason.OVERLOADED, f"{self._under_way} requests are being answered: retry later"
            )
        self._under_way += 1
        try:
            await trio.to_thread.run_sync(
                self._book.accept, admitted.signed, raw, admitted.session, self._view.height
            )
        except sqlite3.Error as error:
            self._under_way -= 1
            _LOG.error("voucher not kept", cause=error)
            raise ApiRefused(ApiReason.NOT_READY, "the voucher could not be stored") from error
        except BaseException:
            self._under_way -= 1
            raise
        send, receive = trio.open_memory_channel[Event](math.inf)
        self._nursery.start_soon(self._answer, admitted, send)
        voucher = admitted.signed.voucher
        # What is computed is paid for: a whole answer is finished although its customer left.
        return Opened(f"{voucher.session}-{voucher.nonce}", receive, True, receive.close)

    async def _admit(self, raw: bytes, header: str | None, body: AnyBody) -> Admitted:
        if header is None:
            raise ApiRefused(PaymentReason.MISSING_VOUCHER)
        if self._pulse.age > STALE_SECONDS:
            # A session may be over by now, and its receipts too late.
            raise ApiRefused(ApiReason.NOT_READY, "the worker's node stands still: retry later")
        signed = from_header(header)
        session = await self.session(signed.voucher.session)
        if session.executor != self._key.account_id:
            raise ApiRefused(PaymentReason.WRONG_EXECUTOR)
        if session.state != SessionState.OPEN or self._view.height >= session.expires:
            raise ApiRefused(PaymentReason.SESSION_NOT_OPEN)
        # Before anything costly is done for it; taken, and checked again, once all else is checked.
        await trio.to_thread.run_sync(self._check, signed, raw, session)
        if await self._library.resolve(body.model) != session.model:
            raise ApiRefused(PaymentReason.WRONG_MODEL, f"the session is for model:{session.model}")
        model = await self._library.model(session.model)
        prompt = await trio.to_thread.run_sync(prompt_ids, self._room.backbone, body)
        request = Request(
            prompt_ids=prompt,
            max_tokens=length_of(
                body,
                len(prompt),
                session.price,
                min(signed.voucher.max_fee, session.max_fee),
                self._room.backbone.config.max_position_embeddings,
            ),
            sampling=sampling_of(body, signed.voucher),
            adapter=model.adapter,
            stop=body.stops,
            logprobs=body.alternatives or 0,
            tenant=session.customer.hex(),
        )
        self._room.check(request)
        return Admitted(session, signed, model, request)

    def _check(self, signed: SignedVoucher, raw: bytes, session: Session) -> None:
        view = self._book.view(signed.voucher.session, session)
        check_request(signed, raw, view, self._view.height)

    async def _answer(self, admitted: Admitted, send: trio.MemorySendChannel[Event]) -> None:
        """Answer one request; whatever happens stays in it."""
        voucher = admitted.signed.voucher
        started = trio.current_time()
        kept = False
        with send:
            try:
                answer = await self._compute(admitted.request, send)
                answered = self._sign(admitted, answer)
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._book.answer, answered)
                kept = True
                seconds = trio.current_time() - started
                self._figures.answered(answered, seconds)
                self._tell(answered, seconds)
                told = proof(answered)
                hand_on(send, Ended(0, answer))
                hand_on(send, Done({"openledger": told}, (encode_event(told, RECEIPT_EVENT),)))
            except Refusal as refusal:
                self._figures.failed(refusal.reason.name)
                hand_on(send, refusal)
            except Exception as error:  # a stranger's request must not stop the worker
                _LOG.error(
                    "answer failed", trace=True, session=voucher.session, nonce=voucher.nonce
                )
                self._figures.failed(type(error).__name__)
                hand_on(send, ApiRefused(ApiReason.FAILED))
            finally:
                self._under_way -= 1
                if not kept:
                    await self._abandon(voucher.session, voucher.nonce)

    async def _compute(self, request: Request, send: trio.MemorySendChannel[Event]) -> Answer:
        async with self._room.engine.stream(request) as stream:
            async for token in stream:
                if not hand_on(send, Drawn(0, token)):
                    stream.cancel()
        answer = stream.answer
        if answer is None or not answer.output_ids:
            raise ApiRefused(ApiReason.FAILED, "the answer was cut off before its first token")
        return answer

    def _sign(self, admitted: Admitted, answer: Answer) -> Answered:
        voucher, request = admitted.signed.voucher, admitted.request
        engine = self._statement()
        due = cost(admitted.session.price, answer.prompt_tokens, len(answer.output_ids))
        receipt = Receipt(
            genesis=voucher.genesis,
            session=voucher.session,
            nonce=voucher.nonce,
            request_hash=voucher.request_hash,
            response_hash=response_hash(answer.output_ids),
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=len(answer.output_ids),
            compute=due.compute,
            premium=due.premium,
            manifest_hash=admitted.model.manifest,
            engine_hash=statement_hash(engine),
            sampling_hash=request.sampling.content_hash,
            logits_digest=answer.trace.digest,
        )
        return Answered(
            signed=SignedReceipt(receipt, self._key.sign(signing_bytes(receipt))),
            prompt_ids=request.prompt_ids,
            output_ids=answer.output_ids,
            sampling=request.sampling,
            model=admitted.model.id,
            height=self._view.height,
            trace=answer.trace,
            engine=engine,
        )

    async def _abandon(self, session: int, nonce: int) -> None:
        with trio.CancelScope(shield=True):
            try:
                await trio.to_thread.run_sync(self._book.abandon, session, nonce)
            except sqlite3.Error as error:  # the next start abandons it
                _LOG.error("voucher not released", session=session, nonce=nonce, cause=error)

    def _tell(self, answered: Answered, seconds: float) -> None:
        receipt = answered.signed.receipt
        _LOG.info(
            "answered",
            session=receipt.session,
            nonce=receipt.nonce,
            prompt=receipt.prompt_tokens,
            tokens=receipt.completion_tokens,
            fee=receipt.cost().total(),
            receipt=answered.hash,
            seconds=seconds,
        )
        self.answered.set()
        self.answered = trio.Event()
