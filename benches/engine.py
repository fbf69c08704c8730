"""Measure the engine: tokens per second on this CPU, beside what its matrix products alone take.

    python -m benches.engine [--threads 2]

Requests of one batch have adapters of their own. The floor is the time that the same products take
as plain matrix multiplications over the whole batch: no attention, no sampling, no adapters, and no
promise that a request's bits do not depend on its batch.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from benches.attribution import Quiet, load_backbone, random_pairs
from benches.blocks import processor
from genesis.base_model import OPEN_NANO
from inference.backbone.model import Backbone
from inference.backbone.packed import PackedAdapter, pack_adapter
from inference.backbone.sites import site_shape
from inference.request import Limits, Request
from inference.runner import Runner, use_threads

PROMPT, OUTPUT, ADAPTERS = 64, 64, 8


def decode_rate(backbone: Backbone, adapters: list[PackedAdapter], batch: int) -> float:
    """Return output tokens per second with `batch` requests together, prefill included."""
    rng = np.random.default_rng(3)
    prompts = rng.integers(3, backbone.config.vocab_size, (batch, PROMPT)).tolist()
    runner = Runner(backbone, Limits(running=batch, blocks=16 * batch + 16))
    start = time.perf_counter()
    for index, prompt in enumerate(prompts):
        request = Request(tuple(prompt), OUTPUT, stop_ids=())
        runner.submit(request, adapters[index % len(adapters)] if adapters else None, Quiet())
    for _ in range(2 * OUTPUT + batch):
        runner.step()
    return batch * OUTPUT / (time.perf_counter() - start)


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
    arguments = parser.parse_args()
    use_threads(arguments.threads)
    backbone = load_backbone(OPEN_NANO)
    adapters = [pack_adapter(random_pairs(backbone), backbone.config) for _ in range(ADAPTERS)]
    print(f"open-nano on {processor()}, {arguments.threads} threads, prompt {PROMPT}, rank 16")
    print(f"{'requests':>9} {'base only':>12} {'8 adapters':>12} {'products alone':>15}  tokens/s")
    with torch.inference_mode():
        for batch in (1, 8, 16):
            base = decode_rate(backbone, [], batch)
            mixed = decode_rate(backbone, adapters, batch)
            print(f"{batch:9} {base:12.0f} {mixed:12.0f} {floor_rate(backbone, batch):15.0f}")


if __name__ == "__main__":
    main()
