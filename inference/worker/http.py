"""The HTTP interface: OpenAI's, plus what proves and explains an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from inference.worker.api_answers import Shape, proof
from inference.worker.api_bodies import (
    CHAT_TEMPLATE,
    MAX_BODY,
    ChatBody,
    CompletionBody,
    read_chat,
    read_completion,
)
from inference.worker.api_errors import ApiReason, ApiRefused, problem
from inference.worker.book import SessionBook
from inference.worker.book_rows import Answered
from inference.worker.event_stream import EventStream
from inference.worker.figures import Figures
from inference.worker.library import Library
from inference.worker.log import Log
from inference.worker.serving import Finished, Serving
from runtime.primitives.errors import Refusal
from runtime.protocols.voucher import VOUCHER_HEADER

_LOG = Log("http")
Handler = Callable[[Request], Awaitable[Response]]


class HttpInterface:
    """Translates between HTTP and the parts of the worker."""

    def __init__(
        self,
        serving: Serving,
        library: Library,
        book: SessionBook,
        figures: Figures,
        health: Callable[[], dict[str, Any]],
    ) -> None:
        self._serving = serving
        self._library = library
        self._book = book
        self._figures = figures
        self._health = health

    def application(self) -> Starlette:
        """Build the ASGI application."""
        served: list[tuple[str, str, Handler]] = [
            ("POST", "/v1/completions", self._completions),
            ("POST", "/v1/chat/completions", self._chat),
            ("GET", "/v1/models", self._models),
            ("GET", "/v1/sessions/{session:int}", self._session),
            ("GET", "/v1/receipts/{hash}", self._receipt),
            ("GET", "/v1/receipts/{hash}/attribution", self._attribution),
            ("GET", "/health", self._healthy),
            ("GET", "/metrics", self._metrics),
        ]
        return Starlette(
            routes=[
                Route(path, self._guarded(handler), methods=[method])
                for method, path, handler in served
            ]
        )

    def _guarded(self, handler: Handler) -> Handler:
        """Turn refusals into typed JSON; nothing that a stranger sends stops the worker."""

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except Refusal as refusal:
                self._figures.failed(refusal.reason.name)
                return _problem(refusal)
            except Exception:  # a stranger's request must not stop the worker
                _LOG.error("request failed", trace=True, path=request.url.path)
                return _problem(ApiRefused(ApiReason.FAILED))

        return guarded

    async def _completions(self, request: Request) -> Response:
        raw = await _body(request)
        return await self._answer(request, raw, read_completion(raw))

    async def _chat(self, request: Request) -> Response:
        raw = await _body(request)
        return await self._answer(request, raw, read_chat(raw))

    async def _answer(
        self, request: Request, raw: bytes, body: CompletionBody | ChatBody
    ) -> Response:
        header = request.headers.get(VOUCHER_HEADER)
        admitted, events = await self._serving.open(raw, header, body)
        shape = Shape(admitted, body.model, chat=isinstance(body, ChatBody))
        if body.stream:
            return EventStream(events, shape, include_usage=body.include_usage)
        async with events:
            async for found in events:
                if isinstance(found, Finished):
                    return JSONResponse(shape.whole(found))
                if isinstance(found, Refusal):
                    return _problem(found)
        raise ApiRefused(ApiReason.NOT_READY)

    async def _models(self, request: Request) -> Response:
        listed = []
        for number, model in await self._library.catalogue():
            price = model.price
            listed.append(
                {
                    "id": model.name.decode(),
                    "object": "model",
                    "created": 0,
                    "owned_by": f"0x{model.owner.hex()}",
                    "openledger": {
                        "model": number,
                        "alias": f"model:{number}",
                        "loaded": number in self._library.loaded,
                        "chat_template": CHAT_TEMPLATE,
                        "price": None
                        if price is None
                        else {
                            "compute_in": str(price.compute_in),
                            "compute_out": str(price.compute_out),
                            "premium": str(price.premium),
                        },
                    },
                }
            )
        return JSONResponse({"object": "list", "data": listed})

    async def _session(self, request: Request) -> Response:
        number = int(request.path_params["session"])
        if number >= 2**63:
            raise ApiRefused(ApiReason.UNKNOWN_SESSION)
        session = await self._serving.session(number)
        seen = await trio.to_thread.run_sync(self._book.view, number, session)
        return JSONResponse(
            {
                "session": number,
                "state": session.state.name.lower(),
                "height": self._health()["height"],
                "next_nonce": seen.last_nonce + 1,
                "escrow": str(seen.escrow),
                "charged": str(seen.charged),
                "reserved": str(seen.reserved),
                "max_fee": str(session.max_fee),
                "expires": session.expires,
            }
        )

    async def _receipt(self, request: Request) -> Response:
        answered = await self._found(request)
        known = proof(answered) | {"attribution": answered.explanation}
        # Tokens go to the customer alone, who has them; a hash may be known to others.
        return JSONResponse(
            {k: v for k, v in known.items() if k not in ("prompt_ids", "output_ids")}
        )

    async def _attribution(self, request: Request) -> Response:
        answered = await self._found(request)
        report = answered.report
        return JSONResponse(
            {
                "receipt_hash": f"0x{answered.hash.hex()}",
                "status": answered.attributed.name.lower(),
                "query": None
                if report is None
                else {
                    "codes": f"0x{report.query.codes.hex()}",
                    "exponents": list(report.query.exponents),
                },
                **(answered.explanation or {}),
            },
            status_code=200 if answered.attributed else 202,
        )

    async def _found(self, request: Request) -> Answered:
        text = str(request.path_params["hash"]).removeprefix("0x")
        try:
            digest = bytes.fromhex(text)
        except ValueError:
            digest = b""
        found = await trio.to_thread.run_sync(self._book.find, digest)
        if found is None:
            raise ApiRefused(ApiReason.UNKNOWN_RECEIPT)
        return found

    async def _healthy(self, request: Request) -> Response:
        state = self._health()
        return JSONResponse(state, status_code=200 if state["ready"] else 503)

    async def _metrics(self, request: Request) -> Response:
        return Response(self._figures.text(), media_type="text/plain; version=0.0.4")


async def _body(request: Request) -> bytes:
    """Read a body within its limit, whatever its headers claim."""
    parts: list[bytes] = []
    size = 0
    async with aclosing(request.stream()) as stream:
        async for part in stream:
            size += len(part)
            if size > MAX_BODY:
                raise ApiRefused(ApiReason.BODY_TOO_LARGE, f"a body has at most {MAX_BODY} bytes")
            parts.append(part)
    return b"".join(parts)


def _problem(refusal: Refusal) -> JSONResponse:
    status, body = problem(refusal)
    headers = {"retry-after": "1"} if status in (429, 503) else None
    return JSONResponse(body, status_code=status, headers=headers)
