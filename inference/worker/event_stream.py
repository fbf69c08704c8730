"""A streamed answer as server-sent events."""

from __future__ import annotations

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from inference.worker.api_answers import RECEIPT_EVENT, Shape, event, proof
from inference.worker.api_errors import problem
from inference.worker.serving import Event, Finished
from runtime.primitives.errors import Refusal


class EventStream(Response):
    """A streamed answer; the connection's end is noticed at once and closes the channel."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: trio.MemoryReceiveChannel[Event],
        shape: Shape,
        *,
        include_usage: bool,
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._shape = shape
        self._include_usage = include_usage
        self._first = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the customer is gone."""
        async with self._events, trio.open_nursery() as nursery:

            async def leave() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(leave)
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            async for found in self._events:
                for chunk in self._chunks(found):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()

    def _chunks(self, found: Event) -> list[bytes]:
        if isinstance(found, Refusal):
            return [event(problem(found)[1])]
        if not isinstance(found, Finished):
            if not found.text and not self._first:
                return []
            piece = event(self._shape.piece(found.text, first=self._first))
            self._first = False
            return [piece]
        count = [event(self._shape.count(found.answer))] if self._include_usage else []
        return [
            event(self._shape.end(found.answer)),
            *count,
            event("[DONE]"),
            # Behind [DONE]: clients that know only OpenAI's events have stopped reading.
            event(proof(found.answered), RECEIPT_EVENT),
        ]
