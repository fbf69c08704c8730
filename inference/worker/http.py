"""The worker's own addresses: its models, and what proves and explains an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from inference.api.bodies import CHAT_TEMPLATE, AnyBody
from inference.api.errors import ApiReason, ApiRefused
from inference.api.events import Opened
from inference.api.http import Door, Served
from inference.api.models import ModelList
from inference.worker.book import SessionBook
from inference.worker.book_rows import Answered
from inference.worker.library import Library
from inference.worker.payment_errors import PaymentReason
from inference.worker.proof import proof
from inference.worker.serving import Serving
from runtime.protocols.voucher import VOUCHER_HEADER


class TwoDoors:
    """Vouchers to the paid door; what comes without one to the door of keys, if there is one."""

    def __init__(self, paid: Door, keyed: Door | None) -> None:
        self._paid = paid
        self._keyed = keyed

    async def open(self, headers: Headers, raw: bytes, body: AnyBody) -> Opened:
        """Admit a request and start its answer; raises Refusal."""
        if self._keyed is None or VOUCHER_HEADER in headers:
            return await self._paid.open(headers, raw, body)
        return await self._keyed.open(headers, raw, body)


class WorkerModels:
    """The launched models of the chain, and for keys the server's own ones too."""

    def __init__(self, library: Library, own: ModelList | None) -> None:
        self._library = library
        self._own = own

    async def listed(self) -> list[dict[str, Any]]:
        """Return the entries of `/v1/models`."""
        own = [] if self._own is None else await self._own.listed()
        return [*await self._launched(), *own]

    async def adapter(self, name: str) -> bytes | None:
        """Return the hash behind a name, the chain's names first; raises UNKNOWN_MODEL."""
        try:
            return await self._library.adapter_of(await self._library.resolve(name))
        except ApiRefused as refusal:
            if self._own is None or refusal.reason is not ApiReason.UNKNOWN_MODEL:
                raise
            return await self._own.adapter(name)

    async def ready(self, content_hash: bytes) -> None:
        """Wait until an adapter is in the store."""
        if self._own is None:
            await self._library.bring(content_hash)
        else:
            await self._own.ready(content_hash)

    async def _launched(self) -> list[dict[str, Any]]:
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
        return listed


class ProofRoutes:
    """Sessions, receipts and attributions."""

    def __init__(self, serving: Serving, book: SessionBook, height: Callable[[], int]) -> None:
        self._serving = serving
        self._book = book
        self._height = height

    def served(self) -> list[Served]:
        """List what is served."""
        return [
            ("GET", "/v1/sessions/{session:int}", self._session),
            ("GET", "/v1/receipts/{hash}", self._receipt),
            ("GET", "/v1/receipts/{hash}/attribution", self._attribution),
        ]

    async def _session(self, request: Request) -> Response:
        number = int(request.path_params["session"])
        if number >= 2**63:
            raise ApiRefused(PaymentReason.UNKNOWN_SESSION)
        session = await self._serving.session(number)
        seen = await trio.to_thread.run_sync(self._book.view, number, session)
        return JSONResponse(
            {
                "session": number,
                "state": session.state.name.lower(),
                "height": self._height(),
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
            raise ApiRefused(PaymentReason.UNKNOWN_RECEIPT)
        return found
