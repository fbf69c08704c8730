"""The engine as trio tasks see it: ask, iterate, cancel. Steps run in one worker thread.

async with open_engine(executor, tokenizer, store) as engine:
    async with engine.stream(request) as stream:
        async for token in stream:
            ...
    answer = stream.answer
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType

import trio

from inference.adapters.errors import AdapterRefused
from inference.adapters.lease import Lease
from inference.adapters.store import AdapterStore
from inference.backbone.tokenizer import Tokenizer
from inference.executor import Executor
from inference.figures import EngineFigures
from inference.request import Answer, Limits, Request, RequestReason, RequestRefused, Token
from inference.runner import Runner

POLL_SECONDS = 0.0005
"""How often copies to the device are looked after while nothing else is to do."""


class TokenStream:
    """The tokens of one request; the request starts with the first `async for` step.

    Leaving the `async with` block early, or being cancelled while waiting, cancels the request.
    """

    def __init__(self, engine: Engine, request: Request) -> None:
        self._engine = engine
        self._request = request
        self._send, self._receive = trio.open_memory_channel[Token](math.inf)
        self._number: int | None = None
        self._failure: RequestRefused | AdapterRefused | None = None
        self.answer: Answer | None = None
        """The finished answer, once the iteration has ended."""

    def __aiter__(self) -> TokenStream:
        return self

    async def __anext__(self) -> Token:
        if self._number is None:
            self._number = self._engine._submit(self._request, self)
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._failure is not None:
                raise self._failure from None
            raise StopAsyncIteration from None
        except trio.Cancelled:
            self.cancel()
            raise

    async def __aenter__(self) -> TokenStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Stop computing; the tokens computed so far remain readable."""
        if self._number is not None and self.answer is None and self._failure is None:
            self._engine._cancel(self._number)

    def _close(
        self, answer: Answer | None, failure: RequestRefused | AdapterRefused | None = None
    ) -> None:
        self.answer = answer
        self._failure = failure
        self._send.close()


class _Mailbox:
    """Collects a step's events on the worker thread; emptied by the trio side between steps."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.answer: Answer | None = None
        self.failure: RequestRefused | AdapterRefused | None = None

    def token(self, token: Token) -> None:
        self.tokens.append(token)

    def done(self, answer: Answer) -> None:
        self.answer = answer

    def failed(self, error: RequestRefused | AdapterRefused) -> None:
        self.failure = error


@dataclass(frozen=True, slots=True)
class _Arrival:
    number: int
    request: Request
    lease: Lease | None
    at: float
    again: bool = False


class Engine:
    """Serves requests of any mixture of adapters; make one with `open_engine`."""

    def __init__(
        self,
        executor: Executor,
        tokenizer: Tokenizer | None,
        store: AdapterStore | None,
        limits: Limits,
        weights: Mapping[str, int] | None,
    ) -> None:
        token = trio.lowlevel.current_trio_token()
        self._wake = trio.Event()
        self._runner = Runner(
            executor,
            tokenizer,
            store,
            limits,
            weights=weights,
            changed=lambda: _soon(token, self._awaken),
            hurry=lambda: bool(self._arrived),
        )
        self._streams: dict[int, tuple[TokenStream, _Mailbox]] = {}
        self._arrived: list[_Arrival] = []
        self._numbers: dict[int, int] = {}
        self._cancelled: list[int] = []
        self._next = 0
        self._closed = False

    @property
    def elsewhere(self) -> None:
        """It computes here."""

    @property
    def load(self) -> tuple[int, int]:
        """Numbers of running and of waiting requests."""
        running = len(self._runner.scheduler.running)
        return running, len(self._streams) - running

    @property
    def figures(self) -> EngineFigures:
        """What was done, and what is held now."""
        return self._runner.figures

    @property
    def resident(self) -> tuple[bytes, ...]:
        """Content hashes of the adapters on the device."""
        pool = self._runner.pool
        return () if pool is None else pool.resident

    def stream(self, request: Request) -> TokenStream:
        """Prepare a request; its `async for` steps may raise RequestRefused, AdapterRefused."""
        return TokenStream(self, request)

    async def generate(self, request: Request) -> Answer:
        """Compute a whole answer; raises RequestRefused, AdapterRefused."""
        async with self.stream(request) as stream:
            async for _ in stream:
                pass
        if stream.answer is None:
            raise RequestRefused(RequestReason.ENGINE_CLOSED, "the engine stopped; ask again")
        return stream.answer

    async def generate_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Compute several answers together, in the order of the requests."""
        answers: dict[int, Answer] = {}

        async def one(index: int, request: Request) -> None:
            answers[index] = await self.generate(request)

        async with trio.open_nursery() as nursery:
            for index, request in enumerate(requests):
                nursery.start_soon(one, index, request)
        return [answers[index] for index in range(len(requests))]

    def _submit(self, request: Request, stream: TokenStream) -> int:
        """Take a request for the next step; whether the queue has room shows then."""
        if self._closed:
            raise RequestRefused(RequestReason.ENGINE_CLOSED, "the engine has stopped")
        self._runner.check(request)
        lease = self._runner.lease_ahead(request)
        number = self._next
        self._next += 1
        self._streams[number] = stream, _Mailbox()
        self._arrived.append(_Arrival(number, request, lease, time.perf_counter()))
        self._wake.set()
        return number

    def _cancel(self, number: int) -> None:
        self._cancelled.append(number)
        self._wake.set()

    def _awaken(self) -> None:
        self._wake.set()

    async def _run(self) -> None:
        one_thread = trio.CapacityLimiter(1)
        while not self._closed:
            self._wake = trio.Event()
            self._exchange()
            due = await trio.to_thread.run_sync(self._runner.step, limiter=one_thread)
            self._deliver()
            if due or self._arrived:
                continue
            if self._runner.busy:
                with trio.move_on_after(POLL_SECONDS):
                    await self._wake.wait()
            else:
                await self._wake.wait()

    def _exchange(self) -> None:
        """Hand arrivals and cancellations to the runner, which is at rest now."""
        arrived, self._arrived = self._arrived, []
        for arrival in arrived:
            self._hand_over(arrival)
        for number in self._cancelled:
            if number in self._numbers:
                self._runner.cancel(self._numbers[number])
        late = {arrival.number for arrival in self._arrived}
        self._cancelled = [number for number in self._cancelled if number in late]
        self._deliver()

    def _hand_over(self, arrival: _Arrival) -> None:
        mailbox = self._streams[arrival.number][1]
        request, lease = arrival.request, arrival.lease
        try:
            number = self._runner.submit(request, mailbox, lease, arrival.at)
        except RequestRefused as refusal:
            if self._runner.has_room and not arrival.again:
                # The queue is full of others who came just now and may be admitted at once.
                self._arrived.append(replace(arrival, lease=None, again=True))
            else:
                mailbox.failure = refusal
        else:
            self._numbers[arrival.number] = number

    def _deliver(self) -> None:
        done = []
        for number, (stream, mailbox) in self._streams.items():
            for token in mailbox.tokens:
                stream._send.send_nowait(token)
            mailbox.tokens.clear()
            if mailbox.answer is not None or mailbox.failure is not None:
                done.append(number)
        for number in done:
            stream, mailbox = self._streams.pop(number)
            self._numbers.pop(number, None)
            stream._close(mailbox.answer, mailbox.failure)

    def _stop(self) -> None:
        self._closed = True
        failure = RequestRefused(RequestReason.ENGINE_CLOSED, "the engine stopped; ask again")
        for stream, _ in self._streams.values():
            stream._close(None, failure)
        self._streams.clear()


def _soon(token: trio.lowlevel.TrioToken, call: Callable[[], None]) -> None:
    """Call on trio's thread, from any thread; of no use, and left alone, once trio has ended."""
    with suppress(trio.RunFinishedError):
        token.run_sync_soon(call, idempotent=True)


@asynccontextmanager
async def open_engine(
    executor: Executor,
    tokenizer: Tokenizer | None = None,
    store: AdapterStore | None = None,
    limits: Limits | None = None,
    weights: Mapping[str, int] | None = None,
) -> AsyncIterator[Engine]:
    """Run an engine for the length of a block; unfinished requests then fail with ENGINE_CLOSED.

    Args:
        executor: computes the steps; the engine alone uses its memory.
        tokenizer: makes text of ids; None serves ids alone.
        store: where adapters come from; None serves the base model only.
        limits: what is admitted at once.
        weights: shares of tenants; one that is not named has 1.
    """
    engine = Engine(executor, tokenizer, store, limits or Limits(), weights)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine._run)
            try:
                yield engine
            finally:
                engine._stop()
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(engine._runner.close)
