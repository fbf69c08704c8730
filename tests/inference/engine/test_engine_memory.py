"""One memory for caches and adapters: what is shared, taken away and given back, and by whom."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import trio
import trio.testing
from tiny_models import tiny_adapter, tiny_backbone

from inference.adapters.adapter import image_of
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.state import AdapterState
from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.cpu_executor import CpuExecutor
from inference.engine import Engine, open_engine
from inference.request import (
    Answer,
    Finish,
    Limits,
    Request,
    RequestReason,
    RequestRefused,
    Token,
)
from inference.runner import Runner
from inference.sampling import SamplingParams
from tests.patience import PATIENCE

RANKS = (1, 4, 4, 8, 8, 8, 16, 16)


class Kept:
    """Keeps the answer of a runner's request."""

    def __init__(self) -> None:
        self.answer: Answer | None = None

    def token(self, token: Token) -> None:
        pass

    def done(self, answer: Answer) -> None:
        self.answer = answer

    def failed(self, error: RequestRefused | AdapterRefused) -> None:
        raise error


def repeat(act: Callable[[], object], until: Callable[[], bool]) -> None:
    """Do something again and again until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, "nothing goes on"
        if not act():
            time.sleep(0.001)


@pytest.fixture
def store(tmp_path: Path, backbone: Backbone) -> Iterator[AdapterStore]:
    store = AdapterStore(tmp_path, backbone)
    for number, rank in enumerate(RANKS):
        store.put(tiny_adapter(backbone, rank, seed=number))
    yield store


def keys_of(backbone: Backbone) -> list[bytes]:
    return [tiny_adapter(backbone, rank, seed=n).content_hash for n, rank in enumerate(RANKS)]


def engine_on(
    backbone: Backbone, store: AdapterStore | None, limits: Limits, threads: int = 1
) -> AbstractAsyncContextManager[Engine]:
    executor = CpuExecutor(backbone, limits.pages, threads)
    return open_engine(executor, backbone.tokenizer, store, limits)


def assert_at_rest(engine: Engine) -> None:
    """Every page is free, cached for nobody or an adapter's, and nobody has a lease."""
    runner = engine._runner
    figures = engine.figures
    assert (figures.running, figures.waiting, figures.pages_held) == (0, 0, 0)
    assert engine.load == (0, 0)
    assert not runner._jobs
    arena = runner._arena
    used = sum(extent.size for extent in arena.extents)
    assert arena.free_bytes + figures.pages_cached * arena.page_bytes + used == arena.size
    if runner.pool is None or runner._leasing is None:
        assert used == 0
        return
    assert not len(runner._leasing)
    assert not any(entry.leases for entry in runner.pool._book.entries.values())
    assert runner.pool.figures.device_bytes == used


async def rest(engine: Engine) -> None:
    with trio.fail_after(PATIENCE):
        while engine.load != (0, 0):
            await trio.sleep(0.005)
    assert_at_rest(engine)


async def lone(backbone: Backbone, store: AdapterStore, requests: list[Request]) -> list[Answer]:
    answers = []
    for request in requests:
        async with engine_on(backbone, store, Limits(running=1)) as engine:
            answers.append(await engine.generate(request))
    return answers


def asked(adapter: bytes | None, count: int, seed: int, **changes: Any) -> list[Request]:
    chance = random.Random(seed)
    base = Request((1,), 60, SamplingParams(temperature=1.0), adapter=adapter, stop_ids=())
    return [
        replace(
            base,
            prompt_ids=tuple(chance.randrange(256) for _ in range(60)),
            sampling=SamplingParams(temperature=1.0, seed=number),
            **changes,
        )
        for number in range(count)
    ]


async def test_requests_that_lose_their_pages_answer_as_if_alone(
    backbone: Backbone, store: AdapterStore
) -> None:
    requests = asked(None, 6, seed=1, max_tokens=150)
    alone = await lone(backbone, store, requests)
    async with engine_on(backbone, None, Limits(running=6, pages=9)) as engine:
        assert await engine.generate_all(requests) == alone
        assert engine.figures.preempted > 0
        assert_at_rest(engine)


async def test_a_prefix_is_computed_once_and_the_answer_is_the_same(
    backbone: Backbone, store: AdapterStore
) -> None:
    key = keys_of(backbone)[3]
    first, other = asked(key, 2, seed=3)
    long = tuple(range(140))
    requests = [
        replace(first, prompt_ids=(*long, 1)),
        replace(other, prompt_ids=(*long, 2, 3)),
        replace(first, prompt_ids=long[:128]),
    ]
    alone = await lone(backbone, store, requests)
    async with engine_on(backbone, store, Limits()) as engine:
        answers = [await engine.generate(request) for request in requests]
        assert answers == alone
        # The last position of a prompt is always computed: its logits are wanted.
        assert [answer.cached_tokens for answer in answers] == [0, 128, 64]
        assert engine.figures.recorder.cached_tokens == 192
        assert engine.figures.pages_cached == 2
        assert_at_rest(engine)


async def test_the_same_prompt_with_another_adapter_shares_nothing(
    backbone: Backbone, store: AdapterStore
) -> None:
    (request,) = asked(None, 1, seed=5)
    prompt = tuple(range(200))
    requests = [
        replace(request, prompt_ids=prompt, adapter=key, max_tokens=20)
        for key in (None, *keys_of(backbone)[:4])
    ]
    alone = await lone(backbone, store, requests)
    async with engine_on(backbone, store, Limits()) as engine:
        answers = await engine.generate_all(requests)
        assert answers == alone
        assert [answer.cached_tokens for answer in answers] == [0] * 5
        again = [await engine.generate(request) for request in requests]
        assert again == alone
        assert [answer.cached_tokens for answer in again] == [192] * 5
        assert_at_rest(engine)


async def test_a_tenant_with_many_requests_leaves_another_his_share(backbone: Backbone) -> None:
    finished: list[str] = []

    async def ask(engine: Engine, request: Request) -> None:
        await engine.generate(request)
        finished.append(request.tenant)

    requests = [
        *asked(None, 30, seed=7, tenant="loud", max_tokens=6),
        *asked(None, 6, seed=8, tenant="quiet", max_tokens=6),
    ]
    async with engine_on(backbone, None, Limits(running=2)) as engine:
        async with trio.open_nursery() as nursery:
            for request in requests:
                nursery.start_soon(ask, engine, request)
        assert engine.figures.served == {"loud": 180, "quiet": 36}
        assert_at_rest(engine)
    # A fair share of two is every other request, give or take those that run together.
    assert finished[:16].count("quiet") == 6


async def test_a_full_queue_of_one_tenant_is_not_another_s(backbone: Backbone) -> None:
    limits = Limits(running=1, waiting=8, waiting_per_tenant=2)
    refusals: list[RequestRefused] = []
    answers: list[Answer] = []

    async def ask(engine: Engine, request: Request) -> None:
        try:
            answers.append(await engine.generate(request))
        except RequestRefused as refusal:
            refusals.append(refusal)

    async with engine_on(backbone, None, limits) as engine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, engine, asked(None, 1, seed=1, tenant="loud")[0])
            await trio.testing.wait_all_tasks_blocked(0.01)
            for request in asked(None, 5, seed=2, tenant="loud"):
                nursery.start_soon(ask, engine, request)
            for request in asked(None, 2, seed=3, tenant="quiet"):
                nursery.start_soon(ask, engine, request)
        assert_at_rest(engine)
    assert {refusal.reason for refusal in refusals} == {RequestReason.TENANT_QUEUE_FULL}
    assert len(refusals) + len(answers) == 8
    assert 1 <= len(refusals) <= 3
    assert all(refusal.retry_after is not None and refusal.retry_after > 0 for refusal in refusals)


async def test_an_adapter_that_cannot_be_had_fails_its_own_requests_only(
    backbone: Backbone, store: AdapterStore, tmp_path: Path
) -> None:
    keys = keys_of(backbone)
    path = tmp_path / f"{keys[1].hex()}.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + bytes(4))
    good = asked(keys[0], 3, seed=1)
    alone = await lone(backbone, store, good)
    seen: list[AdapterReason] = []

    async def ask(engine: Engine, request: Request) -> None:
        with pytest.raises(AdapterRefused) as caught:
            await engine.generate(request)
        seen.append(caught.value.reason)

    async with engine_on(backbone, store, Limits(running=4)) as engine:
        async with trio.open_nursery() as nursery:
            for request in (*asked(keys[1], 2, seed=2), *asked(bytes(32), 2, seed=3)):
                nursery.start_soon(ask, engine, request)
            assert await engine.generate_all(good) == alone
        assert engine.figures.recorder.failed == 4
        assert_at_rest(engine)
    assert sorted(seen, key=str) == sorted(
        [AdapterReason.WRONG_HASH] * 2 + [AdapterReason.NOT_STORED] * 2, key=str
    )


async def test_more_adapters_than_memory_take_turns(
    backbone: Backbone, store: AdapterStore
) -> None:
    requests = [
        request
        for seed, key in enumerate(keys_of(backbone))
        for request in asked(key, 2, seed=seed, max_tokens=12)
    ]
    random.Random(1).shuffle(requests)
    alone = await lone(backbone, store, requests)
    # The two largest adapters and a sequence of each fit, hardly more.
    async with engine_on(backbone, store, Limits(running=5, pages=18)) as engine:
        with trio.fail_after(PATIENCE):
            assert await engine.generate_all(requests) == alone
        pool = engine.figures.pool
        assert pool is not None
        assert pool.evictions + pool.displaced > 0
        assert_at_rest(engine)


def test_who_was_preempted_comes_back_though_others_fill_the_host(
    backbone: Backbone, tmp_path: Path
) -> None:
    store = AdapterStore(tmp_path / "alike", backbone)
    keys = [store.put(tiny_adapter(backbone, 8, seed=n)) for n in range(8)]
    executor = CpuExecutor(backbone, 8)
    image, _ = store.packed(keys[0], executor.packing)
    pages = 2 * -(-image.size_bytes // executor.shape.page_bytes) + 2
    executor = CpuExecutor(backbone, pages)
    listeners = [Kept() for _ in keys]
    runner = Runner(executor, None, store, Limits(running=1, pages=pages), host_bytes=1)
    try:
        requests = [asked(key, 1, seed=n, max_tokens=3)[0] for n, key in enumerate(keys)]
        number = runner.submit(replace(requests[0], max_tokens=50), listeners[0])
        repeat(runner.step, lambda: bool(runner.scheduler.running))
        for request, listener in zip(requests[1:], listeners[1:], strict=True):
            runner.submit(request, listener)
        first = runner._jobs[number].sequence
        assert runner._leasing is not None
        assert runner.pool is not None
        waiting = runner.pool._book.waiting.values
        repeat(
            runner._leasing.refresh,
            lambda: any(entry.state is AdapterState.NO_ROOM for entry in list(waiting())),
        )
        # As if another had needed its pages: it and its adapter leave the device.
        runner.scheduler._preempt(first)
        runner._leasing.drop(first)
        while runner.pool._evict():
            pass
        repeat(runner.step, lambda: all(listener.answer is not None for listener in listeners))
    finally:
        runner.close()


async def test_an_adapter_beside_which_no_answer_fits_is_refused(
    backbone: Backbone, store: AdapterStore
) -> None:
    key = keys_of(backbone)[-1]
    image, _ = store.packed(key, CpuExecutor(backbone, 1).packing)
    pages = -(-image.size_bytes // CpuExecutor(backbone, 1).shape.page_bytes) + 1
    short, long = asked(key, 2, seed=1, max_tokens=4)
    long = replace(long, max_tokens=60)
    async with engine_on(backbone, store, Limits(pages=pages)) as engine:
        with trio.fail_after(PATIENCE):
            assert len((await engine.generate(short)).output_ids) == 4
            with pytest.raises(RequestRefused) as caught:
                await engine.generate(long)
        assert caught.value.reason is RequestReason.ADAPTER_TOO_LARGE
        assert_at_rest(engine)
    async with engine_on(backbone, store, Limits(pages=2)) as engine:
        with pytest.raises(AdapterRefused) as refused, trio.fail_after(PATIENCE):
            await engine.generate(short)
        assert refused.value.reason is AdapterReason.TOO_LARGE
        assert_at_rest(engine)


async def test_a_request_is_cancelled_while_its_adapter_loads(
    backbone: Backbone, tmp_path: Path
) -> None:
    adapter = tiny_adapter(backbone, 4, seed=1)
    asked_for, may_go = threading.Event(), threading.Event()

    def fetch(content_hash: bytes) -> bytes:
        asked_for.set()
        assert may_go.wait(PATIENCE)
        return image_of(adapter)

    store = AdapterStore(tmp_path / "adapters", backbone, fetch=fetch)
    (slow,) = asked(adapter.content_hash, 1, seed=1)
    (base,) = asked(None, 1, seed=2)
    async with engine_on(backbone, store, Limits()) as engine:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with trio.CancelScope() as scope:
                    scopes.append(scope)
                    await engine.generate(slow)

            scopes: list[trio.CancelScope] = []
            nursery.start_soon(ask)
            await trio.to_thread.run_sync(asked_for.wait)
            # A load that takes long holds up nobody else.
            assert len((await engine.generate(base)).output_ids) == 60
            assert engine.load == (0, 1)
            scopes[0].cancel()
        await rest(engine)
        may_go.set()
        answer = await engine.generate(slow)
        assert len(answer.output_ids) == 60
        assert_at_rest(engine)


@pytest.mark.parametrize("when", ["arrived", "waiting", "prompt", "decoding", "preempted"])
async def test_a_request_can_be_cancelled_at_any_time(
    backbone: Backbone, store: AdapterStore, when: str
) -> None:
    key = keys_of(backbone)[0]
    others = asked(None, 3, seed=1, max_tokens=120)
    (victim,) = asked(key, 1, seed=2, max_tokens=120)
    if when == "prompt":
        victim = replace(victim, prompt_ids=tuple(range(130)), max_tokens=100)
    alone = await lone(backbone, store, others)
    limits = Limits(
        running=3 if when == "waiting" else 4,
        rows=8 if when == "prompt" else 256,
        pages=8 if when == "preempted" else 64,
    )

    def due(engine: Engine) -> bool:
        runner = engine._runner
        found = [j.sequence for j in runner._jobs.values() if j.sequence.request is victim]
        if when == "arrived":
            return True
        if not found:
            return False
        sequence = found[0]
        if when == "waiting":
            ready = sequence.adapter_state is AdapterState.READY
            return ready and sequence in list(runner.scheduler.queue)
        if when == "prompt":
            return 0 < sequence.computed < sequence.prompt_length
        if when == "decoding":
            return len(sequence.outputs) > 3
        return sequence in runner.scheduler.preempted

    async with engine_on(backbone, store, limits) as engine:
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def ask() -> None:
                with scope:
                    await engine.generate(victim)

            async def watch() -> None:
                with trio.fail_after(PATIENCE):
                    while not due(engine):
                        await trio.sleep(0)
                scope.cancel()

            async def expect() -> None:
                assert await engine.generate_all(others) == alone

            # It is on the device, or the others might be done before the disk has given it.
            await engine.generate(Request((1,), 1, adapter=key))
            nursery.start_soon(expect)
            while sum(engine.load) < len(others):
                await trio.sleep(0)
            nursery.start_soon(ask)
            if when == "arrived":
                await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(watch)
        assert scope.cancelled_caught
        await rest(engine)
        assert engine.figures.recorder.finished[Finish.CANCELLED] == 1


WIDE = {"hidden_size": 192, "intermediate_size": 256}


@pytest.mark.parametrize(
    ("shape", "threads", "count"), [({}, 1, 40), (WIDE, 1, 40), ({}, 2, 8), (WIDE, 2, 8)]
)
async def test_any_schedule_gives_the_answers_of_the_lone_run(
    tmp_path: Path, shape: dict[str, object], threads: int, count: int
) -> None:
    backbone = tiny_backbone(**shape)
    store = AdapterStore(tmp_path, backbone)
    keys = [store.put(tiny_adapter(backbone, rank, seed=n)) for n, rank in enumerate(RANKS)]
    chance = random.Random(11)
    stems = [tuple(chance.randrange(256) for _ in range(130)) for _ in range(3)]
    requests = []
    for number in range(count):
        tail = tuple(chance.randrange(256) for _ in range(chance.randint(1, 60)))
        stem = chance.choice(stems)[: chance.choice((0, 70, 130))]
        requests.append(
            Request(
                (*stem, *tail),
                chance.randint(1, 50),
                SamplingParams(chance.choice((0.0, 0.9)), chance.choice((0, 9)), seed=number),
                adapter=chance.choice((None, *keys)),
                stop=chance.choice(((), ("a",))),
                logprobs=chance.choice((0, 3, 20)),
                tenant=chance.choice("aaab"),
            )
        )
    # Some come again with another seed, so that prefixes are found whatever the chance draws.
    for number in range(count // 4):
        first = requests[number]
        again = replace(first.sampling, seed=1000 + number)
        requests[count - 1 - number] = replace(first, sampling=again)
    alone = await lone(backbone, store, requests)
    shape_bytes = CpuExecutor(backbone, 1).shape.page_bytes
    largest, _ = store.packed(keys[-1], CpuExecutor(backbone, 1).packing)
    pages = 2 * -(-largest.size_bytes // shape_bytes) + 12
    answers: dict[int, Answer] = {}
    arrivals = sorted(chance.randrange(40) for _ in range(count))
    cuts = {number: chance.randrange(30) for number in range(0, count, 5)}

    async def until(engine: Engine, step: int) -> None:
        """Wait by the engine's own clock, so that a slow machine meets the same schedule."""
        await trio.sleep(0)
        while engine.figures.recorder.steps < begun + step and engine.load != (0, 0):
            await trio.sleep(0.001)

    async def ask(engine: Engine, number: int) -> None:
        async with trio.open_nursery() as nursery:

            async def cut() -> None:
                await until(engine, arrivals[number] + cuts[number])
                nursery.cancel_scope.cancel()

            if number in cuts:
                nursery.start_soon(cut)
            answers[number] = await engine.generate(requests[number])
            nursery.cancel_scope.cancel()

    async with engine_on(
        backbone, store, Limits(running=6, rows=48, pages=pages), threads
    ) as engine:
        if count == 40:
            # From the disk they would come when it likes, one by one and to an idle memory.
            for key in keys:
                await engine.generate(Request((1,), 1, adapter=key))
        begun, before = engine.figures.recorder.steps, engine.figures
        async with trio.open_nursery() as nursery:
            for number, step in enumerate(arrivals):
                await until(engine, step)
                nursery.start_soon(ask, engine, number)
        await rest(engine)
        figures = engine.figures
        assert before.pool is not None
        assert figures.pool is not None
        if count == 40:
            lost, lost_before = (p.evictions + p.displaced for p in (figures.pool, before.pool))
            assert lost > lost_before
            assert figures.pool.moves + figures.preempted > before.pool.moves + before.preempted
    torch.set_num_threads(1)
    assert answers.keys() >= set(range(count)) - cuts.keys()
    for number, answer in answers.items():
        assert answer == alone[number]


async def test_figures_tell_what_was_done(backbone: Backbone, store: AdapterStore) -> None:
    key = keys_of(backbone)[2]
    async with engine_on(backbone, store, Limits()) as engine:
        await engine.generate_all(asked(key, 3, seed=1, max_tokens=5, tenant="me"))
        figures = engine.figures
    recorder = figures.recorder
    assert (recorder.prompt_tokens, recorder.output_tokens) == (180, 15)
    assert recorder.first_token.count == 3
    assert recorder.between_tokens.count == 12
    assert sum(recorder.between_tokens.counts) == 12
    assert recorder.finished[Finish.LENGTH] == 3
    assert figures.served == {"me": 15}
    assert figures.adapters == 1
    assert figures.pool is not None
    assert figures.pool.device_bytes > 0
    assert (
        figures.pages_free + figures.pages_held + figures.pages_cached
        < figures.pages
        == Limits().pages
    )
