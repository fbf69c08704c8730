"""Clients that make drawn calls over HTTP and WebSocket, and check all that comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import httpx
import trio

from benches.rpc_socket import Closed, RpcSocket
from node.rpc.errors import INVALID_REQUEST, OVERSIZED_RESPONSE
from node.rpc.limits import RpcLimits
from tests.e2e.rpc_answers import Answers, decode, speaks
from tests.e2e.rpc_calls import Calls, Described, encode
from tests.e2e.rpc_values import Known
from tests.patience import PATIENCE

_JSON = {"content-type": "application/json"}

MOST_BYTES = RpcLimits().request_bytes
_SHOWN = 2000


class Stranger:
    """One client; whatever is wrong is told with the seed and the message that led to it."""

    _letter = ""

    def __init__(self, port: int, calls: Calls, known: Known, answers: Answers, seed: int) -> None:
        self._port = port
        self._calls = calls
        self._known = known
        self._answers = answers
        self._seed = seed
        self._idents = count(1)

    def _judge(self, sent: bytes, check: Callable[[], None]) -> None:
        try:
            check()
        except Exception as fault:
            shown = sent if len(sent) <= _SHOWN else sent[:_SHOWN] + b"..."
            raise AssertionError(
                f"seed {self._seed}: {fault}\n{len(sent)} bytes sent: {shown!r}"
            ) from fault

    def _learn(self, answer: Any) -> None:
        """Remember ids for later calls."""
        result = answer.get("result") if isinstance(answer, dict) else None
        if isinstance(result, str) and len(result) == 16:
            self._known.learn(result)
        elif isinstance(result, dict) and isinstance(result.get("operationId"), str):
            self._known.learn(result["operationId"])

    def _drawn(self, method: Described) -> list[Any]:
        """Draw one request, or now and then a batch of them."""
        source = self._calls.source
        if source.random() < 0.9:
            return [self._one(method)]
        return [self._one(source.choice(self._calls.methods)) for _ in range(source.randrange(20))]

    def _one(self, method: Described) -> Any:
        if self._calls.source.random() < 0.1:
            return self._calls.misshapen(method)
        return self._distinct(method)

    def _distinct(self, method: Described) -> dict[str, Any]:
        """Draw a request with an id of its own."""
        return self._calls.request(method, f"{self._letter}{next(self._idents)}")


class HttpStranger(Stranger):
    """Posts requests one after the other, bodies that are none among them."""

    _letter = "h"

    async def run(self, rounds: int) -> None:
        """Call every method so often."""
        async with httpx.AsyncClient(timeout=PATIENCE) as web:
            for _ in range(rounds):
                for method in self._calls.round():
                    if self._calls.source.random() < 0.03:
                        await self._post_body(web, self._calls.body())
                    await self._post(web, self._drawn(method))

    async def _post(self, web: httpx.AsyncClient, requests: list[Any]) -> None:
        batched = len(requests) != 1
        body = encode(requests if batched else requests[0])
        if len(body) > MOST_BYTES:
            return
        told = await web.post(f"http://127.0.0.1:{self._port}", content=body, headers=_JSON)

        def check() -> None:
            assert told.status_code == 200
            wanted = [request for request in requests if speaks(request)]
            if requests and not wanted:
                assert told.content == b""
                return
            answers = decode(told.content)
            if batched and isinstance(answers, list):
                assert len(answers) == len(wanted)
            elif batched:
                assert answers["error"]["code"] in (INVALID_REQUEST, OVERSIZED_RESPONSE)
                return
            for request, answer in zip(wanted, answers if batched else [answers], strict=True):
                self._check(request, answer, len(told.content))

        self._judge(body, check)

    def _check(self, request: Any, answer: Any, size: int) -> None:
        self._answers.check(answer, _method(request), size)
        ident = request.get("id") if isinstance(request, dict) else None
        if isinstance(ident, str | int | float) and not isinstance(ident, bool):
            assert answer["id"] in (ident, None)
        self._learn(answer)

    async def _post_body(self, web: httpx.AsyncClient, body: bytes) -> None:
        told = await web.post(f"http://127.0.0.1:{self._port}", content=body, headers=_JSON)

        def check() -> None:
            assert told.status_code == 200
            if not told.content:  # the id was spoilt: a notification
                return
            answers = decode(told.content)
            for answer in answers if isinstance(answers, list) else [answers]:
                assert answer["jsonrpc"] == "2.0"
                assert answer.get("error", {}).get("code") != -32603

        self._judge(body, check)


class SocketStranger(Stranger):
    """Sends bunches of requests over a WebSocket; what it subscribes to stays until it leaves."""

    _letter = "w"

    async def run(self, rounds: int) -> None:
        """Call every method so often, over another connection in each round."""
        for _ in range(rounds):
            socket = await RpcSocket.connect(self._port)
            try:
                for methods in _bunches(self._calls.round(), 16):
                    await self._exchange(socket, methods)
            finally:
                await trio.aclose_forcefully(socket.stream)

    async def _exchange(self, socket: RpcSocket, methods: list[Described]) -> None:
        drawn = [self._distinct(method) for method in methods]
        requests = {r["id"]: r for r in drawn if len(encode(r)) <= MOST_BYTES}
        sent = [encode(request) for request in requests.values()]
        odd = [self._calls.misshapen(method) for method in methods[:2]]
        batch = [self._distinct(method) for method in methods[:3]] + odd
        waiting: Counter[object] = Counter(requests.keys())
        if len(encode(batch)) <= MOST_BYTES:
            sent.append(encode(batch))
            waiting[batch[0]["id"]] += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.send, *sent)
            with trio.fail_after(PATIENCE):
                while waiting.total():
                    try:
                        message = await socket.receive()
                    except Closed as closed:
                        shown = b" ".join(sent)[:_SHOWN]
                        text = f"seed {self._seed}: closed ({closed}) on {shown!r}"
                        raise AssertionError(text) from closed
                    self._take(message, requests, batch, waiting)

    def _take(
        self, message: bytes, requests: dict[Any, Any], batch: list[Any], waiting: Counter[object]
    ) -> None:
        told = decode(message)
        if isinstance(told, list):
            wanted = [request for request in batch if speaks(request)]
            waiting[batch[0]["id"]] -= 1

            def check() -> None:
                assert len(told) == len(wanted)
                for request, answer in zip(wanted, told, strict=True):
                    self._answers.check(answer, _method(request), len(message))
                    self._learn(answer)

            self._judge(encode(batch), check)
        elif "id" in told:
            request = requests.get(told["id"], {"method": "", "of": "a batch"})
            waiting[told["id"] if told["id"] in requests else batch[0]["id"]] -= 1

            def check_one() -> None:
                self._answers.check(told, _method(request), len(message))
                self._learn(told)

            self._judge(encode(request), check_one)
        else:
            assert told["jsonrpc"] == "2.0"
            assert set(told["params"]) == {"subscription", "result"}, told


def _method(request: Any) -> object:
    return request.get("method") if isinstance(request, dict) else None


def _bunches(methods: list[Described], size: int) -> Iterator[list[Described]]:
    for start in range(0, len(methods), size):
        yield methods[start : start + size]
