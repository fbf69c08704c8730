from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trio
from tiny_models import tiny_adapter, tiny_backbone

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.store import AdapterStore
from inference.backbone.batch import shape_of_cache
from inference.backbone.model import Backbone
from inference.cpu_executor import PACKING, CpuExecutor
from inference.engine import Engine, open_engine
from inference.replay import Replay, pages_for, replay
from inference.request import Answer, Finish, Limits, Request, RequestReason, RequestRefused
from inference.sampling import SamplingParams
from tests.patience import PATIENCE


def engine_on(
    backbone: Backbone,
    store: AdapterStore | None = None,
    limits: Limits | None = None,
    threads: int = 1,
) -> AbstractAsyncContextManager[Engine]:
    executor = CpuExecutor(backbone, (limits or Limits()).pages, threads)
    return open_engine(executor, backbone.tokenizer, store, limits)


def at_rest(engine: Engine) -> bool:
    """Whether nothing is held: pages are free, or cached, or an idle adapter's."""
    runner = engine._runner
    figures = engine.figures
    leases = 0 if runner._leasing is None else len(runner._leasing)
    return (figures.running, figures.waiting, figures.pages_held, leases) == (0, 0, 0, 0)


SMALL = Limits(running=5, waiting=100, rows=70, pages=14)


@pytest.fixture
def store(tmp_path: Path, backbone: Backbone) -> Iterator[AdapterStore]:
    store = AdapterStore(tmp_path, backbone)
    for rank in (1, 4, 5, 16):
        store.put(tiny_adapter(backbone, rank, seed=rank))
    yield store


def replayed(
    backbone: Backbone,
    store: AdapterStore | None,
    adapter: bytes | None,
    prompt: tuple[int, ...],
    output: tuple[int, ...],
    sampling: SamplingParams,
) -> Replay:
    image = None
    if adapter is not None:
        assert store is not None
        image, _ = store.packed(adapter, PACKING)
    executor = CpuExecutor(backbone, pages_for(shape_of_cache(backbone.config), image, 256))
    return replay(executor, image, prompt, output, sampling)


def fingerprint_of_another(fingerprint: bytes) -> bytes:
    """The same entries at their neighbours' indices."""
    entries = np.frombuffer(fingerprint, dtype="<u2").reshape(-1, 2).copy()
    entries[:, 0] ^= 1
    return entries.tobytes()


def keys_of(backbone: Backbone) -> list[bytes | None]:
    return [None, *(tiny_adapter(backbone, r, seed=r).content_hash for r in (1, 4, 5, 16))]


def random_requests(backbone: Backbone, count: int, seed: int) -> list[Request]:
    chance = random.Random(seed)
    keys = keys_of(backbone)
    return [
        Request(
            prompt_ids=tuple(chance.randrange(256) for _ in range(chance.randint(1, 150))),
            max_tokens=chance.randint(1, 40),
            sampling=SamplingParams(
                temperature=chance.choice((0.0, 0.7, 1.5)),
                top_k=chance.choice((0, 20)),
                top_p=chance.choice((1.0, 0.8)),
                seed=number,
            ),
            adapter=chance.choice(keys),
            logprobs=chance.choice((0, 2)),
        )
        for number in range(count)
    ]


async def test_answers_are_the_same_alone_together_and_on_two_threads(
    backbone: Backbone, store: AdapterStore
) -> None:
    requests = random_requests(backbone, 14, seed=4)
    async with engine_on(backbone, store) as engine:
        alone = [await engine.generate(request) for request in requests]
    for limits, threads in ((SMALL, 1), (Limits(running=14, rows=33), 2)):
        async with engine_on(backbone, store, limits, threads) as engine:
            order = list(range(len(requests)))
            random.Random(threads).shuffle(order)
            answers = await engine.generate_all([requests[i] for i in order])
            assert [answers[order.index(i)] for i in range(len(requests))] == alone
            assert at_rest(engine)
    torch.set_num_threads(1)
    assert len({answer.trace for answer in alone}) == len(alone)


async def test_adapters_change_answers(backbone: Backbone, store: AdapterStore) -> None:
    async with engine_on(backbone, store) as engine:
        requests = [Request((5, 6, 7), 12, adapter=key) for key in keys_of(backbone)]
        answers = await engine.generate_all(requests)
    assert len({answer.output_ids for answer in answers}) >= 4


async def test_a_replay_confirms_an_answer_and_nothing_else(
    backbone: Backbone, store: AdapterStore
) -> None:
    for request in random_requests(backbone, 8, seed=9):
        async with engine_on(backbone, store) as engine:
            answer = await engine.generate(request)
        args = (backbone, store, request.adapter, request.prompt_ids)
        seen = replayed(*args, answer.output_ids, request.sampling)
        assert seen.trace == answer.trace
        assert seen.agrees(answer.trace)
        assert len(seen.tops) == len(answer.output_ids)
        if request.sampling.temperature == 0.0:
            assert tuple(top[0][0] for top in seen.tops) == answer.output_ids
        unlike = replace(answer.trace, logits=bytes(32))
        assert seen.agrees(unlike), "a like answer from an unlike machine stands as well"
        other = replace(unlike, fingerprint=fingerprint_of_another(answer.trace.fingerprint))
        assert not seen.agrees(other)
        assert not seen.agrees(replace(unlike, fingerprint=b""))
        wrong = ((answer.output_ids[0] + 1) % 256, *answer.output_ids[1:])
        assert not replayed(*args, wrong, request.sampling).agrees(answer.trace)


async def test_a_replay_of_the_wrong_adapter_or_seed_disagrees(
    backbone: Backbone, store: AdapterStore
) -> None:
    key = keys_of(backbone)[4]
    request = Request((1, 2, 3), 30, SamplingParams(temperature=1.0, seed=3), adapter=key)
    async with engine_on(backbone, store) as engine:
        answer = await engine.generate(request)
    base = replayed(backbone, None, None, (1, 2, 3), answer.output_ids, request.sampling)
    assert not base.agrees(answer.trace)
    other = SamplingParams(temperature=1.0, seed=4)
    seeded = replayed(backbone, store, key, (1, 2, 3), answer.output_ids, other)
    assert seeded.trace == answer.trace
    assert not seeded.agrees(answer.trace)


def test_an_empty_answer_replays_to_an_empty_digest(backbone: Backbone) -> None:
    assert replayed(backbone, None, None, (1,), (), SamplingParams()).margins == ()


def test_a_replay_refuses_ids_outside_the_vocabulary(backbone: Backbone) -> None:
    with pytest.raises(RequestRefused) as caught:
        replayed(backbone, None, None, (1,), (5, 300), SamplingParams())
    assert caught.value.reason is RequestReason.UNKNOWN_TOKEN


async def test_tokens_stream_and_join_to_the_answer(backbone: Backbone) -> None:
    request = Request((65, 66), 40, SamplingParams(temperature=1.0, seed=1), logprobs=3)
    async with engine_on(backbone) as engine, engine.stream(request) as stream:
        tokens = [token async for token in stream]
    answer = stream.answer
    assert answer is not None
    assert tuple(token.id for token in tokens) == answer.output_ids
    assert "".join(token.text for token in tokens) == answer.text
    for token in tokens:
        assert len(token.top) == 3
        assert token.top[0][1] >= token.top[1][1] >= token.top[2][1]
        assert token.logprob <= token.top[0][1] <= 0.0
        assert math.isfinite(token.logprob)


async def answer_of(engine: Engine, **changes: object) -> Answer:
    base = Request((65, 66, 67), 30, SamplingParams(temperature=1.0, seed=2))
    fields = {name: getattr(base, name) for name in base.__slots__} | changes
    return await engine.generate(Request(**fields))


async def test_answers_end_at_limits_stop_ids_and_stop_texts(backbone: Backbone) -> None:
    async with engine_on(backbone) as engine:
        whole = await answer_of(engine, stop_ids=())
        assert (whole.finish, len(whole.output_ids)) == (Finish.LENGTH, 30)
        end = whole.output_ids[7]
        first = whole.output_ids.index(end)
        stopped = await answer_of(engine, stop_ids=(end,))
        assert stopped.finish is Finish.STOP
        assert stopped.output_ids == whole.output_ids[: first + 1]
        letter = next(c for c in whole.text if c.isascii() and c.isprintable())
        text = await answer_of(engine, stop_ids=(), stop=(letter,))
        assert text.finish is Finish.STOP
        assert text.text == whole.text[: whole.text.index(letter)]
        assert whole.output_ids[: len(text.output_ids)] == text.output_ids


async def test_leaving_a_stream_frees_its_blocks_and_its_pin(
    backbone: Backbone, store: AdapterStore
) -> None:
    key = keys_of(backbone)[2]
    assert key is not None
    async with engine_on(backbone, store, SMALL) as engine:
        request = Request((1, 2), 200, adapter=key, stop_ids=())
        async with engine.stream(request) as stream:
            async for _ in stream:
                break
        with trio.fail_after(PATIENCE):
            while stream.answer is None:
                await trio.sleep(0.01)
        assert stream.answer.finish is Finish.CANCELLED
        assert at_rest(engine)
        assert engine.load == (0, 0)
        store.remove(key)


async def test_a_cancelled_caller_cancels_its_request(backbone: Backbone) -> None:
    async with engine_on(backbone, None, SMALL) as engine:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.generate, Request((1,), 250, stop_ids=()))
                while engine.load != (1, 0):
                    await trio.sleep(0)
                nursery.cancel_scope.cancel()
            while engine.load != (0, 0):
                await trio.sleep(0.01)
        assert at_rest(engine)
        assert engine.figures.recorder.finished[Finish.CANCELLED] == 1


async def test_a_full_queue_refuses_and_an_engine_that_stops_says_so(backbone: Backbone) -> None:
    limits = Limits(running=1, waiting=1, rows=64, pages=8)
    outcomes: list[RequestReason] = []

    async def ask(engine: Engine) -> None:
        try:
            await engine.generate(Request((1,), 250, stop_ids=()))
        except RequestRefused as error:
            outcomes.append(error.reason)

    async with trio.open_nursery() as nursery, engine_on(backbone, None, limits) as engine:
        for _ in range(3):
            nursery.start_soon(ask, engine)
        with trio.fail_after(PATIENCE):
            while not outcomes:
                await trio.sleep(0.001)
    assert outcomes == [RequestReason.QUEUE_FULL, *[RequestReason.ENGINE_CLOSED] * 2]
    with pytest.raises(RequestRefused) as caught:
        await engine.generate(Request((1,), 1))
    assert caught.value.reason is RequestReason.ENGINE_CLOSED


async def test_a_refused_request_leaves_no_trace(backbone: Backbone, store: AdapterStore) -> None:
    key = keys_of(backbone)[1]
    assert key is not None
    async with engine_on(backbone, store) as engine:
        with pytest.raises(RequestRefused) as refused:
            await engine.generate(Request((), 1, adapter=key))
        assert refused.value.reason is RequestReason.EMPTY_PROMPT
        store.remove(key)
        with pytest.raises(AdapterRefused) as unknown:
            await engine.generate(Request((1,), 1, adapter=key))
        assert unknown.value.reason is AdapterReason.NOT_STORED
        assert engine.load == (0, 0)
    async with engine_on(backbone) as engine:
        with pytest.raises(RequestRefused) as none:
            await engine.generate(Request((1,), 1, adapter=key))
        assert none.value.reason is RequestReason.NO_ADAPTERS


async def test_stop_texts_need_a_tokenizer() -> None:
    backbone = tiny_backbone()
    bare = Backbone(backbone.config, backbone.decoder, None, backbone.content_hash)
    async with engine_on(bare) as engine:
        assert (await engine.generate(Request((1,), 2, stop_ids=()))).text == ""
        with pytest.raises(RequestRefused) as caught:
            await engine.generate(Request((1,), 2, stop=("x",)))
    assert caught.value.reason is RequestReason.NO_TOKENIZER
