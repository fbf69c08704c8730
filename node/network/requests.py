"""Questions and answers, each on a stream of its own.

Asked: the kind's byte, a frame with the body. Answered: a frame with msgpack [name of the reason
or "OK", text], then frames of 1 MiB at most, then an empty one.
"""

from __future__ import annotations

from typing import Protocol

import msgpack
import trio

from node.log import Log
from node.network.direct import Wire
from node.network.framing import (
    FrameTooLarge,
    Stream,
    StreamBroken,
    frame,
    read_exactly,
    read_frame,
)
from node.network.interface import (
    Counters,
    FailReason,
    Handler,
    Offence,
    RequestFailed,
    RequestKind,
)
from node.network.limits import CHUNK, CONCURRENT_REQUESTS, REQUESTS
from node.network.link import Link

_log = Log("network")

PROTOCOL = "/openledger/ask/1"
MAX_STATUS = 1024
BODY_SECONDS = 10.0
CHUNK_SECONDS = 15.0
_TELLABLE = {
    r.name: r
    for r in (FailReason.REFUSED, FailReason.BUSY, FailReason.TOO_LARGE, FailReason.TIMEOUT)
}


class Judge(Protocol):
    """Takes note of how peers behave."""

    def penalise(self, peer: str, offence: Offence, detail: str) -> None:
        """Count an offence."""


class Requests:
    """Asks and answers for one node."""

    def __init__(self, wire: Wire, judge: Judge, counters: Counters) -> None:
        self._wire = wire
        self._judge = judge
        self._counters = counters
        self._handlers: dict[RequestKind, Handler] = {}

    def set_handler(self, kind: RequestKind, handler: Handler) -> None:
        """Answer requests of a kind."""
        self._handlers[kind] = handler

    async def ask(
        self, link: Link, kind: RequestKind, body: bytes, timeout: float | None, limit: int | None
    ) -> bytes:
        """Ask a peer; raises RequestFailed."""
        limits = REQUESTS[kind]
        if len(body) > limits.body:
            raise RequestFailed(FailReason.TOO_LARGE, f"a request of {len(body)} bytes")
        self._counters.requests_out[kind] += 1
        most = min(limit if limit is not None else limits.answer, limits.answer)
        try:
            with trio.fail_after(timeout if timeout is not None else limits.timeout):
                async with link.asking:
                    return await self._exchange(link, kind, body, most)
        except trio.TooSlowError:
            self._counters.requests_failed += 1
            self._judge.penalise(link.peer, Offence.SLOW, f"no answer to {kind.name}")
            raise RequestFailed(FailReason.TIMEOUT) from None
        except StreamBroken as error:
            self._counters.requests_failed += 1
            raise RequestFailed(FailReason.DISCONNECTED, str(error)) from None
        except RequestFailed:
            self._counters.requests_failed += 1
            raise

    async def _exchange(self, link: Link, kind: RequestKind, body: bytes, most: int) -> bytes:
        stream = await self._wire.open(link.peer, PROTOCOL)
        try:
            await stream.write(bytes([kind]) + frame(body))
            status = await read_frame(stream, MAX_STATUS)
            failed = _decode_status(status)
            if failed is not None:
                raise failed
            return await _read_answer(stream, most)
        except (FrameTooLarge, ValueError) as error:
            self._judge.penalise(link.peer, Offence.MALFORMED, f"{kind.name}: {error}")
            raise RequestFailed(FailReason.MALFORMED, str(error)) from None
        finally:
            await stream.reset()

    async def serve(self, link: Link, stream: Stream) -> None:
        """Answer one request of a peer."""
        link.serving += 1
        try:
            with trio.fail_after(BODY_SECONDS):
                (number,) = await read_exactly(stream, 1)
                kind = RequestKind(number)
                body = await read_frame(stream, REQUESTS[kind].body)
            self._counters.requests_in[kind] += 1
            await self._answer(link, kind, body, stream)
        except FrameTooLarge as error:
            self._judge.penalise(link.peer, Offence.OVERSIZED, f"request: {error}")
        except ValueError:
            await _say(stream, FailReason.REFUSED, "this kind of request is unknown here")
            self._judge.penalise(link.peer, Offence.UNWANTED, "a request of an unknown kind")
        except (StreamBroken, trio.TooSlowError):
            await stream.reset()
        finally:
            link.serving -= 1
            await stream.close()

    async def _answer(self, link: Link, kind: RequestKind, body: bytes, stream: Stream) -> None:
        limits = REQUESTS[kind]
        if not link.asked[kind].take(1, trio.current_time()):
            self._judge.penalise(link.peer, Offence.FLOOD, f"too many requests of {kind.name}")
            await _say(stream, FailReason.BUSY, "too many requests per second")
            return
        if link.serving > CONCURRENT_REQUESTS:
            await _say(stream, FailReason.BUSY, "too many requests at a time")
            return
        handler = self._handlers.get(kind)
        answer: bytes | None = None
        with trio.move_on_after(limits.timeout) as scope:
            if handler is not None:
                try:
                    answer = await handler(link.peer, body)
                except Exception as error:
                    _log.fault("request handler failed", error, kind=kind.name)
        if scope.cancelled_caught:
            await _say(stream, FailReason.TIMEOUT, "this node took too long")
        elif answer is None:
            await _say(stream, FailReason.REFUSED, "there is nothing here to answer this with")
        elif len(answer) > limits.answer:
            await _say(stream, FailReason.TOO_LARGE, f"the answer would have {len(answer)} bytes")
        else:
            await _write_answer(stream, answer)


async def _write_answer(stream: Stream, answer: bytes) -> None:
    await stream.write(frame(bytes(msgpack.packb(["OK", ""]))))
    view = memoryview(answer)
    for start in range(0, len(answer), CHUNK):
        with trio.fail_after(CHUNK_SECONDS):
            await stream.write(frame(bytes(view[start : start + CHUNK])))
    await stream.write(frame(b""))


async def _read_answer(stream: Stream, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await read_frame(stream, CHUNK):
        size += len(part)
        if size > most:
            raise RequestFailed(FailReason.TOO_LARGE, f"the answer exceeds {most} bytes")
        parts.append(part)
    return b"".join(parts)


async def _say(stream: Stream, reason: FailReason, detail: str) -> None:
    await stream.write(frame(bytes(msgpack.packb([reason.name, detail]))))


def _decode_status(data: bytes) -> RequestFailed | None:
    """Decode how a request went; raises ValueError."""
    try:
        name, detail = msgpack.unpackb(data)
        if name == "OK":
            return None
        return RequestFailed(_TELLABLE[name], str(detail)[:256])
    except (TypeError, LookupError, msgpack.UnpackException, RecursionError) as error:
        raise ValueError(f"no status: {error!r}") from None
