"""Draws and surveys by the sampler's kernels, wherever they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from inference.kernels import sampler, sampler_twin
from inference.kernels.launch import Launch
from inference.kernels.sampler import Draws
from inference.sampling import SamplingParams, philox_key
from tests.inference.kernels.on_host import assert_same_bits

ALL = (float("-inf"), 2**31 - 1)
Run = Callable[[Iterable[Launch]], None]


def scratch_for(logits: Tensor) -> Tensor:
    return torch.full(
        (sampler.scratch_bytes(*logits.shape),), 0xFF, dtype=torch.uint8, device=logits.device
    )


def draws_of(
    params: list[SamplingParams],
    indices: list[int],
    floors: list[tuple[float, int]],
    device: str = "cpu",
) -> Draws:
    keys = [philox_key(one.seed) for one in params]
    words = np.array([[key % 2**64, key >> 64] for key in keys], dtype=np.uint64)
    return Draws(
        temperature=torch.tensor([one.temperature for one in params], dtype=torch.float64).to(
            device
        ),
        key=torch.from_numpy(words.view(np.int64).reshape(-1, 2)).to(device),
        index=torch.tensor(indices, dtype=torch.int64).to(device),
        floor=torch.tensor([floor for floor, _ in floors], dtype=torch.float32).to(device),
        floor_id=torch.tensor([last for _, last in floors], dtype=torch.int32).to(device),
    )


def draw(logits: Tensor, draws: Draws, run: Run) -> list[int]:
    tokens = torch.full((len(logits),), -7, dtype=torch.int32, device=logits.device)
    run(sampler.draw_launches(logits, draws, scratch_for(logits), tokens))
    true = torch.full_like(tokens, -7)
    sampler_twin.draw(logits, draws, None, true)
    assert_same_bits(tokens, true)
    return tokens.tolist()


def random_logits(rows: int, vocabulary: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * 3


def survey(logits: Tensor, count: int, run: Run) -> tuple[Tensor, Tensor, Tensor]:
    rows, device = len(logits), logits.device
    values = torch.full((rows, count), float("nan"), device=device)
    ids = torch.full((rows, count), -9, dtype=torch.int32, device=device)
    log_sum = torch.full((rows,), float("nan"), dtype=torch.float64, device=device)
    run(sampler.greatest_launches(logits, scratch_for(logits), values, ids, log_sum))
    return values, ids, log_sum


def assert_words_of_numpy(key: int, index: int, blocks: int, run: Run, device: str = "cpu") -> None:
    words = torch.zeros(4 * blocks, dtype=torch.int64, device=device)
    launch = Launch(
        source=sampler.SOURCE,
        kernel="write_noise_words",
        grid=(-(-blocks // sampler.THREADS), 1, 1),
        block=sampler.THREADS,
        arguments=(
            np.uint64(key % 2**64),
            np.uint64(key >> 64),
            np.uint64(index),
            np.int32(blocks),
            words,
        ),
    )
    run([launch])
    truth = np.random.Philox(counter=[0, 0, index, 0], key=key).random_raw(4 * blocks)
    assert np.array_equal(words.cpu().numpy().view(np.uint64), truth)
