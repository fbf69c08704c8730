"""The addresses of the interface, and how a refusal leaves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import trio
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from inference.api.answers import Shape
from inference.api.bodies import MAX_BODY, AnyBody, read_chat, read_completion
from inference.api.errors import ApiReason, ApiRefused
from inference.api.events import Opened
from inference.api.keys import Authority
from inference.api.loading import MAX_UPLOAD, Loader
from inference.api.models import ModelList
from inference.api.reply import KEEP_ALIVE_SECONDS, Reply, refused
from inference.api.token_texts import TokenTexts
from inference.log import Log
from runtime.primitives.errors import Refusal

_LOG = Log("http")
BODY_SECONDS, BODY_PACE = 20.0, 1 << 20
"""How long a body may take: so many seconds, and one more for so many bytes of its limit."""
Handler = Callable[[Request], Awaitable[Response]]
Served = tuple[str, str, Handler]
"""Method, path and handler."""


class Door(Protocol):
    """Admits requests."""

    async def open(self, headers: Headers, raw: bytes, body: AnyBody) -> Opened:
        """Admit a request and start its answers; raises Refusal."""


class AnswerRoutes:
    """Completions and chats."""

    def __init__(
        self,
        door: Door,
        texts: TokenTexts,
        fingerprint: str,
        keep_alive: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        self._door = door
        self._texts = texts
        self._fingerprint = fingerprint
        self._keep_alive = keep_alive

    def served(self) -> list[Served]:
        """List what is served."""
        return [
            ("POST", "/v1/completions", self._completions),
            ("POST", "/v1/chat/completions", self._chat),
        ]

    async def _completions(self, request: Request) -> Response:
        raw = await body_of(request)
        return await self._answer(request, raw, read_completion(raw))

    async def _chat(self, request: Request) -> Response:
        raw = await body_of(request)
        return await self._answer(request, raw, read_chat(raw))

    async def _answer(self, request: Request, raw: bytes, body: AnyBody) -> Response:
        opened = await self._door.open(request.headers, raw, body)
        shape = Shape(body, opened.name, self._texts, self._fingerprint)
        return Reply(
            opened,
            shape,
            stream=body.stream,
            include_usage=body.include_usage,
            keep_alive=self._keep_alive,
        )


class ModelRoutes:
    """The list of models, and loading and unloading of adapters."""

    def __init__(
        self,
        models: ModelList,
        authority: Authority | None = None,
        loader: Loader | None = None,
        public: ModelList | None = None,
    ) -> None:
        """Set up the addresses.

        Args:
            models: what is listed to callers that the authority knows.
            authority: None lists to everybody, and lets nobody load.
            loader: loads and unloads adapters; None for a server that does not.
            public: what is listed to those that send no key; None for nothing.
        """
        self._models = models
        self._authority = authority
        self._loader = loader
        self._public = public

    def served(self) -> list[Served]:
        """List what is served."""
        found: list[Served] = [
            ("GET", "/v1/models", self._list),
            ("GET", "/v1/models/{name:path}", self._one),
        ]
        if self._loader is not None:
            found += [
                ("POST", "/v1/load_lora_adapter", self._load),
                ("POST", "/v1/unload_lora_adapter", self._unload),
            ]
        return found

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": await self._listed(request)})

    async def _one(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        for model in await self._listed(request):
            if model["id"] == name:
                return JSONResponse(model)
        raise ApiRefused(ApiReason.UNKNOWN_MODEL, f"the model {name!r} is not served", "model")

    async def _listed(self, request: Request) -> list[dict[str, Any]]:
        if self._public is not None and "authorization" not in request.headers:
            return await self._public.listed()
        if self._authority is not None:
            self._authority.caller(request.headers)
        return await self._models.listed()

    async def _load(self, request: Request) -> Response:
        loaded = await self._administered(request).load(await body_of(request, MAX_UPLOAD))
        return JSONResponse({"id": loaded.name, "root": f"0x{loaded.content_hash.hex()}"})

    async def _unload(self, request: Request) -> Response:
        removed = await self._administered(request).unload(await body_of(request))
        return JSONResponse({"id": removed.name, "root": f"0x{removed.content_hash.hex()}"})

    def _administered(self, request: Request) -> Loader:
        """Return the loader to who may use it, before a byte of the body is read."""
        if self._authority is None or self._loader is None:
            raise ApiRefused(ApiReason.NOT_ADMIN)
        if not self._authority.caller(request.headers).is_admin:
            raise ApiRefused(ApiReason.NOT_ADMIN)
        return self._loader


class StateRoutes:
    """Health and figures, for machines."""

    def __init__(self, health: Callable[[], dict[str, Any]], figures: Callable[[], bytes]) -> None:
        self._health = health
        self._figures = figures

    def served(self) -> list[Served]:
        """List what is served."""
        return [("GET", "/health", self._healthy), ("GET", "/metrics", self._metrics)]

    async def _healthy(self, request: Request) -> Response:
        state = self._health()
        return JSONResponse(state, status_code=200 if state["ready"] else 503)

    async def _metrics(self, request: Request) -> Response:
        return Response(self._figures(), media_type="text/plain; version=0.0.4")


def application(
    served: Sequence[Served], refusal_seen: Callable[[Refusal], object] | None = None
) -> Starlette:
    """Build the ASGI application; `refusal_seen` is told of every refusal of a handler."""

    async def unknown(request: Request, error: Exception) -> Response:
        return refused(ApiRefused(ApiReason.UNKNOWN_PATH))

    async def bad_method(request: Request, error: Exception) -> Response:
        return refused(ApiRefused(ApiReason.BAD_METHOD))

    return Starlette(
        routes=[
            Route(path, _guarded(handler, refusal_seen), methods=[method])
            for method, path, handler in served
        ],
        exception_handlers={404: unknown, 405: bad_method},
    )


def _guarded(handler: Handler, refusal_seen: Callable[[Refusal], object] | None) -> Handler:
    """Turn refusals into typed JSON; nothing that a stranger sends stops the server."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except Refusal as refusal:
            if refusal_seen is not None:
                refusal_seen(refusal)
            return refused(refusal)
        except Exception:  # a stranger's request must not stop the server
            _LOG.error("request failed", trace=True, path=request.url.path)
            return refused(ApiRefused(ApiReason.FAILED))

    return guarded


async def body_of(request: Request, most: int = MAX_BODY) -> bytes:
    """Read a body within its limit, whatever its headers claim, and within a time."""
    parts: list[bytes] = []
    size = 0
    try:
        with trio.fail_after(BODY_SECONDS + most / BODY_PACE):
            async with aclosing(request.stream()) as stream:
                async for part in stream:
                    size += len(part)
                    if size > most:
                        text = f"a body has at most {most} bytes"
                        raise ApiRefused(ApiReason.BODY_TOO_LARGE, text)
                    parts.append(part)
    except ClientDisconnect:
        raise ApiRefused(ApiReason.BAD_JSON, "the body ends before its time") from None
    except trio.TooSlowError:
        raise ApiRefused(ApiReason.BODY_TOO_SLOW) from None
    return b"".join(parts)
