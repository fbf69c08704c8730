"""Whole answers through the runner, the pool and the sampler, on the device's executor."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from inference.adapters.errors import AdapterRefused
from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.cpu_executor import CpuExecutor
from inference.executor import Executor
from inference.replay import replay
from inference.request import Answer, Limits, Request, RequestRefused, Token
from inference.runner import Runner
from inference.sampling import SamplingParams
from tests.inference.cuda.device_world import cpu_executor
from tests.inference.tiny_models import tiny_adapter, tiny_backbone

RANKS = (1, 4, 5, 16)
LIMITS = Limits(running=5, waiting=100, rows=70)
PAGES = 16


class Kept:
    answer: Answer | None = None

    def token(self, token: Token) -> None:
        assert token.logprob <= 1e-5

    def done(self, answer: Answer) -> None:
        self.answer = answer

    def failed(self, error: RequestRefused | AdapterRefused) -> None:
        raise AssertionError(error)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny_backbone()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, backbone: Backbone) -> AdapterStore:
    store = AdapterStore(Path(tmp_path_factory.mktemp("adapters")), backbone)
    for rank in RANKS:
        store.put(tiny_adapter(backbone, rank, seed=rank))
    return store


@pytest.fixture(scope="module")
def requests(backbone: Backbone) -> list[Request]:
    rng = random.Random(5)
    keys = [None, *(tiny_adapter(backbone, rank, seed=rank).content_hash for rank in RANKS)]
    shared = tuple(rng.randrange(256) for _ in range(64))
    return [
        Request(
            prompt_ids=(shared if index % 3 == 0 else ())
            + tuple(rng.randrange(256) for _ in range(rng.randint(1, 60))),
            max_tokens=rng.randint(1, 12),
            sampling=SamplingParams(0.8 if index % 2 else 0.0, top_p=0.9, seed=index),
            adapter=keys[index % len(keys)],
            stop_ids=(),
            logprobs=2,
        )
        for index in range(12)
    ]


def answers(executor: Executor, store: AdapterStore, groups: list[list[Request]]) -> list[Answer]:
    runner = Runner(executor, None, store, LIMITS)
    result = []
    try:
        for group in groups:
            listeners = [Kept() for _ in group]
            for request, listener in zip(group, listeners, strict=True):
                runner.submit(request, listener)
            while any(listener.answer is None for listener in listeners):
                runner.step()
            result.extend(listener.answer for listener in listeners if listener.answer)
    finally:
        runner.close()
    return result


def test_answers_are_those_of_the_processor_alone_and_together(
    backbone: Backbone, store: AdapterStore, requests: list[Request]
) -> None:
    alone = answers(cpu_executor(backbone, PAGES), store, [[one] for one in requests])
    together = answers(cpu_executor(backbone, PAGES), store, [requests])
    assert together == alone
    expected = answers(CpuExecutor(backbone, PAGES), store, [requests])
    assert [a.output_ids for a in alone] == [a.output_ids for a in expected]


def test_an_answer_is_replayed_bit_for_bit(
    backbone: Backbone, store: AdapterStore, requests: list[Request]
) -> None:
    for request in requests[3:8]:
        (answer,) = answers(cpu_executor(backbone, PAGES), store, [[request]])
        executor = cpu_executor(backbone, PAGES)
        image = None
        if request.adapter is not None:
            image, _ = store.packed(request.adapter, executor.packing)
        seen = replay(executor, image, request.prompt_ids, answer.output_ids, request.sampling)
        assert seen.trace == answer.trace
        assert seen.agrees(answer.trace)
