"""Measure how far honest and dishonest answers are from their repetition, and what bounds catch.

    python -m benches.replay_variance [--answers 24] [--tokens 48]

Answers of open-nano with an adapter, greedy and drawn, are repeated on machines that are unlike in
their sums only: the same model with its hidden and feed-forward dimensions permuted adds in another
order. The numeric classes are float32 and bfloat16 (weights, cache and activations, as on a GPU).
Dishonest executors serve the model in 8 or 4 bits, another adapter, none, or one layer less. Per
pair: the worst margin of an answer, its mean deviation, and the share that `inference.replay`'s
bounds refuse.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import trio
from torch import Tensor

from benches.attribution import processor, random_factors
from genesis.base_model import OPEN_NANO
from inference.adapters.adapter import LoraAdapter, make_adapter, tensor_name
from inference.adapters.packed_image import pack_image
from inference.adapters.store import AdapterStore
from inference.backbone.config import LlamaConfig
from inference.backbone.model import Backbone
from inference.backbone.weights import load_tensors
from inference.cpu_executor import CpuExecutor
from inference.cuda.open import device_executor
from inference.cuda.shapes import StepShapes
from inference.cuda.weights import DeviceWeights
from inference.engine import open_engine
from inference.executor import Executor
from inference.fingerprint import deviations
from inference.replay import BF16, FP32, Bounds, replay
from inference.request import Answer, Limits, Request
from inference.sampling import SamplingParams

PAGES = 160
PROMPT = 24
ATTENTION = ("q_proj", "k_proj", "v_proj")
SHAPES = StepShapes()


@dataclass(frozen=True)
class Machine:
    """A model and an adapter as one machine computes them; `order` is how it permutes hidden."""

    backbone: Backbone
    adapter: LoraAdapter | None
    executor: Callable[[Backbone], Executor]
    order: Tensor | None = None


def float32(backbone: Backbone) -> Executor:
    """Compute on the processor as a worker does."""
    return CpuExecutor(backbone, PAGES)


def bfloat16(backbone: Backbone) -> Executor:
    """Compute as a GPU does, with the kernels' twins."""
    weights = DeviceWeights.place(backbone.decoder, torch.device("cpu"), torch.bfloat16)
    return device_executor(weights, PAGES, shapes=SHAPES, graphs=False)


def permuted(backbone: Backbone, adapter: LoraAdapter, seed: int) -> tuple[Machine, Machine]:
    """Return the machines of both classes whose sums run in another order."""
    config = backbone.config
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randperm(config.hidden_size, generator=generator)
    inner = torch.randperm(config.intermediate_size, generator=generator)
    tensors = {
        name: _permute_weight(name, tensor, hidden, inner)
        for name, tensor in load_tensors(OPEN_NANO, config).items()
    }
    changed = Backbone.from_tensors(config, tensors, backbone.tokenizer)
    factors = {}
    for site, pair in adapter.pairs.items():
        a, b = pair.a, pair.b
        if site.module in (*ATTENTION, "gate_proj", "up_proj"):
            a = a[:, hidden]
        if site.module == "down_proj":
            a = a[:, inner]
        if site.module in ("o_proj", "down_proj"):
            b = b[hidden]
        if site.module in ("gate_proj", "up_proj"):
            b = b[inner]
        factors[tensor_name(site, "A")], factors[tensor_name(site, "B")] = a, b
    other = make_adapter(adapter.spec, factors, changed)
    return Machine(changed, other, float32, hidden), Machine(changed, other, bfloat16, hidden)


def _permute_weight(name: str, tensor: Tensor, hidden: Tensor, inner: Tensor) -> Tensor:
    if "norm" in name:
        return tensor[hidden]
    if any(part in name for part in ("embed_tokens", "lm_head", *ATTENTION)):
        return tensor[:, hidden]
    if "gate_proj" in name or "up_proj" in name:
        return tensor[inner][:, hidden]
    return tensor[hidden][:, inner] if "down_proj" in name else tensor[hidden]


def quantised(config: LlamaConfig, bits: int, group: int) -> Backbone:
    """Round linear weights to so many bits, symmetric, one scale per group of inputs."""
    most = 2 ** (bits - 1) - 1

    def rounded(tensor: Tensor) -> Tensor:
        parts = tensor.reshape(tensor.shape[0], -1, group)
        scale = parts.abs().amax(-1, keepdim=True) / most
        whole: Tensor = ((parts / scale).round() * scale).reshape(tensor.shape)
        return whole

    tensors = load_tensors(OPEN_NANO, config)
    return Backbone.from_tensors(
        config, {n: rounded(t) if "_proj" in n else t for n, t in tensors.items()}
    )


def shortened(backbone: Backbone) -> Backbone:
    """Leave the last but one layer out, by making it add nothing."""
    config = backbone.config
    tensors = load_tensors(OPEN_NANO, config)
    prefix = f"model.layers.{config.num_hidden_layers - 2}."
    names = (f"{prefix}self_attn.o_proj.weight", f"{prefix}mlp.down_proj.weight")
    return Backbone.from_tensors(
        config, {n: torch.zeros_like(t) if n in names else t for n, t in tensors.items()}
    )


def requests(config: LlamaConfig, count: int, tokens: int) -> list[Request]:
    """Make prompts from random ids; a third is greedy."""
    rng = np.random.default_rng(11)
    return [
        Request(
            tuple(rng.integers(3, config.vocab_size, PROMPT).tolist()),
            tokens,
            SamplingParams(temperature=(0.0, 0.7, 1.0)[number % 3], seed=number),
            stop_ids=(),
        )
        for number in range(count)
    ]


def answers(machine: Machine, asked: list[Request]) -> list[Answer]:
    """Serve them on one machine."""

    async def serve(store: AdapterStore, key: bytes | None) -> list[Answer]:
        executor = machine.executor(machine.backbone)
        async with open_engine(executor, None, store, Limits(running=8)) as engine:
            return await engine.generate_all([replace(one, adapter=key) for one in asked])

    with tempfile.TemporaryDirectory() as folder:
        store = AdapterStore(Path(folder), machine.backbone)
        key = None if machine.adapter is None else store.put(machine.adapter)
        return trio.run(serve, store, key)


def compare(
    judge: Machine, served: Machine, asked: list[Request], given: list[Answer]
) -> list[tuple[float, float]]:
    """Repeat answers on the judge's machine; returns (worst margin, mean deviation) of each."""
    found = []
    executor = judge.executor(judge.backbone)
    packing = executor.device.packing
    image = None
    if judge.adapter is not None:
        image = pack_image(judge.adapter, judge.backbone.config, packing)
    for request, answer in zip(asked, given, strict=True):
        seen = replay(executor, image, request.prompt_ids, answer.output_ids, request.sampling)
        states = seen.hidden
        if judge.order is not None:
            back = torch.argsort(judge.order).numpy()
            states = tuple(state[back] for state in states)
        if served.order is not None:
            states = tuple(state[served.order.numpy()] for state in states)
        far = deviations(answer.trace.fingerprint, states)
        found.append((max(seen.margins), 9.0 if far is None else float(far.mean())))
    return found


def line(name: str, found: list[tuple[float, float]], bounds: Bounds) -> str:
    """Write one pair's row."""
    margins, far = (np.array(part) for part in zip(*found, strict=True))
    refused = np.mean((margins > bounds.margin) | (far > bounds.deviation))
    return (
        f"{name:<46} {np.median(margins):8.4f} {margins.max():8.4f} "
        f"{np.median(far):9.5f} {far.min():9.5f} {far.max():9.5f} {100 * refused:7.1f} %"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--answers", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=48)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    backbone = Backbone.load(OPEN_NANO)
    adapter, wrong = (random_factors(backbone, 8, seed) for seed in (1, 2))
    exact, coarse = Machine(backbone, adapter, float32), Machine(backbone, adapter, bfloat16)
    other, other_coarse = permuted(backbone, adapter, 5)
    asked = requests(backbone.config, arguments.answers, arguments.tokens)
    print(f"open-nano on {processor()}: {len(asked)} answers of {arguments.tokens} tokens")
    head = ("margin p50", "max", "deviation p50", "min", "max", "refused")
    print(f"{'judge <- executor':<46} " + " | ".join(head))
    by_exact, by_coarse = answers(exact, asked), answers(coarse, asked)
    for name, judge, served, given, bounds in (
        ("fp32 <- fp32, alike", exact, exact, by_exact, FP32),
        ("fp32, sums in another order <- fp32", other, exact, by_exact, FP32),
        ("bf16 <- bf16, alike", coarse, coarse, by_coarse, BF16),
        ("bf16, sums in another order <- bf16", other_coarse, coarse, by_coarse, BF16),
        ("fp32 <- bf16", exact, coarse, by_coarse, BF16),
        ("bf16 <- fp32", coarse, exact, by_exact, BF16),
    ):
        print(line(name, compare(judge, served, asked, given), bounds))
    config = backbone.config
    cheats = (
        ("8 bits per row", Machine(quantised(config, 8, 64), adapter, float32)),
        ("4 bits per 32", Machine(quantised(config, 4, 32), adapter, float32)),
        ("another adapter", Machine(backbone, wrong, float32)),
        ("no adapter", Machine(backbone, None, float32)),
        ("a layer less", Machine(shortened(backbone), adapter, float32)),
    )
    for name, cheat in cheats:
        fitted = cheat
        if cheat.adapter is not None:  # an image names its base model
            pairs = {
                tensor_name(site, side): factor
                for site, pair in cheat.adapter.pairs.items()
                for side, factor in (("A", pair.a), ("B", pair.b))
            }
            fitted = replace(cheat, adapter=make_adapter(cheat.adapter.spec, pairs, cheat.backbone))
        given = answers(fitted, asked)
        for kind, judge, bounds in (("fp32", exact, FP32), ("bf16", coarse, BF16)):
            found = compare(judge, cheat, asked, given)
            print(line(f"{kind} bounds <- {name}", found, bounds))


if __name__ == "__main__":
    main()
