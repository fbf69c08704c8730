"""The sampler's kernels against numpy's stream, the reference draw, the digest and the twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.digest import KEPT, STEPS
from inference.kernels import sampler, sampler_twin
from inference.kernels.launch import ArgumentsRefused
from inference.sampling import SamplingParams, choose
from tests.inference.kernels.on_host import HostRunner, assert_same_bits, needs_compiler
from tests.inference.kernels.sampler_cases import (
    ALL,
    assert_words_of_numpy,
    draw,
    draws_of,
    random_logits,
    scratch_for,
    survey,
)

pytestmark = needs_compiler
RUN = HostRunner()


@pytest.mark.parametrize(
    ("key", "index"),
    [(0, 0), (1, 1), (2**128 - 1, 2**63 - 1), (0x123456789ABCDEF0FEDCBA9876543210, 77)],
)
def test_the_noise_words_are_those_of_numpy(key: int, index: int) -> None:
    assert_words_of_numpy(key, index, 300, RUN)


@pytest.mark.parametrize("vocabulary", [1, 5, 1000, 8192, 8193, 16390])
def test_draws_are_those_of_the_reference(vocabulary: int) -> None:
    logits = random_logits(4, vocabulary)
    params = [
        SamplingParams(temperature=temperature, seed=seed)
        for temperature, seed in ((1.0, 1), (0.7, 2**64 - 1), (0.0, 3), (100.0, 4))
    ]
    indices = [0, 5, 2**40, 9]
    expected = [
        choose(line.numpy(), one, index)
        for line, one, index in zip(logits, params, indices, strict=True)
    ]
    assert (
        draw(logits, draws_of(params, indices, [ALL] * 4), HostRunner(vocabulary % 3)) == expected
    )


def test_many_draws_are_those_of_the_reference() -> None:
    rows = 120
    logits = random_logits(1, 700).repeat(rows, 1).contiguous()
    params = [SamplingParams(temperature=0.02 + row / 30, seed=row // 10) for row in range(rows)]
    tokens = draw(logits, draws_of(params, list(range(rows)), [ALL] * rows), RUN)
    expected = [choose(logits[row].numpy(), params[row], row) for row in range(rows)]
    assert tokens == expected
    assert len(set(tokens)) > 20


def test_a_floor_keeps_what_the_filters_of_the_reference_keep() -> None:
    logits = (random_logits(1, 900) * 2).round().repeat(60, 1).contiguous()
    params = [SamplingParams(temperature=4.0, top_k=37, seed=row) for row in range(60)]
    order = torch.sort(logits[0], descending=True, stable=True)
    floor, floor_id = float(order.values[36]), int(order.indices[36])
    tokens = draw(logits, draws_of(params, [3] * 60, [(floor, floor_id)] * 60), RUN)
    assert tokens == [choose(logits[row].numpy(), params[row], 3) for row in range(60)]
    assert float(order.values[37]) == floor


def test_greedy_takes_the_lowest_id_of_a_tie_whatever_the_floor() -> None:
    logits = torch.zeros(3, 9000)
    logits[0, [8500, 700, 8192]] = 4.0
    logits[1] = float("-inf")
    logits[2] = -1.0
    logits[2, 8999] = -0.5
    params = [SamplingParams()] * 3
    assert draw(logits, draws_of(params, [0] * 3, [(100.0, 0)] * 3), RUN) == [700, 0, 8999]


def test_a_row_that_keeps_nothing_says_so() -> None:
    logits = torch.zeros(4, 50)
    logits[1], logits[2] = float("-inf"), float("nan")
    logits[3], logits[3, 7] = float("nan"), -3.0
    params = [SamplingParams(temperature=1.0)] * 4
    assert draw(logits, draws_of(params, [0] * 4, [(1.0, 3), ALL, ALL, ALL]), RUN) == [
        -1,
        -1,
        -1,
        7,
    ]
    greedy = [SamplingParams()] * 4
    assert draw(logits, draws_of(greedy, [0] * 4, [ALL] * 4), RUN) == [0, 0, -1, 7]


def test_a_draw_does_not_depend_on_other_rows() -> None:
    logits = random_logits(3, 8400)
    params = [SamplingParams(temperature=1.5, seed=seed) for seed in range(3)]
    together = draw(logits, draws_of(params, [4, 5, 6], [ALL] * 3), RUN)
    alone = draw(logits[1:2].clone(), draws_of(params[1:2], [5], [ALL]), HostRunner(3))
    assert alone == together[1:2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("vocabulary", "count"), [(1, 1), (20, 32), (1001, 5), (17000, 32)])
def test_the_greatest_logits_agree_with_the_twin(
    vocabulary: int, count: int, dtype: torch.dtype
) -> None:
    logits = random_logits(2, vocabulary).to(dtype)
    values, ids, log_sum = survey(logits, count, HostRunner(vocabulary % 2))
    true_values, true_ids = torch.empty_like(values), torch.empty_like(ids)
    true_sum = torch.empty_like(log_sum)
    sampler_twin.greatest(logits, None, true_values, true_ids, true_sum)
    assert_same_bits(values, true_values)
    assert_same_bits(ids, true_ids)
    assert (log_sum - true_sum).abs().max() < 1e-6


def test_equal_logits_come_in_the_order_of_their_ids() -> None:
    logits = torch.zeros(1, 9000)
    logits[0, ::2] = -0.0
    logits[0, [8999, 3]] = 1.0
    values, ids, _ = survey(logits, 6, RUN)
    assert ids.tolist() == [[3, 8999, 0, 1, 2, 4]]
    assert values.tolist() == [[1.0, 1.0, 0.0, 0.0, 0.0, 0.0]]


def test_a_survey_does_not_depend_on_other_rows_or_the_order_of_threads() -> None:
    logits = random_logits(3, 8300)
    together = survey(logits, 16, RUN)
    for seed in (0, 4):
        alone = survey(logits[2:].clone(), 16, HostRunner(seed))
        for ours, all_rows in zip(alone, together, strict=True):
            assert_same_bits(ours, all_rows[2:])


@pytest.mark.parametrize("scale", [0.05, 3.0, 1e6])
def test_the_greatest_steps_are_those_of_the_digest(scale: float) -> None:
    logits = random_logits(2, 8250, seed=1) * scale
    logits[1, 17] = float("-inf")
    steps = torch.full((2, KEPT), -9, dtype=torch.int32)
    ids = torch.full_like(steps, -9)
    HostRunner(1)(sampler.steps_launches(logits, scratch_for(logits), steps, ids))
    for row, line in enumerate(logits.double().numpy()):
        exact = np.floor(line * STEPS + 0.5)
        order = np.lexsort((np.arange(len(line)), -exact))[:KEPT]
        assert ids[row].tolist() == order.tolist()
        assert steps[row].tolist() == exact[order].tolist()
    true_steps, true_ids = torch.empty_like(steps), torch.empty_like(ids)
    sampler_twin.greatest_steps(logits, None, true_steps, true_ids)
    assert_same_bits(steps, true_steps)
    assert_same_bits(ids, true_ids)


def test_what_does_not_fit_is_refused() -> None:
    logits = torch.zeros(1, 10)
    ids = torch.zeros(1, 33, dtype=torch.int32)
    with pytest.raises(ArgumentsRefused, match="at most 32"):
        list(sampler.steps_launches(logits, scratch_for(logits), ids, ids))
    with pytest.raises(ArgumentsRefused, match="scratch"):
        list(sampler.steps_launches(logits, torch.zeros(8, dtype=torch.uint8), ids, ids))
