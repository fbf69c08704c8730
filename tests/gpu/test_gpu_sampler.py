"""The sampler's kernels on a GPU: the words of numpy, the reference draw, the twins."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("cupy", reason="cupy is not installed")
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

from inference.digest import KEPT
from inference.kernels import sampler, sampler_twin
from inference.kernels.launch import run
from inference.sampling import SamplingParams, choose
from tests.inference.kernels.on_host import assert_same_bits
from tests.inference.kernels.sampler_cases import (
    ALL,
    assert_words_of_numpy,
    draw,
    draws_of,
    random_logits,
    scratch_for,
    survey,
)

pytestmark = pytest.mark.gpu
VOCABULARY = 128_256


def test_the_noise_words_are_those_of_numpy_on_the_device() -> None:
    assert_words_of_numpy(2**127 + 12345, 2**41 + 7, VOCABULARY // 4, run, "cuda")


def test_draws_are_those_of_the_reference_on_the_device() -> None:
    logits = random_logits(64, VOCABULARY)
    params = [SamplingParams(temperature=row / 30, seed=row) for row in range(64)]
    params[1:3] = [SamplingParams(), SamplingParams(temperature=0.01)]
    indices = [row * row for row in range(64)]
    tokens = draw(logits.cuda(), draws_of(params, indices, [ALL] * 64, "cuda"), run)
    expected = [
        choose(line.numpy(), one, index)
        for line, one, index in zip(logits, params, indices, strict=True)
    ]
    assert tokens == expected
    alone = draw(logits[9:10].cuda(), draws_of(params[9:10], indices[9:10], [ALL], "cuda"), run)
    assert alone == tokens[9:10]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_greatest_logits_agree_with_the_twin_on_the_device(dtype: torch.dtype) -> None:
    logits = random_logits(16, VOCABULARY).to(dtype).cuda()
    values, ids, log_sum = survey(logits, 32, run)
    true_values, true_ids = torch.empty_like(values), torch.empty_like(ids)
    true_sum = torch.empty_like(log_sum)
    sampler_twin.greatest(logits, None, true_values, true_ids, true_sum)
    assert_same_bits(values, true_values)
    assert_same_bits(ids, true_ids)
    assert (log_sum - true_sum).abs().max() < 1e-6
    for ours, alone in zip(
        (values, ids, log_sum), survey(logits[5:6].clone(), 32, run), strict=True
    ):
        assert_same_bits(alone, ours[5:6])


def test_the_greatest_steps_agree_with_the_twin_on_the_device() -> None:
    logits = random_logits(16, VOCABULARY).cuda()
    steps = torch.full((16, KEPT), -9, dtype=torch.int32, device="cuda")
    ids = torch.full_like(steps, -9)
    sampler.greatest_steps(logits, scratch_for(logits), steps, ids)
    true_steps, true_ids = torch.empty_like(steps), torch.empty_like(ids)
    sampler_twin.greatest_steps(logits, None, true_steps, true_ids)
    assert_same_bits(steps, true_steps)
    assert_same_bits(ids, true_ids)
