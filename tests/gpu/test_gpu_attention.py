"""The attention kernels on a GPU: against their twin, bitwise against themselves, in a graph."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("cupy", reason="cupy is not installed")
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

from inference.kernels import attention
from inference.kernels.launch import run
from tests.inference.kernels.attention_cases import (
    LAYER,
    assert_near,
    by_rows,
    by_tiles,
    by_twin,
    poisoned,
)
from tests.inference.kernels.on_host import assert_same_bits
from tests.inference.kernels.paged_case import make_case, make_layout

pytestmark = pytest.mark.gpu
LENGTHS = [1, 16, 17, 127, 128, 129, 500, 1025]


@pytest.mark.parametrize("head_dim", attention.HEAD_DIMS)
@pytest.mark.parametrize("group", [1, 4, 7, 8, 16])
def test_rows_agree_with_the_twin_on_the_device(head_dim: int, group: int) -> None:
    case = make_case(make_layout(2, head_dim), LENGTHS, device="cuda")
    queries = case.queries(len(LENGTHS) + 1, 2 * group)
    rows = case.rows([*(length - 1 for length in LENGTHS), -1], [*range(len(LENGTHS)), 0])
    ours = by_rows(case, queries, rows, run)
    assert_near(ours, by_twin(case, queries, rows))
    assert not ours[-1].any()


@pytest.mark.parametrize("head_dim", attention.HEAD_DIMS)
@pytest.mark.parametrize("group", [1, 3, 8])
def test_a_prompt_in_tiles_has_the_bits_of_its_rows_alone(head_dim: int, group: int) -> None:
    case = make_case(make_layout(2, head_dim), [600], device="cuda")
    positions = list(range(90, 600))
    rows = case.rows(positions, [0] * len(positions))
    queries = case.queries(len(positions), 2 * group)
    tiles = by_tiles(case, queries, rows, [(0, len(positions))], run)
    assert_near(tiles, by_twin(case, queries, rows))
    assert_same_bits(by_rows(case, queries, rows, run), tiles)
    odd = by_tiles(case, queries, rows, [(0, 101), (101, 1), (102, len(positions) - 102)], run)
    assert_same_bits(odd, tiles)


def test_a_row_has_the_same_bits_alone_and_in_any_company_on_the_device() -> None:
    layout = make_layout(8, 128)
    case = make_case(layout, LENGTHS, device="cuda")
    moved = make_case(layout, LENGTHS, spare=9, wider=5, device="cuda")
    positions, numbers = [length - 1 for length in LENGTHS], list(range(len(LENGTHS)))
    queries = case.queries(len(LENGTHS), 32)
    together = by_rows(case, queries, case.rows(positions, numbers), run)
    elsewhere = moved.rows(positions, numbers)
    assert_same_bits(by_rows(moved, queries, elsewhere, run, spare=900), together)
    for row in numbers:
        some = slice(row, row + 1)
        alone = by_rows(case, queries[some], case.rows([positions[row]], [row]), run)
        assert_same_bits(alone, together[some])


def test_a_graph_replays_the_same_bits() -> None:
    case = make_case(make_layout(8, 128), LENGTHS, device="cuda")
    queries = case.queries(len(LENGTHS), 32)
    rows = case.rows([length - 1 for length in LENGTHS], list(range(len(LENGTHS))))
    eager = by_rows(case, queries, rows, run)
    scratch = torch.empty(attention.scratch_floats(rows.count, 1025, 32, 128), device="cuda")
    out = poisoned(rows, queries)
    arguments = (queries, case.memory, case.layout, LAYER, rows, 1025, scratch, out)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        attention.attend_rows(*arguments)
    for _ in range(3):
        out.fill_(float("nan"))
        graph.replay()
        assert_same_bits(out, eager)
