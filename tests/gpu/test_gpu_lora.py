"""The LoRA kernels on a GPU: against their twin, bitwise against themselves, in a graph."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("cupy", reason="cupy is not installed")
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

from inference.kernels import lora
from inference.kernels.launch import run
from tests.inference.kernels.lora_cases import (
    CASES,
    MIXED_RANKS,
    QKV,
    Adapter,
    Shape,
    World,
    assert_agree,
    by_kernels,
    by_twin,
    poisoned,
    step_of,
    tiles_for,
    world_of,
)
from tests.inference.kernels.on_host import assert_same_bits

pytestmark = pytest.mark.gpu

LLAMA_QKV = Shape(4096, (4096, 1024, 1024))
LLAMA_DOWN = Shape(14336, (4096,))


@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize("case", CASES)
def test_the_kernels_agree_with_their_twin_on_the_device(case: str, width: int) -> None:
    shape, adapters, rows = CASES[case]
    world = world_of(shape, adapters).on("cuda")
    step = step_of(world, rows).on("cuda")
    assert_agree(by_kernels(world, step, run, width), by_twin(world, step))


@pytest.mark.parametrize("shape", [LLAMA_QKV, LLAMA_DOWN])
@pytest.mark.parametrize("rank", [8, 16, 64])
def test_the_kernels_agree_at_the_size_of_a_model(shape: Shape, rank: int) -> None:
    adapters = [Adapter(((rank,) * len(shape.widths),)) for _ in range(4)]
    world = world_of(shape, adapters).on("cuda")
    step = step_of(world, [row % 5 - 1 for row in range(64)]).on("cuda")
    narrow, wide = (by_kernels(world, step, run, width) for width in (8, 32))
    assert_agree(narrow, by_twin(world, step))
    assert_same_bits(narrow[1], wide[1])


def test_a_row_has_the_same_bits_alone_and_in_any_company_on_the_device() -> None:
    world = world_of(QKV, MIXED_RANKS).on("cuda")
    rows = [row % 7 - 1 for row in range(64)]
    step = step_of(world, rows).on("cuda")
    _, out = by_kernels(world, step, run)
    for width in (8, 32):
        for row in range(len(rows)):
            assert_same_bits(by_kernels(world, step.only([row]), run, width)[1][0], out[row])
        order = torch.randperm(len(rows)).tolist()
        assert_same_bits(by_kernels(world, step.only(order), run, width)[1], out[order])


def test_a_thousand_runs_give_one_result() -> None:
    world = world_of(LLAMA_QKV, [Adapter(((16, 16, 16),)) for _ in range(8)]).on("cuda")
    step = step_of(world, [row % 8 for row in range(64)]).on("cuda")
    _, first = by_kernels(world, step, run)
    for _ in range(1000):
        assert torch.equal(by_kernels(world, step, run)[1], first)


def test_a_captured_step_replays_with_other_rows_and_adapters() -> None:
    world = world_of(QKV, MIXED_RANKS).on("cuda")
    graph, (x, out, at, rows, _partials) = _capture(world)  # the graph writes to all of them
    for seed, adapters in enumerate(([0] * 16, [-1] * 16, [0, 1, 2, 3, 4, 5, -1, 0] * 2)):
        step = step_of(world, adapters, seed).on("cuda")
        cut = tiles_for(world, step, 8, 16)
        for buffer, value in ((x, step.x), (out, step.base), (at, cut.at), (rows, cut.rows)):
            buffer.copy_(value)
        graph.replay()
        torch.cuda.synchronize()
        assert_same_bits(out, by_kernels(world, step, run)[1])


def _capture(world: World) -> tuple[torch.cuda.CUDAGraph, tuple[torch.Tensor, ...]]:
    step = step_of(world, [0] * 16).on("cuda")
    cut = tiles_for(world, step, 8, 16)
    partials, out = poisoned(world, 16), step.base.clone()
    widths = world.shape.widths

    def launches() -> None:
        lora.shrink(step.x, world.memory, cut, 0, len(widths), partials)
        lora.expand(partials, world.memory, cut, 0, out, widths)

    launches()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        launches()
    return graph, (step.x, out, cut.at, cut.rows, partials)
