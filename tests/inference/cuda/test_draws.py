from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.cuda.draws import threshold_of
from inference.cuda.executor import DeviceExecutor
from inference.executor import Draw
from inference.sampling import SamplingParams, _kept, choose
from tests.inference.cuda.device_world import cpu_executor, piece
from tests.inference.tiny_models import tiny_backbone

PARAMS = [
    SamplingParams(),
    SamplingParams(temperature=1.0, seed=5),
    SamplingParams(temperature=0.7, top_k=5, seed=6),
    SamplingParams(temperature=0.7, top_p=0.4, seed=7),
    SamplingParams(temperature=0.3, min_p=0.2, seed=2**64 - 1),
    SamplingParams(temperature=1.3, top_k=20, top_p=0.9, min_p=0.05, seed=9),
    SamplingParams(temperature=2.0, top_k=100, seed=10),
    SamplingParams(temperature=2.0, top_p=0.999, seed=11),
]


@pytest.fixture(scope="module")
def executor() -> DeviceExecutor:
    return cpu_executor(tiny_backbone(seed=3))


def test_draws_of_any_filters_are_those_of_the_whole_rows(executor: DeviceExecutor) -> None:
    rows = executor.step([piece(list(range(30)), 0, [3])])
    draws = [
        Draw(row, params, index)
        for row in (0, 4, 5, 29, 3)
        for params in PARAMS
        for index in (0, 77)
    ]
    drawn = rows.draw_all(draws)
    assert drawn == [choose(rows.logits(d.row), d.params, d.index) for d in draws]
    assert len(set(drawn)) > 10


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 1000),
    vocabulary=st.sampled_from([3, 32, 33, 200]),
    coarse=st.booleans(),
    temperature=st.sampled_from([0.2, 1.0, 3.0]),
    top_k=st.sampled_from([0, 1, 2, 31, 32, 33]),
    top_p=st.sampled_from([1.0, 0.99, 0.5, 0.1]),
    min_p=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
)
def test_a_threshold_keeps_what_the_filters_keep(
    seed: int,
    vocabulary: int,
    coarse: bool,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
) -> None:
    logits = np.random.default_rng(seed).normal(size=vocabulary).astype(np.float32) * 3
    logits = np.round(logits) if coarse else logits  # with ties
    params = SamplingParams(temperature, top_k, top_p, min_p)
    scores = logits.astype(np.float64) / temperature
    order = np.argsort(-logits, kind="stable")[:32]
    found = threshold_of(
        logits[order],
        order.astype(np.int32),
        vocabulary,
        params,
        lambda: float(np.exp(scores - scores.max()).sum()),
    )
    if found is None:
        assert vocabulary > 32
        return
    floor, last = found
    kept = np.flatnonzero((logits > floor) | ((logits == floor) & (np.arange(vocabulary) <= last)))
    assert kept.tolist() == sorted(_kept(scores, params).tolist())


def test_a_row_that_starts_between_words_is_drawn_all_the_same() -> None:
    backbone = tiny_backbone(vocab_size=299)
    rows = cpu_executor(backbone).step([piece(list(range(9)), 0, [3])])
    params = SamplingParams(temperature=1.0, seed=5)
    assert rows.draw_all([Draw(1, params, 2)]) == [choose(rows.logits(1), params, 2)]


def test_sixteenths_are_those_of_a_digest(executor: DeviceExecutor) -> None:
    from inference.digest import sixteenths

    rows = executor.step([piece(list(range(30)), 0, [3])])
    for row in range(30):
        ids, steps = rows.sixteenths(row)
        expected_ids, expected_steps = sixteenths(rows.logits(row))
        assert torch.equal(torch.from_numpy(ids), torch.from_numpy(expected_ids))
        assert torch.equal(torch.from_numpy(steps), torch.from_numpy(expected_steps))
