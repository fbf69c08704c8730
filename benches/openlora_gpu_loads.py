"""Loading adapters while others decode: latency, bystanders, many adapters, memory, no leaks."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]
import torch

from benches.openlora_gpu_shapes import Times, percentiles
from benches.openlora_gpu_world import (
    Bench,
    Collector,
    ImageStore,
    decode_pieces,
    request,
    runner_of,
)
from inference.adapters.pool import AdapterPool
from inference.adapters.state import AdapterState
from inference.arena import Arena
from inference.cuda.executor import DeviceExecutor
from inference.request import Limits

HOST = 1 << 50
"""Images are in the host already, so the pool need not count them."""


def loads_table(bench: Bench, model: str = "8b", rank: int = 16) -> Iterator[str]:
    """Yield seconds from a lease to the last byte, idle and while 32 sequences decode."""
    executor = bench.executor(model, host_bytes=4 << 30)
    store = ImageStore(executor, rank, bench.pick(400, 8))
    room = 40 * store.image_bytes // executor.shape.page_bytes
    pool = _pool(executor, store, min(room, executor.pages // 2))
    loads, rows = bench.pick(1000, 6), bench.pick(32, 3)
    pieces = decode_pieces(executor, rows, 64, [])
    idle = percentiles([_load(pool, store.hashes[n % len(store.hashes)]) for n in range(loads)])
    quiet = percentiles([_step(executor, pieces) for _ in range(bench.pick(400, 4))])
    busy, beside = _under_decode(executor, pool, store, pieces, loads // 4 or 1)
    pool.close()
    executor.close()
    wire = _host_rate(bench, store.image_bytes)
    yield f"{model} shape, rank {rank}: {store.image_bytes / 1e6:.1f} MB per adapter; one copy of "
    yield f"pinned memory moves {wire / 1e9:.1f} GB/s, so the floor is "
    yield f"{store.image_bytes / wire * 1e3:.2f} ms."
    yield ""
    yield "| measure | p50 ms | p99 ms |"
    yield "| --- | ---: | ---: |"
    yield _row("load, device idle", idle)
    yield _row(f"load, {rows} sequences decode", busy)
    yield _row("decode step, nothing loads", quiet)
    yield _row("decode step, adapters load", beside)


def memory_table(bench: Bench, model: str = "8b", rank: int = 16) -> Iterator[str]:
    """Yield device memory per resident adapter, and growth over load and evict cycles."""
    executor = bench.executor(model, host_bytes=4 << 30)
    store = ImageStore(executor, rank, bench.pick(200, 8))
    arena = Arena(executor.pages, executor.shape.page_bytes)
    pool = _pool(executor, store, executor.pages, arena)
    before = arena.free_bytes
    most = min(len(store.hashes), before // store.image_bytes - 1)
    for key in store.hashes[:most]:
        _load(pool, key)
    each = (before - arena.free_bytes) / most
    pool.close()
    yield f"{most} adapters of {store.image_bytes} bytes take {each:.0f} bytes of memory each: "
    yield f"{each / store.image_bytes:.4f} x their image."
    yield ""
    pool = _pool(
        executor, store, bench.pick(12, 4) * store.image_bytes // executor.shape.page_bytes
    )
    chosen = random.Random(4)
    cycles = bench.pick(10_000, 20)
    for _ in range(cycles // 10):
        _load(pool, chosen.choice(store.hashes))
    used, resident = _used(bench), psutil.Process().memory_info().rss
    for _ in range(cycles):
        _load(pool, chosen.choice(store.hashes))
    evictions = pool.figures.evictions
    yield f"{cycles} loads, {evictions} evictions: device memory {_used(bench) - used:+d} bytes, "
    yield f"host memory {(psutil.Process().memory_info().rss - resident) / 2**20:+.1f} MiB."
    pool.close()
    executor.close()


def cliff_table(bench: Bench, model: str = "8b", rank: int = 16, most: int = 1024) -> Iterator[str]:
    """Yield the time to the first token while requests go round robin over more and more adapters.

    Every request asks for 8 tokens after 64; one arrives when the one before it has its first
    token, and up to 32 run together. The resident case is the first row, whose adapters stay.
    """
    executor = bench.executor(model, host_bytes=4 << 30)
    store = ImageStore(executor, rank, bench.pick(most, 6))
    counts = (2, 6) if bench.tiny else (8, 16, 64, 256, 512, 1024, 2048, 5000)
    yield f"{model} shape, rank {rank}, {executor.pages} pages of {executor.shape.page_bytes} bytes"
    yield ""
    yield "| adapters | first token p50 ms | p99 ms | of resident | evictions | tokens/s |"
    yield "| ---: |" + " ---: |" * 5
    resident = 0.0
    for count in (count for count in counts if count <= most):
        runner = runner_of(executor, store, Limits(running=32, rows=512), HOST)
        firsts: list[float] = []
        started = time.perf_counter()
        asked = bench.pick(max(200, min(2 * count, 1500)), 4)
        for number in range(count + asked):
            key = store.hashes[number % count]
            listener = Collector(time.perf_counter)
            ask = request(number, 64 if not bench.tiny else 9, 8, executor.config.vocab_size, key)
            runner.submit(ask, listener, runner.lease_ahead(ask))
            while not listener.times:
                runner.step()
            if number == count:
                started = time.perf_counter()
            if number >= count:
                firsts.append(listener.times[0] - listener.asked)
        rate = 8 * asked / (time.perf_counter() - started)
        while not runner.scheduler.idle:
            runner.step()
        figures = runner.figures.pool
        evictions = figures.evictions if figures else 0
        runner.close()
        times = percentiles(firsts)
        resident = resident or times.median
        yield (
            f"| {count} | {times.median * 1e3:.2f} | {times.p99 * 1e3:.2f} "
            f"| {times.median / resident:.2f} | {evictions} | {rate:.0f} |"
        )
    executor.close()


def _pool(
    executor: DeviceExecutor, store: ImageStore, pages: int, arena: Arena | None = None
) -> AdapterPool:
    return AdapterPool(
        store.as_store(),
        arena or Arena(max(pages, 1), executor.shape.page_bytes),
        executor,
        host_bytes=HOST,
        reclaim=lambda: False,
        changed=lambda: None,
    )


def _load(pool: AdapterPool, key: bytes) -> float:
    start = time.perf_counter()
    lease = pool.lease(key)
    while lease.state is not AdapterState.READY or pool.uploading:
        pool.pump()
        if lease.failure is not None:
            raise lease.failure
    took = time.perf_counter() - start
    pool.release(lease)
    return took


def _step(executor: DeviceExecutor, pieces: list) -> float:  # type: ignore[type-arg]
    start = time.perf_counter()
    executor.step(pieces)
    return time.perf_counter() - start


def _under_decode(
    executor: DeviceExecutor,
    pool: AdapterPool,
    store: ImageStore,
    pieces: list,  # type: ignore[type-arg]
    loads: int,
) -> tuple[Times, Times]:
    """Decode without a pause, one load after the other beside it; a step sees a load's end."""
    taken, steps = [], []
    for number in range(loads):
        start = time.perf_counter()
        lease = pool.lease(store.hashes[-1 - number % len(store.hashes)])
        while lease.state is not AdapterState.READY or pool.uploading:
            pool.pump()
            steps.append(_step(executor, pieces))
        taken.append(time.perf_counter() - start)
        pool.release(lease)
    return percentiles(taken), percentiles(steps)


def _host_rate(bench: Bench, size: int) -> float:
    pin = bench.device.type == "cuda"
    source = torch.zeros(size, dtype=torch.uint8, pin_memory=pin)
    target = torch.zeros(size, dtype=torch.uint8, device=bench.device)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        target.copy_(source)
        seconds.append(time.perf_counter() - start)
    return size / min(seconds)


def _used(bench: Bench) -> int:
    if bench.device.type != "cuda":
        return 0
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info(bench.device)
    return total - free


def _row(label: str, times: Times) -> str:
    return f"| {label} | {times.median * 1e3:.2f} | {times.p99 * 1e3:.2f} |"
