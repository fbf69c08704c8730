"""Decode steps of a whole model with random weights, beside the bytes that they have to read."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benches.openlora_gpu_shapes import adapter_bytes, percentiles
from benches.openlora_gpu_world import Bench, decode_pieces, fill
from inference.cuda.executor import DeviceExecutor
from inference.executor import Piece

CONTEXT = 64


def step_times(executor: DeviceExecutor, pieces: list[Piece], repeats: int) -> float:
    """Return the median seconds of a step, from the call until the summaries are in the host."""
    seconds = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        executor.step(pieces)
        seconds.append(time.perf_counter() - start)
    return percentiles(seconds[3:]).median


def decode_table(bench: Bench, model: str = "8b", rank: int = 16) -> Iterator[str]:
    """Yield step times without adapters, with one, and with one per row, and what these cost."""
    rows_of = (1, 3) if bench.tiny else (1, 2, 4, 8, 16, 32, 64)
    executor = bench.executor(model)
    config = executor.config
    size = adapter_bytes(config, rank)
    key_bytes = 2 * 2 * config.key_value_size * config.num_hidden_layers * CONTEXT
    residents = fill(executor, rank, rows_of[-1])
    weights = bench.ceiling.floor(executor.step_bytes)
    yield f"{model} shape, rank {rank}, {CONTEXT} positions each; weights read in {weights:.3g} s"
    yield ""
    yield (
        "| rows | floor ms | base ms | of floor | one adapter ms | distinct ms "
        "| overhead | its floor | ratio | tokens/s |"
    )
    yield "| ---: |" + " ---: |" * 9
    repeats = bench.pick(40, 2)
    for rows in rows_of:
        floor = weights + bench.ceiling.floor(key_bytes * rows)
        base = step_times(executor, decode_pieces(executor, rows, CONTEXT, []), repeats)
        one = step_times(executor, decode_pieces(executor, rows, CONTEXT, residents[:1]), repeats)
        some = residents[:rows]
        distinct = step_times(executor, decode_pieces(executor, rows, CONTEXT, some), repeats)
        overhead = distinct / base - 1
        least = bench.ceiling.floor(size * rows) / floor
        yield (
            f"| {rows} | {floor * 1e3:.2f} | {base * 1e3:.2f} | {base / floor:.2f} "
            f"| {one * 1e3:.2f} | {distinct * 1e3:.2f} | {overhead:.1%} | {least:.1%} "
            f"| {overhead / least:.2f} | {rows / distinct:.0f} |"
        )
    executor.close()
