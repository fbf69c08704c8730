"""Measure the engine: tokens per second on this CPU, beside what its matrix products alone take.

    python -m benches.engine [--threads 2] [--rank 8] [--batches 1,8,16]

The floor is the time that the same products take as plain matrix multiplications over the whole
batch: no attention, no sampling, no adapters, and no promise that a request's bits do not depend on
its batch. Prompts are different, so the prefix cache has no part in this.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benches.attribution import Quiet, load_backbone, processor, random_adapter
from genesis.base_model import OPEN_NANO
from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.backbone.sites import site_shape
from inference.cpu_executor import CpuExecutor, use_threads
from inference.request import Limits, Request
from inference.runner import Runner

PROMPT, OUTPUT = 64, 64


def serve(runner: Runner, prompts: list[list[int]], adapters: list[bytes], output: int) -> float:
    """Return the seconds that all answers take together, prefill included."""
    start = time.perf_counter()
    for index, prompt in enumerate(prompts):
        adapter = adapters[index % len(adapters)] if adapters else None
        runner.submit(Request(tuple(prompt), output, adapter=adapter, stop_ids=()), Quiet())
    while not runner.scheduler.idle:
        runner.step()
    return time.perf_counter() - start


def output_rate(
    backbone: Backbone, store: AdapterStore, adapters: list[bytes], batch: int, threads: int
) -> float:
    """Return output tokens per second with `batch` requests together, prefill included."""
    rng = np.random.default_rng(3)
    size = backbone.config.vocab_size
    executor = CpuExecutor(backbone, 16 * batch + 64, threads)
    runner = Runner(executor, None, store, Limits(running=batch))
    serve(runner, rng.integers(3, size, (batch, PROMPT)).tolist(), adapters, 2)
    seconds = serve(runner, rng.integers(3, size, (batch, PROMPT)).tolist(), adapters, OUTPUT)
    runner.close()
    return batch * OUTPUT / seconds


def floor_rate(backbone: Backbone, batch: int) -> float:
    """Return tokens per second of the decode steps' matrix products alone."""
    config = backbone.config
    shapes = [site_shape(config, site) for site in backbone.sites]
    shapes.append((config.vocab_size, config.hidden_size))
    weights = [torch.randn(shape) for shape in shapes]
    inputs = {w.shape[1]: torch.randn(batch, w.shape[1]) for w in weights}
    rounds = 20
    start = time.perf_counter()
    for _ in range(rounds):
        for weight in weights:
            torch.matmul(inputs[weight.shape[1]], weight.t())
    return batch * rounds / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--batches", default="1,8,16")
    arguments = parser.parse_args()
    use_threads(arguments.threads)
    backbone = load_backbone(OPEN_NANO)
    batches = [int(batch) for batch in arguments.batches.split(",")]
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        store = AdapterStore(Path(folder), backbone)
        adapters = [
            random_adapter(store, backbone, arguments.rank, seed) for seed in range(max(batches))
        ]
        print(
            f"open-nano on {processor()}, {arguments.threads} threads, prompt {PROMPT}, "
            f"rank {arguments.rank}"
        )
        print(
            f"{'requests':>9} {'base only':>12} {'one adapter':>12} {'distinct':>12} "
            f"{'products alone':>15}  tokens/s"
        )
        for batch in batches:
            rates = [
                output_rate(backbone, store, chosen, batch, arguments.threads)
                for chosen in ([], adapters[:1], adapters[:batch])
            ]
            shown = " ".join(f"{rate:12.0f}" for rate in rates)
            print(f"{batch:9} {shown} {floor_rate(backbone, batch):15.0f}")


if __name__ == "__main__":
    main()
