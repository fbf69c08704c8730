"""The executor with the CUDA sources themselves, compiled for the processor, in place of twins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch

from inference.adapters.resident import Resident
from inference.cuda.executor import DeviceExecutor
from inference.cuda.gemm import products
from inference.cuda.kernel_set import KernelSet
from inference.cuda.memory import DeviceMemory
from inference.cuda.shapes import StepShapes
from inference.cuda.weights import DeviceWeights
from inference.executor import Draw
from inference.kernels import attention, elementwise, lora, sampler
from inference.kernels.launch import Launch
from inference.sampling import SamplingParams, choose
from tests.inference.cuda.device_world import CPU, cpu_executor, piece, place, whole
from tests.inference.cuda.schedules import Job, advance, run_alone
from tests.inference.kernels.on_host import HostRunner, needs_compiler
from tests.inference.tiny_models import tiny_adapter, tiny_backbone

pytestmark = needs_compiler

SHAPES = StepShapes(decode=16, prompt=16, buckets=(4, 16))
FIELDS: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 72,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 160,
}
PAGES = 12


def host_kernels() -> KernelSet:
    run = HostRunner()

    def ran(make: Callable[..., Iterable[Launch]]) -> Callable[..., None]:
        return lambda *arguments: run(make(*arguments))

    return KernelSet(
        name="on host",
        rms_norm=lambda x, weight, epsilon, out: run(
            elementwise.norm_launches(x, None, weight, epsilon, out)
        ),
        add_rms_norm=ran(elementwise.norm_launches),
        rotate_and_store=ran(elementwise.rotate_launches),
        silu_multiply=ran(elementwise.silu_launches),
        shrink=ran(lora.shrink_launches),
        expand=ran(lora.expand_launches),
        attend_rows=ran(attention.row_launches),
        attend_tiles=ran(attention.tile_launches),
        draw=ran(sampler.draw_launches),
        greatest=ran(sampler.greatest_launches),
        greatest_steps=ran(sampler.steps_launches),
        sampler_scratch=sampler.scratch_bytes,
    )


backbone_of = partial(tiny_backbone, **FIELDS)


@pytest.fixture(scope="module")
def executor() -> DeviceExecutor:
    backbone = backbone_of()
    memory = DeviceMemory.allocate(backbone.config, PAGES, torch.bfloat16, CPU)
    weights = DeviceWeights.place(backbone.decoder, CPU, torch.bfloat16)
    return DeviceExecutor(weights, memory, host_kernels(), products(CPU), SHAPES)


@pytest.fixture(scope="module")
def residents(executor: DeviceExecutor) -> list[Resident]:
    backbone = backbone_of()
    first = place(executor, tiny_adapter(backbone, rank=5, seed=1), 0)
    second = place(executor, tiny_adapter(backbone, rank=16, seed=2), first.extent.end)
    assert second.extent.end <= 6 * executor.shape.page_bytes
    return [first, second]


@pytest.mark.parametrize("adapted", [False, True])
def test_logits_are_near_those_of_the_twins(
    executor: DeviceExecutor, residents: list[Resident], adapted: bool
) -> None:
    backbone = backbone_of()
    twin = cpu_executor(backbone, PAGES, torch.bfloat16, SHAPES)
    other = place(twin, tiny_adapter(backbone, rank=16, seed=2), 0)
    ids = [(7 * i) % 256 for i in range(80)]
    resident = residents[1] if adapted else None
    rows = executor.step([piece(ids, 0, [9, 11], resident, wanted=50, prompt=70)])
    expected = twin.step([piece(ids, 0, [8, 10], other if adapted else None, wanted=50, prompt=70)])
    difference = (whole(rows) - whole(expected)).norm() / whole(expected).norm()
    assert difference < 0.03


def test_bits_alone_are_the_bits_in_a_batch_and_of_a_replay(
    executor: DeviceExecutor, residents: list[Resident]
) -> None:
    jobs = [
        Job([(11 * i + n) % 256 for i in range(7 + n)], 4 + n, adapter)
        for n, adapter in enumerate([None, *residents])
    ]
    for job in jobs:
        run_alone(executor, job, [11])
    for job, page in zip(jobs, (6, 8, 7), strict=True):
        job.reset([page])
    for count in (3, 4):
        advance(executor, [(job, count) for job in jobs])
    while any(not job.done for job in jobs):
        advance(executor, [(job, 1) for job in jobs if not job.done])


def test_draws_and_digests_are_those_of_the_whole_rows(executor: DeviceExecutor) -> None:
    rows = executor.step([piece(list(range(6)), 0, [9])])
    params = [SamplingParams(), SamplingParams(temperature=0.9, top_p=0.7, seed=3)]
    draws = [Draw(row, one, row) for row in range(6) for one in params]
    assert rows.draw_all(draws) == [choose(rows.logits(d.row), d.params, d.index) for d in draws]
    for row in range(6):
        logits = torch.from_numpy(rows.logits(row))
        assert rows.greedy(row) == int(logits.argmax())
        assert rows.log_sum(row) == pytest.approx(float(logits.double().logsumexp(0)))
