"""The executor on a GPU: the same bits in any company, with graphs or without, and no leaks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from inference.adapters.packed_image import pack_image
from inference.adapters.pool import AdapterPool
from inference.adapters.resident import Resident
from inference.adapters.state import AdapterState
from inference.adapters.store import AdapterStore
from inference.arena import Arena, Extent, Move
from inference.backbone.model import Backbone
from inference.cuda.executor import DeviceExecutor
from inference.cuda.open import device_executor
from inference.cuda.weights import DeviceWeights
from inference.executor import Draw
from inference.sampling import SamplingParams, choose
from tests.gpu.gpu_world import (
    GPU,
    PAGES,
    device_bytes,
    first_free_page,
    gpu_executor,
    placed_adapters,
    small_backbone,
)
from tests.inference.cuda.device_world import CPU, piece, place, whole
from tests.inference.cuda.schedules import Job, advance, jobs_of, run_alone, run_together
from tests.inference.tiny_models import tiny_adapter

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(scope="module")
def small() -> Backbone:
    return small_backbone()


@pytest.fixture(scope="module")
def executor(small: Backbone) -> Iterator[DeviceExecutor]:
    executor = gpu_executor(small)
    yield executor
    executor.close()


@pytest.fixture(scope="module")
def residents(executor: DeviceExecutor, small: Backbone) -> list[Resident | None]:
    return placed_adapters(executor, small)


@pytest.fixture(scope="module")
def jobs(executor: DeviceExecutor, residents: list[Resident | None]) -> list[Job]:
    jobs = jobs_of(64, residents, longest=400)
    for job in jobs:
        run_alone(executor, job, range(PAGES - 7, PAGES))
    return jobs


def free_pages(executor: DeviceExecutor, residents: list[Resident | None]) -> range:
    return range(first_free_page(executor, residents), PAGES)


@pytest.mark.parametrize("count", [2, 3, 8, 17, 33, 64])
def test_bits_alone_are_the_bits_in_a_batch(
    executor: DeviceExecutor, residents: list[Resident | None], jobs: list[Job], count: int
) -> None:
    mates = random.Random(count).sample(jobs, count)
    run_together(executor, mates, free_pages(executor, residents), seed=count)


def test_a_replay_has_the_bits_of_decoding(executor: DeviceExecutor, jobs: list[Job]) -> None:
    for job in jobs:
        job.reset(range(PAGES - 7, PAGES))
        advance(executor, [(job, len(job.ids))])


def test_a_cached_prefix_gives_the_same_bits(
    executor: DeviceExecutor, residents: list[Resident | None]
) -> None:
    size = executor.shape.positions
    job = Job([i % 256 for i in range(3 * size + 9)], 3 * size + 3, residents[3])
    pages = [PAGES - 1, PAGES - 3, PAGES - 2, PAGES - 5]
    run_alone(executor, job, pages)
    for cached in (1, 2, 3):
        job.pages = [*pages[:cached], *range(PAGES - 20, PAGES - 16)]
        job.computed = cached * size
        advance(executor, [(job, job.prompt - job.computed)])
        while not job.done:
            advance(executor, [(job, 1)])


def test_graphs_have_the_bits_of_single_launches(small: Backbone, jobs: list[Job]) -> None:
    eager = gpu_executor(small, graphs=False)
    try:
        residents = placed_adapters(eager, small)
        for job in jobs[: len(residents)]:
            copy = Job(job.ids, job.prompt, residents[jobs.index(job) % len(residents)])
            copy.logits = dict(job.logits)
            run_alone(eager, copy, range(PAGES - 7, PAGES))
    finally:
        eager.close()


@pytest.mark.parametrize("adapted", [False, True])
def test_logits_are_near_those_of_the_twins_on_a_processor(
    small: Backbone, executor: DeviceExecutor, residents: list[Resident | None], adapted: bool
) -> None:
    ids = [(7 * i) % 256 for i in range(150)]
    pages = list(range(PAGES - 7, PAGES))
    weights = DeviceWeights.place(small.decoder, CPU, torch.bfloat16)
    twin = device_executor(weights, 64)
    other = place(twin, tiny_adapter(small, rank=8, seed=2), 0) if adapted else None
    here = residents[3] if adapted else None
    on_gpu = executor.step([piece(ids, 0, pages, here, prompt=100)])
    on_cpu = twin.step([piece(ids, 0, range(40, 47), other, prompt=100)])
    difference = (whole(on_gpu) - whole(on_cpu)).norm() / whole(on_cpu).norm()
    assert difference < 0.05


def test_logits_are_near_those_of_the_float32_model(
    small: Backbone, executor: DeviceExecutor
) -> None:
    ids = [(11 * i) % 256 for i in range(700)]
    truth = small.forward(torch.tensor(ids)).detach()
    rows = executor.step([piece(ids, 0, range(PAGES - 12, PAGES), prompt=600)])
    assert (whole(rows) - truth).norm() / truth.norm() < 0.08


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": False},
        {"architectures": ["Qwen3ForCausalLM"], "use_sliding_window": False},
        {"head_dim": 128, "num_attention_heads": 4, "num_key_value_heads": 4},
    ],
)
def test_other_models_are_near_their_float32_selves(changes: dict[str, object]) -> None:
    backbone = small_backbone(**changes)
    executor = gpu_executor(backbone)
    ids = [(11 * i) % 256 for i in range(90)]
    truth = backbone.forward(torch.tensor(ids)).detach()
    rows = executor.step([piece(ids, 0, range(PAGES - 4, PAGES), prompt=50)])
    executor.close()
    assert (whole(rows) - truth).norm() / truth.norm() < 0.08


def test_the_device_draws_what_the_host_would(executor: DeviceExecutor) -> None:
    rows = executor.step([piece(list(range(64)), 0, range(PAGES - 4, PAGES))])
    params = [
        SamplingParams(temperature=t, top_k=k, top_p=p, min_p=m, seed=s)
        for t, k, p, m, s in (
            (0.0, 0, 1.0, 0.0, 1),
            (1.0, 0, 1.0, 0.0, 2),
            (0.7, 5, 1.0, 0.0, 3),
            (0.7, 0, 0.8, 0.0, 4),
            (2.0, 20, 0.9, 0.1, 2**64 - 1),
        )
    ]
    draws = [Draw(row, one, 3 * row) for row in range(64) for one in params]
    assert rows.draw_all(draws) == [choose(rows.logits(d.row), d.params, d.index) for d in draws]


def test_an_image_that_moves_keeps_its_bits(executor: DeviceExecutor, small: Backbone) -> None:
    adapter = tiny_adapter(small, rank=16, seed=9)
    resident = place(executor, adapter, 300 * executor.shape.page_bytes)
    job = Job(list(range(60)), 20, resident)
    run_alone(executor, job, range(PAGES - 2, PAGES))
    source = resident.extent
    resident.extent = Extent(source.start - 512, source.size)
    executor.move(Move(source, resident.extent))
    run_alone(executor, job, range(PAGES - 2, PAGES))


def test_a_prompt_may_start_while_its_adapter_arrives(small: Backbone) -> None:
    executor = gpu_executor(small, host_bytes=64 << 20)
    adapter = tiny_adapter(small, rank=64, seed=3)
    image = pack_image(adapter, small.config, executor.packing, executor.host_buffer)
    job = Job(list(range(90)), 40, None)
    bits = []
    for start in (0, 77 * 256, 200 * 256):
        executor.upload(image, Extent(start, image.size_bytes))
        job.adapter = Resident(adapter.content_hash, image.layout, Extent(start, image.size_bytes))
        run_alone(executor, job, range(PAGES - 4, PAGES))
        bits.append(tuple(job.logits.items()))
    assert len(set(bits)) == 1
    executor.close()


def test_ten_thousand_loads_and_evictions_leave_no_trace(small: Backbone, tmp_path: Path) -> None:
    store = AdapterStore(tmp_path, small)
    hashes = [store.put(tiny_adapter(small, rank=8, seed=seed)) for seed in range(24)]
    executor = gpu_executor(small, host_bytes=64 << 20)
    page = executor.shape.page_bytes
    size = pack_image(store.adapter(hashes[0]), small.config, executor.packing).size_bytes
    room = -(-6 * size // page)
    pool = AdapterPool(
        store,
        Arena(room, page),
        executor,
        host_bytes=64 << 20,
        reclaim=lambda: False,
        changed=lambda: None,
        host_buffer=executor.host_buffer,
    )
    rng = random.Random(1)

    def cycle(count: int) -> None:
        for _ in range(count):
            lease = pool.lease(rng.choice(hashes))
            while lease.state is not AdapterState.READY:
                pool.pump()
            pool.release(lease)

    try:
        cycle(1000)
        before, resident = device_bytes(), psutil.Process().memory_info().rss
        cycle(10_000)
        assert device_bytes() == before
        assert psutil.Process().memory_info().rss - resident < 32 << 20
        assert pool.figures.evictions > 5000
    finally:
        pool.close()
        executor.close()


def test_a_receipt_names_the_device_and_its_products_hash_repeats(
    small: Backbone, executor: DeviceExecutor
) -> None:
    again = gpu_executor(small)
    assert again.identity == executor.identity
    assert again.identity.name == torch.cuda.get_device_name(GPU)
    assert again.identity.driver
    assert again.identity.cublas
    again.close()
