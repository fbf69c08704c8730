"""An answer on its way to the client: one JSON document, or server-sent events.

A stream begins with its first token, so that what is refused until then has its HTTP status; who
has to wait longer gets the head of the stream and a comment now and then, lest a proxy in between
takes the silence for the end.
"""

from __future__ import annotations

import trio
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from inference.api.answers import Shape
from inference.api.errors import ApiReason, ApiRefused, problem
from inference.api.events import Done, Drawn, Ended, Event, Opened, encode_event
from runtime.primitives.errors import Refusal

GRACE_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 10.0
WAITING = b": waiting\n\n"


class Reply(Response):
    """Sends what an admitted request yields; notices at once when the client has left."""

    def __init__(
        self,
        opened: Opened,
        shape: Shape,
        *,
        stream: bool,
        include_usage: bool,
        keep_alive: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        super().__init__()
        self._opened = opened
        self._shape = shape
        self._streamed = stream
        self._include_usage = include_usage
        self._keep_alive = keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, until it ends or the client is gone."""
        try:
            async with self._opened.events:
                end = await self._watched(receive, send)
                if end is not None:
                    await end(scope, receive, send)
        finally:
            self._opened.leave()

    async def _watched(self, receive: Receive, send: Send) -> ASGIApp | None:
        """Return what ends the reply; None if the client left before.

        The end is sent without a watch: the server calls the client gone as soon as a reply is
        complete, and must not be cut off while it closes the connection or makes it ready again.
        """
        end: ASGIApp | None = None
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            if self._streamed or not self._opened.outlives:
                nursery.start_soon(watch)
            end = await (self._stream(send) if self._streamed else self._whole())
            nursery.cancel_scope.cancel()
        return end

    async def _whole(self) -> Response:
        async for event in self._opened.events:
            match event:
                case Drawn():
                    self._shape.add(event.index, event.token)
                case Ended():
                    self._shape.close(event.index, event.answer)
                case Done():
                    return JSONResponse(self._shape.whole(event.fields))
                case _:
                    return refused(event)
        return refused(ApiRefused(ApiReason.NOT_READY))

    async def _stream(self, send: Send) -> ASGIApp:
        event = await self._next(GRACE_SECONDS)
        if isinstance(event, Refusal):
            return refused(event)
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while True:
            for chunk in [WAITING] if event is None else self._chunks(event):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if isinstance(event, Done | Refusal):
                return _no_more
            event = await self._next(self._keep_alive)

    async def _next(self, seconds: float) -> Event | None:
        """Wait so long for an event; None where there is none yet."""
        with trio.move_on_after(seconds):
            try:
                return await self._opened.events.receive()
            except trio.EndOfChannel:
                return ApiRefused(ApiReason.NOT_READY)
        return None

    def _chunks(self, event: Event) -> list[bytes]:
        match event:
            case Drawn():
                piece = self._shape.piece(event.index, event.token)
                return [] if piece is None else [encode_event(piece)]
            case Ended():
                return [encode_event(self._shape.end(event.index, event.answer))]
            case Done():
                count = [encode_event(self._shape.count())] if self._include_usage else []
                # Behind [DONE]: clients that know only OpenAI's events have stopped reading.
                return [*count, encode_event("[DONE]"), *event.events]
            case _:
                return [encode_event(problem(event)[1])]


async def _no_more(scope: Scope, receive: Receive, send: Send) -> None:
    """Close a stream."""
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def refused(refusal: Refusal) -> JSONResponse:
    """Return a refusal as OpenAI's clients read it."""
    status, body, headers = problem(refusal)
    return JSONResponse(body, status_code=status, headers=headers)
