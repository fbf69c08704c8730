"""The attention kernels, run on the CPU, against their twin and against themselves."""

from __future__ import annotations

import pytest
import torch

from inference.kernels import attention
from inference.kernels.launch import ArgumentsRefused
from tests.inference.kernels.attention_cases import LAYER, assert_near, by_rows, by_tiles, by_twin
from tests.inference.kernels.on_host import HostRunner, assert_same_bits, needs_compiler
from tests.inference.kernels.paged_case import make_case, make_layout

pytestmark = needs_compiler
RUN = HostRunner()


@pytest.mark.parametrize("head_dim", attention.HEAD_DIMS)
def test_rows_agree_with_the_twin_for_every_head_dim(head_dim: int) -> None:
    case = make_case(make_layout(1, head_dim), [1, 150])
    queries = case.queries(3, 2)
    rows = case.rows([149, -1, 0], [1, 0, 0])
    ours = by_rows(case, queries, rows, RUN)
    assert_near(ours, by_twin(case, queries, rows))
    assert not ours[1].any()
    assert_same_bits(by_tiles(case, queries, rows, [(0, 1), (1, 1), (2, 1)], RUN), ours)


@pytest.mark.parametrize("group", [1, 2, 3, 4, 7, 8, 9, 16])
def test_groups_of_any_size_agree_with_the_twin(group: int) -> None:
    case = make_case(make_layout(2, 32), [40])
    queries = case.queries(2, 2 * group)
    rows = case.rows([39, 12], [0, 0])
    ours = by_rows(case, queries, rows, RUN)
    assert_near(ours, by_twin(case, queries, rows))
    assert_same_bits(by_tiles(case, queries, rows, [(0, 2)], RUN), ours)


@pytest.mark.parametrize("positions", [16, 32, 64])
def test_lengths_around_pages_and_blocks_agree_with_the_twin(positions: int) -> None:
    lengths = [1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 256, 257, 400]
    case = make_case(make_layout(1, 16, positions), lengths, wider=2)
    queries = case.queries(len(lengths), 2)
    rows = case.rows([length - 1 for length in lengths], list(range(len(lengths))))
    assert_near(by_rows(case, queries, rows, RUN), by_twin(case, queries, rows))


def test_a_row_does_not_depend_on_the_batch_the_pages_or_the_grid() -> None:
    lengths = [300, 17, 130, 1]
    layout = make_layout(2, 32)
    case = make_case(layout, lengths)
    queries = case.queries(4, 6)
    rows = case.rows([length - 1 for length in lengths], [0, 1, 2, 3])
    together = by_rows(case, queries, rows, RUN)
    moved = make_case(layout, lengths, spare=11, wider=3)
    assert not torch.equal(moved.memory[: len(case.memory)], case.memory)
    elsewhere = moved.rows([length - 1 for length in lengths], [0, 1, 2, 3])
    assert_same_bits(by_rows(moved, queries, elsewhere, RUN, spare=300), together)
    one_at_a_time = attention.scratch_floats(1, 300, 6, 32)
    assert_same_bits(by_rows(case, queries, rows, RUN, floats=one_at_a_time), together)
    for row in range(4):
        alone = by_rows(case, queries[row : row + 1], case.rows([lengths[row] - 1], [row]), RUN)
        assert_same_bits(alone, together[row : row + 1])


@pytest.mark.parametrize(("heads", "head_dim"), [(8, 32), (3, 64), (2, 192)])
def test_a_prompt_in_tiles_has_the_bits_of_its_rows_alone(heads: int, head_dim: int) -> None:
    case = make_case(make_layout(1, head_dim), [290, 40])
    positions = [*range(120, 140), *range(262, 290), -1, *range(24)]
    rows = case.rows(positions, [0] * 49 + [1] * 24)
    queries = case.queries(len(positions), heads)
    tiles = by_tiles(case, queries, rows, [(0, 49), (49, 24)], RUN)
    assert_near(tiles, by_twin(case, queries, rows))
    some = [0, 7, 8, 9, 19, 20, 47, 49, 72]
    chosen = case.rows([positions[row] for row in some], [0 if row < 49 else 1 for row in some])
    assert_same_bits(by_rows(case, queries[some], chosen, RUN), tiles[some])


def test_a_prompt_does_not_depend_on_how_it_is_cut() -> None:
    case = make_case(make_layout(2, 16), [200])
    rows = case.rows(list(range(150, 200)), [0] * 50)
    queries = case.queries(50, 4)
    whole = by_tiles(case, queries, rows, [(0, 50)], RUN)
    assert_same_bits(by_tiles(case, queries, rows, [(0, 13), (13, 1), (14, 36)], RUN), whole)


def test_rows_in_no_tile_are_left_alone() -> None:
    case = make_case(make_layout(1, 16), [9])
    out = by_tiles(case, case.queries(3, 1), case.rows([8, 8, 8], [0] * 3), [(1, 1)], RUN)
    assert out[[0, 2]].isnan().all()
    assert not out[1].isnan().any()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_threads_and_blocks_cannot_show(seed: int) -> None:
    case = make_case(make_layout(1, 32), [140, 30])
    queries = case.queries(4, 4)
    rows = case.rows([139, 29, -1, 70], [0, 1, 0, 0])
    assert_same_bits(
        by_rows(case, queries, rows, HostRunner(seed)), by_rows(case, queries, rows, RUN)
    )
    runs = [(0, 1), (1, 1), (2, 2)]
    in_order = by_tiles(case, queries, rows, runs, RUN)
    assert_same_bits(by_tiles(case, queries, rows, runs, HostRunner(seed)), in_order)


def test_no_rows_take_no_launch() -> None:
    case = make_case(make_layout(1, 16), [1])
    out = torch.empty(0, 16, dtype=torch.bfloat16)
    rows = case.rows([], [])
    none = torch.empty(0, 2, dtype=torch.int32)
    arguments = (case.queries(0, 1), case.memory, case.layout, LAYER, rows)
    assert not list(attention.row_launches(*arguments, 1, torch.empty(64), out))
    assert not list(attention.tile_launches(*arguments, none, out))


def test_shapes_without_a_kernel_are_refused() -> None:
    case = make_case(make_layout(1, 48), [1])
    rows, out = case.rows([0], [0]), torch.empty(1, 48, dtype=torch.bfloat16)
    arguments = (case.queries(1, 1), case.memory, case.layout, LAYER, rows)
    with pytest.raises(ArgumentsRefused, match="head_dim"):
        list(attention.row_launches(*arguments, 1, torch.empty(64), out))
