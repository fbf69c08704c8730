"""Requests with a local key: computed while somebody listens, paid for by nobody."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
from starlette.datastructures import Headers

from inference.api.bodies import AnyBody
from inference.api.engine_room import EngineRoom
from inference.api.errors import ApiReason, ApiRefused
from inference.api.events import Done, Drawn, Ended, Event, Opened, hand_on
from inference.api.figures import ApiFigures
from inference.api.keys import Authority, Caller
from inference.api.models import ModelList
from inference.api.prompts import SEEDS, prompts_of, sampling_with, usual_tokens
from inference.log import Log
from inference.request import Answer, Request
from runtime.primitives.errors import Refusal

_LOG = Log("api")
NOBODY = "-"
"""The tenant of requests that are refused before anything is computed for them."""


@dataclass(slots=True)
class _Asked:
    """One request under way."""

    name: str
    caller: Caller
    model: str
    requests: Sequence[Request]
    send: trio.MemorySendChannel[Event]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    started: float = field(default_factory=trio.current_time)
    first: float | None = None
    answers: list[Answer] = field(default_factory=list)
    failure: Refusal | None = None


class LocalDoor:
    """Admits callers by their keys and hands their requests to the engine."""

    def __init__(
        self, room: EngineRoom, models: ModelList, authority: Authority, figures: ApiFigures
    ) -> None:
        self._room = room
        self._models = models
        self._authority = authority
        self._figures = figures
        self._nursery: trio.Nursery | None = None
        self._under_way = 0
        self._numbers = 0
        self._run_name = secrets.token_hex(4)
        self.closed = False
        """Set while the server stops: nothing new is taken."""

    @property
    def under_way(self) -> int:
        """Number of requests that are being answered."""
        return self._under_way

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the answers' tasks until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def open(self, headers: Headers, raw: bytes, body: AnyBody) -> Opened:
        """Admit a request and start its answers; raises Refusal."""
        caller = self._authority.caller(headers)
        requests = await self._requests(caller, body)
        if self._nursery is None or self.closed:
            raise ApiRefused(ApiReason.NOT_READY)
        self._numbers += 1
        send, receive = trio.open_memory_channel[Event](math.inf)
        asked = _Asked(f"{self._run_name}-{self._numbers}", caller, body.model, requests, send)
        self._under_way += 1
        self._nursery.start_soon(self._answer, asked)
        return Opened(asked.name, receive, outlives=False, leave=asked.scope.cancel)

    async def _requests(self, caller: Caller, body: AnyBody) -> list[Request]:
        """Build what the engine computes: for each prompt, `n` answers with seeds of their own."""
        adapter = await self._models.adapter(body.model)
        backbone = self._room.backbone
        context = backbone.config.max_position_embeddings
        seed = secrets.randbits(64) if body.seed is None else body.seed
        sampling_with(body, seed)  # a seed that is too large is refused, never wrapped
        requests = []
        for ids in await trio.to_thread.run_sync(prompts_of, backbone, body):
            usual = max(1, min(usual_tokens(body), context - len(ids)))
            for number in range(body.n):
                request = Request(
                    prompt_ids=ids,
                    max_tokens=body.most_tokens or usual,
                    sampling=sampling_with(body, (seed + number) % SEEDS),
                    adapter=adapter,
                    stop=body.stops,
                    logprobs=body.alternatives or 0,
                    tenant=caller.tenant,
                )
                self._room.check(request)
                requests.append(request)
        return requests

    async def _answer(self, asked: _Asked) -> None:
        """Compute all answers of one request; whatever happens stays in it."""
        tenant = asked.caller.tenant
        try:
            with asked.send, asked.scope:
                await self._all(asked)
                if asked.failure is not None:
                    self._figures.failed(tenant, asked.failure.reason.name)
                    hand_on(asked.send, asked.failure)
                    return
                self._tell(asked)
                hand_on(asked.send, Done())
            if asked.scope.cancelled_caught:
                self._figures.failed(tenant, "left")
                _LOG.debug("client left", tenant=tenant, request=asked.name)
        finally:
            self._under_way -= 1

    async def _all(self, asked: _Asked) -> None:
        adapter = asked.requests[0].adapter
        if adapter is not None:
            try:
                await self._models.ready(adapter)
            except Refusal as refusal:
                asked.failure = refusal
                return
        async with trio.open_nursery() as nursery:
            for index, request in enumerate(asked.requests):
                nursery.start_soon(self._one, asked, index, request, nursery)

    async def _one(
        self, asked: _Asked, index: int, request: Request, nursery: trio.Nursery
    ) -> None:
        try:
            answer = await self._compute(asked, index, request)
        except Refusal as refusal:
            asked.failure = refusal
        except Exception:  # a stranger's request must not stop the server
            _LOG.error("answer failed", trace=True, request=asked.name)
            asked.failure = ApiRefused(ApiReason.FAILED)
        else:
            asked.answers.append(answer)
            self._figures.tokens(asked.caller.tenant, answer)
            hand_on(asked.send, Ended(index, answer))
        if asked.failure is not None:
            nursery.cancel_scope.cancel()

    async def _compute(self, asked: _Asked, index: int, request: Request) -> Answer:
        async with self._room.engine.stream(request) as stream:
            async for token in stream:
                if asked.first is None:
                    asked.first = trio.current_time() - asked.started
                    self._figures.first_token(asked.first)
                hand_on(asked.send, Drawn(index, token))
        if stream.answer is None:
            raise ApiRefused(ApiReason.NOT_READY)
        return stream.answer

    def _tell(self, asked: _Asked) -> None:
        seconds = trio.current_time() - asked.started
        self._figures.answered(asked.caller.tenant, seconds)
        _LOG.info(
            "answered",
            tenant=asked.caller.tenant,
            model=asked.model,
            prompt=sum(answer.prompt_tokens for answer in asked.answers),
            tokens=sum(len(answer.output_ids) for answer in asked.answers),
            first=asked.first or 0.0,
            seconds=seconds,
        )
