"""A request's logits have the same bits alone and in any batch, however its positions are cut."""

from __future__ import annotations

import pytest
import torch

from inference.adapters.resident import Resident
from inference.arena import Extent, Move
from inference.cuda.executor import DeviceExecutor
from tests.inference.cuda.device_world import cpu_executor, place
from tests.inference.cuda.schedules import Job, advance, jobs_of, run_alone, run_together
from tests.inference.tiny_models import tiny_adapter, tiny_backbone

PAGES = 96


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=str)
def executor(request: pytest.FixtureRequest) -> DeviceExecutor:
    return cpu_executor(tiny_backbone(), PAGES, request.param)


@pytest.fixture(scope="module")
def jobs(executor: DeviceExecutor) -> list[Job]:
    backbone = tiny_backbone()
    residents: list[Resident | None] = [None]
    start = 0
    for index, rank in enumerate((1, 4, 8, 19)):
        residents.append(place(executor, tiny_adapter(backbone, rank=rank, seed=index), start))
        start = residents[-1].extent.end
    assert start <= 32 * executor.shape.page_bytes
    jobs = jobs_of(6, residents)
    for job in jobs:
        run_alone(executor, job, [60, 61, 62])
    return jobs


@pytest.mark.parametrize("seed", range(2))
def test_random_schedules_with_preemption_give_the_bits_of_each_request_alone(
    executor: DeviceExecutor, jobs: list[Job], seed: int
) -> None:
    run_together(executor, jobs, range(33, PAGES), seed)


def test_a_replay_of_prompt_and_output_at_once_has_the_bits_of_decoding(
    executor: DeviceExecutor, jobs: list[Job]
) -> None:
    for job in jobs:
        job.reset([40, 41, 42])
        advance(executor, [(job, len(job.ids))])


def test_pages_of_a_shared_prompt_serve_another_sequence(
    executor: DeviceExecutor, jobs: list[Job]
) -> None:
    size = executor.shape.positions
    ids = [i % 256 for i in range(2 * size + 9)]
    job = Job(ids, 2 * size + 3, jobs[1].adapter)
    run_alone(executor, job, [50, 51, 52])
    job.pages, job.computed = [50, 51, 45], 2 * size
    advance(executor, [(job, 3)])
    while not job.done:
        advance(executor, [(job, 1)])


def test_an_adapter_that_was_moved_gives_the_same_bits(executor: DeviceExecutor) -> None:
    adapter = tiny_adapter(tiny_backbone(), rank=4, seed=9)
    resident = place(executor, adapter, 35 * executor.shape.page_bytes)
    job = Job(list(range(60)), 20, resident)
    run_alone(executor, job, [60])
    source = resident.extent
    resident.extent = Extent(source.start - 256, source.size)
    executor.move(Move(source, resident.extent))
    run_alone(executor, job, [60])
