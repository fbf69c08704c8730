"""Whole answers: the same bits in any company, and equal shares for unequal tenants."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from benches.openlora_gpu_shapes import percentiles
from benches.openlora_gpu_world import Bench, Collector, ImageStore, request, runner_of
from inference.cuda.executor import DeviceExecutor
from inference.request import Answer, Limits, Request

HOST = 1 << 50


def determinism_table(bench: Bench, model: str = "1b", rank: int = 16) -> Iterator[str]:
    """Yield how many unlike answers one request has alone and in batches of random company."""
    executor = bench.executor(model, bench.pick(20_000, 0), host_bytes=4 << 30)
    store = ImageStore(executor, rank, bench.pick(64, 5))
    vocabulary = executor.config.vocab_size
    prompt, output = bench.pick(96, 9), bench.pick(64, 4)
    asked = request(0, prompt, output, vocabulary, store.hashes[0])
    chance = random.Random(11)
    yield "| company | runs | unlike answers | unlike logits |"
    yield "| --- | ---: | ---: | ---: |"
    everything: set[Answer] = set()
    for batch in (1, 2, 3) if bench.tiny else (1, 2, 4, 8, 16, 32, 64):
        answers = set()
        runs = bench.pick(1 if batch == 1 else 10, 1)
        for run in range(runs):
            mates = [
                request(
                    chance.randrange(10**6),
                    chance.randrange(1, 4 * prompt),
                    chance.randrange(1, 2 * output),
                    vocabulary,
                    chance.choice([None, *store.hashes]),
                )
                for _ in range(batch - 1)
            ]
            answers.add(_answer(executor, store, asked, mates, chance, run % 2 == 1))
        everything |= answers
        digests = {answer.trace.digest for answer in answers}
        yield f"| {batch} | {runs} | {len({a.output_ids for a in answers})} | {len(digests)} |"
    executor.close()
    outputs = {answer.output_ids for answer in everything}
    digests = {answer.trace.digest for answer in everything}
    yield f"| all | | {len(outputs)} | {len(digests)} |"


def fairness_table(bench: Bench, model: str = "1b", rank: int = 8) -> Iterator[str]:
    """Yield tokens and waits of a heavy tenant with many adapters beside a light one with one."""
    executor = bench.executor(model, bench.pick(20_000, 0), host_bytes=4 << 30)
    store = ImageStore(executor, rank, bench.pick(1000, 6))
    vocabulary = executor.config.vocab_size
    limits = Limits(running=8, rows=512, waiting=4096, waiting_per_tenant=4096)
    runner = runner_of(executor, store, limits, HOST)
    prompt, output, each = bench.pick(64, 5), bench.pick(32, 3), bench.pick(200, 6)
    heavy, light = [], []
    for number in range(each):
        for extra in range(10):
            key = store.hashes[(10 * number + extra) % len(store.hashes)]
            ask = request(10 * number + extra, prompt, output, vocabulary, key, "heavy")
            heavy.append(Collector(time.perf_counter))
            runner.submit(ask, heavy[-1], runner.lease_ahead(ask))
    for number in range(each):
        ask = request(10**6 + number, prompt, output, vocabulary, store.hashes[0], "light")
        light.append(Collector(time.perf_counter))
        runner.submit(ask, light[-1], runner.lease_ahead(ask))
    while any(listener.answer is None for listener in light):
        runner.step()
    served = dict(runner.figures.served)
    runner.close()
    executor.close()
    wait = percentiles([one.times[0] - one.asked for one in light if one.times])
    yield "| tenant | adapters | asked | output tokens while both wait |"
    yield "| --- | ---: | ---: | ---: |"
    yield f"| heavy | {len(store.hashes)} | {len(heavy)} | {served.get('heavy', 0)} |"
    yield f"| light | 1 | {len(light)} | {served.get('light', 0)} |"
    yield ""
    ratio = served.get("heavy", 0) / max(served.get("light", 0), 1)
    yield f"ratio {ratio:.2f} (one share each: 1); "
    yield f"the light tenant's first token: p50 {wait.median:.3f} s, p99 {wait.p99:.3f} s"


def _answer(
    executor: DeviceExecutor,
    store: ImageStore,
    asked: Request,
    mates: list[Request],
    chance: random.Random,
    short_of_rows: bool,
) -> Answer:
    """Serve one request among others; with few rows per step prompts are cut in other places."""
    limits = Limits(running=64, rows=chance.randrange(17, 200) if short_of_rows else 512)
    runner = runner_of(executor, store, limits, HOST)
    everyone = [*mates]
    place = chance.randrange(len(mates) + 1)
    everyone.insert(place, asked)
    listeners = [Collector(time.perf_counter) for _ in everyone]
    for ask, listener in zip(everyone, listeners, strict=True):
        runner.submit(ask, listener, runner.lease_ahead(ask))
        if chance.random() < 0.5:
            runner.step()
    while any(listener.answer is None for listener in listeners):
        runner.step()
    runner.close()
    answer = listeners[place].answer
    if answer is None:
        raise AssertionError("the loop above ends with an answer")
    return answer
