"""The bench of thousands of adapters runs from end to end with few of them, and its trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trio

from benches.openlora_cpu import measure
from benches.openlora_engines import QUICK, World
from benches.openlora_trace import LONGEST, SHORTEST, round_robin, synthetic
from inference.backbone.model import Backbone


def test_every_answer_is_complete_and_equal_requests_are_answered_alike(
    backbone: Backbone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # However few requests a slow machine gets: eight adapters in turn do not fit beside a sequence.
    world = World(replace(QUICK, tight=1), tmp_path, backbone)
    trio.run(measure, world)
    printed = capsys.readouterr().out
    facts = world.facts
    assert f"{facts.answers} answers of {facts.tokens} tokens, all complete" in printed
    turns = 2 * len(QUICK.in_turn) * QUICK.turns
    assert facts.answers > turns
    assert facts.compared >= turns // 2
    assert facts.evictions > 0
    for name in ("1", "20", "8 mixed", "never packed"):
        assert any(line.startswith(f"{name:<13}") for line in printed.splitlines())


def test_traces_of_other_numbers_of_adapters_differ_in_adapters_alone() -> None:
    few, many = (synthetic(count, 10.0, 30.0, 300) for count in (1, 5000))
    assert {ask.adapter for ask in few} == {0}
    assert len({ask.adapter for ask in many}) > 250
    assert [(a.arrival, a.prompt, a.output) for a in few] == [
        (a.arrival, a.prompt, a.output) for a in many
    ]


def test_the_trace_is_the_one_of_the_paper() -> None:
    asks = synthetic(7, 4.0, 50.0, 300, alpha=0.5, cv=2.0)
    np.random.seed(42)
    adapters = (np.random.power(0.5, 200) * 7).astype(int)
    prompts = np.random.randint(SHORTEST, LONGEST, 200)
    outputs = np.random.randint(SHORTEST, LONGEST, 200)
    gaps = np.random.gamma(1 / 4, 4 / 4.0, 200)
    assert [ask.adapter for ask in asks] == adapters.tolist()
    assert [len(ask.prompt) for ask in asks] == prompts.tolist()
    assert [ask.output for ask in asks] == outputs.tolist()
    assert np.allclose([ask.arrival for ask in asks], gaps.cumsum())


def test_adapters_in_turn_come_at_a_fixed_rate() -> None:
    asks = round_robin(3, 4.0, 7, 300, 5, 2, seed=1)
    assert [ask.adapter for ask in asks] == [0, 1, 2, 0, 1, 2, 0]
    assert [ask.arrival for ask in asks] == [0.25 * index for index in range(7)]
    assert len({ask.prompt for ask in asks}) == 7
