"""Steps that are interrupted between layers for first tokens, as often as chance has it."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_adapter, tiny_backbone

from inference.adapters.errors import AdapterRefused
from inference.adapters.packed_image import pack_image
from inference.adapters.resident import Resident
from inference.adapters.state import AdapterState
from inference.adapters.store import AdapterStore
from inference.arena import Extent
from inference.backbone.model import Backbone
from inference.cpu_executor import PACKING, CpuExecutor, HeldRows
from inference.executor import Piece, finish
from inference.request import Answer, Finish, Limits, Request, RequestRefused, Token
from inference.runner import Runner
from inference.sampling import SamplingParams
from tests.patience import PATIENCE

RANKS = (4, 4, 4, 4, 4, 8, 8, 16)
COUNT = 80


class Kept:
    """Keeps what a request produces."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.answer: Answer | None = None

    def token(self, token: Token) -> None:
        self.tokens.append(token)

    def done(self, answer: Answer) -> None:
        self.answer = answer

    def failed(self, error: RequestRefused | AdapterRefused) -> None:
        raise error


class Interrupter:
    """Lets requests come in the midst of steps.

    All images are in the host's memory, so that it depends on chance alone who comes when.
    """

    def __init__(
        self, backbone: Backbone, store: AdapterStore, keys: list[bytes], pages: int, seed: int
    ) -> None:
        self.chance = random.Random(seed)
        limits = Limits(running=12, waiting=999, waiting_per_tenant=999, rows=24, pages=pages)
        self.woken = threading.Event()
        self.runner = Runner(
            CpuExecutor(backbone, pages),
            None,
            store,
            limits,
            changed=self.woken.set,
            hurry=lambda: self.comes,
        )
        self.interruptions = 0
        for key in keys:
            self.load(key)

    def load(self, key: bytes) -> None:
        pool = self.runner.pool
        assert pool is not None
        lease = pool.lease(key)
        while lease.state is not AdapterState.READY:
            assert self.woken.wait(PATIENCE)
            self.woken.clear()
            pool.pump()
        pool.release(lease)

    @property
    def comes(self) -> bool:
        return self.chance.random() < 0.5

    def answer(self, requests: list[Request], cut: set[int]) -> dict[int, Answer]:
        kept = [Kept() for _ in requests]
        numbers: dict[int, int] = {}
        left = list(range(len(requests)))
        while left or not self.runner.scheduler.idle:
            depth = len(self.runner._steps)
            self.interruptions += bool(depth)
            while left and self.chance.random() < (0.5 if depth else 0.02):
                number = left.pop()
                numbers[number] = self.runner.submit(requests[number], kept[number])
            for number in cut & numbers.keys():
                if kept[number].tokens and self.chance.random() < (0.5 if depth else 0.01):
                    self.runner.cancel(numbers[number])
            self.runner.step()
        self.runner.close()
        return {n: one.answer for n, one in enumerate(kept) if one.answer is not None}


def requests_of(keys: list[bytes], count: int) -> list[Request]:
    chance = random.Random(5)
    return [
        Request(
            tuple(chance.randrange(256) for _ in range(chance.choice((3, 8, 20, 50)))),
            chance.randint(1, 12),
            SamplingParams(chance.choice((0.0, 0.9)), seed=number),
            adapter=chance.choice((*[None] * 5, *keys)),
            stop_ids=(),
            tenant=chance.choice(("a", "a", f"stranger {number}")),
        )
        for number in range(count)
    ]


def one_by_one(
    backbone: Backbone, store: AdapterStore, requests: list[Request]
) -> dict[int, Answer]:
    runner = Runner(CpuExecutor(backbone, 64), None, store)
    alone = {}
    for number, request in enumerate(requests):
        kept = Kept()
        runner.submit(request, kept)
        while not runner.scheduler.idle:
            runner.step()
        assert kept.answer is not None
        alone[number] = kept.answer
    runner.close()
    return alone


@pytest.mark.parametrize(("seed", "pages"), [(0, 14), (2, 20)])
def test_interrupted_steps_leave_every_answer_as_it_is(
    tmp_path: Path, seed: int, pages: int
) -> None:
    backbone = tiny_backbone()
    store = AdapterStore(tmp_path, backbone)
    keys = [store.put(tiny_adapter(backbone, rank, seed=n)) for n, rank in enumerate(RANKS)]
    requests = requests_of(keys, COUNT)
    alone = one_by_one(backbone, store, requests)
    cut = set(range(0, COUNT, 4))
    busy = Interrupter(backbone, store, keys, pages, seed)
    before = busy.runner.figures.pool
    answers = busy.answer(requests, cut)
    assert busy.interruptions > COUNT
    assert answers.keys() == alone.keys()
    for number, answer in answers.items():
        whole = alone[number]
        if answer.finish is Finish.CANCELLED:
            assert number in cut
            assert answer.output_ids == whole.output_ids[: len(answer.output_ids)]
        else:
            assert answer == whole
    figures = busy.runner.figures
    assert (figures.running, figures.waiting, figures.pages_held) == (0, 0, 0)
    assert before is not None
    assert figures.pool is not None
    assert figures.pool.evictions > before.evictions
    assert figures.pool.moves > before.moves


def test_a_step_in_the_midst_of_another_leaves_its_adapters_alone() -> None:
    backbone = tiny_backbone()
    executor = CpuExecutor(backbone, 64)
    residents = []
    start = 16 * executor.shape.page_bytes
    for seed in range(6):
        image = pack_image(tiny_adapter(backbone, 4, seed=seed), backbone.config, PACKING)
        residents.append(
            Resident(image.content_hash, image.layout, Extent(start, image.size_bytes))
        )
        executor.upload(image, residents[-1].extent)
        start += image.size_bytes

    def pieces(first: int) -> list[Piece]:
        return [
            Piece([7 + n, 9, 11], 0, [2 * n, 2 * n + 1], residents[n], 0, 3)
            for n in range(first, first + 3)
        ]

    def logits(rows: HeldRows) -> np.ndarray:
        return np.stack([rows.logits(row) for row in range(len(rows))])

    alone = [logits(executor.step(pieces(first))) for first in (0, 3)]
    outer = executor.parts(pieces(0))
    next(outer)
    inner = executor.parts(pieces(3))
    next(inner)
    np.testing.assert_array_equal(logits(finish(outer)), alone[0])
    np.testing.assert_array_equal(logits(finish(inner)), alone[1])
