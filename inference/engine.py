"""The engine as trio tasks see it: ask, iterate, cancel. Steps run in one worker thread.

async with open_engine(backbone, store) as engine:
    async with engine.stream(request) as stream:
        async for token in stream:
            ...
    answer = stream.answer
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType

import trio

from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.backbone.packed import PackedAdapter
from inference.blocks import BLOCK
from inference.request import (
    Answer,
    Limits,
    Request,
    RequestReason,
    RequestRefused,
    Token,
    check_request,
)
from inference.runner import Runner, use_threads


class TokenStream:
    """The tokens of one request; the request starts with the first `async for` step.

    Leaving the `async with` block early, or being cancelled while waiting, cancels the request.
    """

    def __init__(self, engine: Engine, request: Request) -> None:
        self._engine = engine
        self._request = request
        self._send, self._receive = trio.open_memory_channel[Token](math.inf)
        self._number: int | None = None
        self._failure: RequestRefused | None = None
        self.answer: Answer | None = None
        """The finished answer, once the iteration has ended."""

    def __aiter__(self) -> TokenStream:
        return self

    async def __anext__(self) -> Token:
        if self._number is None:
            await self._start()
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
        if self._number is not None and self.answer is None:
            self._engine._cancel(self._number)

    async def _start(self) -> None:
        adapter = await self._engine._acquire(self._request)
        try:
            self._number = self._engine._submit(self._request, adapter, self)
        except RequestRefused:
            self._engine._release(self._request)
            raise

    def _close(self, answer: Answer | None, failure: RequestRefused | None = None) -> None:
        self.answer = answer
        self._failure = failure
        self._send.close()
        self._engine._release(self._request)


class _Mailbox:
    """Collects a step's events on the worker thread; emptied by the trio side between steps."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.answer: Answer | None = None

    def token(self, token: Token) -> None:
        self.tokens.append(token)

    def done(self, answer: Answer) -> None:
        self.answer = answer


class Engine:
    """Serves requests of any mixture of adapters; make one with `open_engine`."""

    def __init__(
        self, backbone: Backbone, store: AdapterStore | None, limits: Limits, threads: int
    ) -> None:
        self._backbone = backbone
        self._store = store
        self._limits = limits
        self._threads = threads
        self._runner = Runner(backbone, limits)
        self._streams: dict[int, tuple[TokenStream, _Mailbox]] = {}
        self._arrived: dict[int, tuple[Request, PackedAdapter | None, _Mailbox]] = {}
        self._numbers: dict[int, int] = {}
        self._cancelled: list[int] = []
        self._next = 0
        self._closed = False
        self._wake = trio.Event()

    @property
    def backbone(self) -> Backbone:
        """The base model that this engine serves."""
        return self._backbone

    @property
    def load(self) -> tuple[int, int]:
        """Numbers of running and of waiting requests."""
        running = len(self._runner.scheduler.running)
        return running, len(self._streams) - running

    def stream(self, request: Request) -> TokenStream:
        """Prepare a request; its first `async for` step may raise RequestRefused."""
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

    async def _acquire(self, request: Request) -> PackedAdapter | None:
        if request.adapter is None:
            return None
        if self._store is None:
            raise RequestRefused(RequestReason.NO_ADAPTERS, "this engine has no adapter store")
        return await trio.to_thread.run_sync(self._store.acquire, request.adapter)

    def _release(self, request: Request) -> None:
        if request.adapter is not None and self._store is not None:
            self._store.release(request.adapter)

    def _submit(self, request: Request, adapter: PackedAdapter | None, stream: TokenStream) -> int:
        self._check(request)
        number = self._next
        self._next += 1
        mailbox = _Mailbox()
        self._streams[number] = stream, mailbox
        self._arrived[number] = request, adapter, mailbox
        self._wake.set()
        return number

    def _check(self, request: Request) -> None:
        if self._closed:
            raise RequestRefused(RequestReason.ENGINE_CLOSED, "the engine has stopped")
        if request.stop and self._backbone.tokenizer is None:
            raise RequestRefused(RequestReason.NO_TOKENIZER, "stop texts need a tokenizer")
        check_request(
            request,
            context=self._backbone.config.max_position_embeddings,
            vocabulary=self._backbone.config.vocab_size,
            blocks=self._limits.blocks * BLOCK,
        )
        if len(self._streams) >= self._limits.running + self._limits.waiting:
            raise RequestRefused(
                RequestReason.QUEUE_FULL,
                f"{len(self._streams)} requests are running or waiting; retry later",
            )

    def _cancel(self, number: int) -> None:
        self._cancelled.append(number)
        self._wake.set()

    async def _run(self) -> None:
        one_thread = trio.CapacityLimiter(1)
        while True:
            self._exchange()
            if self._runner.scheduler.idle:
                self._wake = trio.Event()
                await self._wake.wait()
                continue
            await trio.to_thread.run_sync(self._step, limiter=one_thread)
            self._deliver()

    def _step(self) -> None:
        use_threads(self._threads)
        self._runner.step()

    def _exchange(self) -> None:
        """Hand arrivals and cancellations to the runner, which is at rest now."""
        for number, (request, adapter, mailbox) in self._arrived.items():
            self._numbers[number] = self._runner.submit(request, adapter, mailbox)
        self._arrived.clear()
        for number in self._cancelled:
            if number in self._numbers:
                self._runner.cancel(self._numbers[number])
        self._cancelled.clear()
        self._deliver()

    def _deliver(self) -> None:
        done = []
        for number, (stream, mailbox) in self._streams.items():
            for token in mailbox.tokens:
                stream._send.send_nowait(token)
            mailbox.tokens.clear()
            if mailbox.answer is not None:
                done.append(number)
        for number in done:
            stream, mailbox = self._streams.pop(number)
            self._numbers.pop(number, None)
            stream._close(mailbox.answer)

    def _stop(self) -> None:
        self._closed = True
        failure = RequestRefused(RequestReason.ENGINE_CLOSED, "the engine stopped; ask again")
        for stream, _ in self._streams.values():
            stream._close(None, failure)
        self._streams.clear()


@asynccontextmanager
async def open_engine(
    backbone: Backbone,
    store: AdapterStore | None = None,
    limits: Limits | None = None,
    threads: int = 1,
) -> AsyncIterator[Engine]:
    """Run an engine for the length of a block; unfinished requests then fail with ENGINE_CLOSED.

    Args:
        backbone: the base model.
        store: where adapters come from; None serves the base model only.
        limits: what is admitted at once.
        threads: per matrix product; more than one pays for models of hundreds of millions of
            parameters only.
    """
    engine = Engine(backbone, store, limits or Limits(), threads)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine._run)
        try:
            yield engine
        finally:
            engine._stop()
            nursery.cancel_scope.cancel()
