"""The LoRA kernels' CUDA source, run on the CPU, against its torch twin."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch

from inference.kernels.image_tiles import tile_b, tiled_size, untile_b
from inference.kernels.launch import ArgumentsRefused, Launch
from inference.kernels.lora_tiles import plan_tiles
from tests.inference.kernels.lora_cases import (
    CASES,
    MIXED_RANKS,
    ODD,
    QKV,
    TINY,
    Adapter,
    assert_agree,
    by_kernels,
    by_twin,
    step_of,
    tiles_for,
    world_of,
)
from tests.inference.kernels.on_host import HostRunner, assert_same_bits, needs_compiler

on_host = HostRunner()


@needs_compiler
@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize("case", CASES)
def test_the_kernels_agree_with_their_twin(case: str, width: int) -> None:
    shape, adapters, rows = CASES[case]
    world = world_of(shape, adapters)
    step = step_of(world, rows)
    assert_agree(by_kernels(world, step, on_host, width), by_twin(world, step))


@needs_compiler
def test_a_step_without_rows_launches_nothing() -> None:
    world = world_of(TINY, [Adapter(((8, 8, 8),))])
    _, out = by_kernels(world, step_of(world, []), on_host)
    assert out.shape == (0, sum(TINY.widths))


@needs_compiler
def test_rows_without_an_adapter_or_a_site_keep_the_base_output() -> None:
    world = world_of(TINY, [Adapter(((8, 0, 8),)), Adapter((None,))])
    step = step_of(world, [-1, 0, 1])
    _, out = by_kernels(world, step, on_host)
    assert_same_bits(out[[0, 2]], step.base[[0, 2]])
    assert_same_bits(out[1, 64:96], step.base[1, 64:96])
    assert (out[1, :64] != step.base[1, :64]).any()


@needs_compiler
def test_each_group_of_an_image_is_read_from_its_own_entry() -> None:
    adapter = Adapter(((8, 8, 8), None, (16, 1, 4)))
    world = world_of(TINY, [Adapter((None, None, None)), adapter])
    step = step_of(world, [1, 1])
    results = [by_kernels(world, step, on_host, entry=entry) for entry in range(3)]
    for entry, result in enumerate(results):
        assert_agree(result, by_twin(world, step, entry))
    assert_same_bits(results[1][1], step.base)
    assert not torch.equal(results[0][1], results[2][1])


@needs_compiler
@pytest.mark.parametrize("width", [8, 32])
def test_a_row_has_the_same_bits_alone_and_in_any_company(width: int) -> None:
    world = world_of(QKV, MIXED_RANKS)
    rows = [0, 1, 0, 4, -1, 2, 0, 3, 5, 4, 0, 0, 0, 0, 0, 0]
    step = step_of(world, rows)
    sums, out = by_kernels(world, step, on_host, width)
    alone = [by_kernels(world, step.only([row]), on_host) for row in range(0, len(rows), 3)]
    for place, row in enumerate(range(0, len(rows), 3)):
        assert_same_bits(alone[place][1][0], out[row])
        assert_same_bits(alone[place][0][0], sums[row])
    order = list(range(len(rows)))
    random.Random(7).shuffle(order)
    shuffled_sums, shuffled = by_kernels(world, step.only(order), on_host, 8)
    assert_same_bits(shuffled, out[order])
    assert_same_bits(shuffled_sums, sums[order])


@needs_compiler
def test_bits_do_not_depend_on_the_grid_or_on_the_room_for_ranks() -> None:
    world = world_of(QKV, MIXED_RANKS)
    step = step_of(world, [0, 2, 4, -1])
    _, out = by_kernels(world, step, on_host)
    _, padded = by_kernels(world, step, on_host, tiles=16)
    _, roomy = by_kernels(replace(world, room=300), step, on_host)
    assert_same_bits(padded, out)
    assert_same_bits(roomy, out)


@needs_compiler
@pytest.mark.parametrize("width", [8, 32])
def test_bits_do_not_depend_on_the_order_in_which_threads_run(width: int) -> None:
    world = world_of(ODD, [Adapter(((70, 8),)), Adapter(((0, 40),))])
    step = step_of(world, [0, 1, -1, 0, 0, 0, 0, 0, 0, 0, 0])
    sums, out = by_kernels(world, step, on_host, width)
    for seed in (1, 2, 3, 4):
        other_sums, other = by_kernels(world, step, HostRunner(seed), width)
        assert_same_bits(other, out)
        assert_same_bits(other_sums, sums)


@needs_compiler
@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bits_do_not_depend_on_how_many_ranks_a_block_takes(width: int, seed: int) -> None:
    world = world_of(QKV, [Adapter(((40, 16, 30),)), Adapter(((1, 0, 0),))])
    step = step_of(world, [0, 1, 0, 0, -1, 0])
    sums, out = by_kernels(world, step, on_host, width)

    def in_few_blocks(launches: Iterable[Launch]) -> None:
        for launch in launches:
            x, y, z = launch.grid
            HostRunner(seed)([replace(launch, grid=(x, y, min(z, 2)))])

    fewer_sums, fewer = by_kernels(world, step, in_few_blocks, width)
    assert_same_bits(fewer, out)
    assert_same_bits(fewer_sums, sums)


@needs_compiler
def test_an_adapter_with_more_ranks_than_room_stays_within_the_memory() -> None:
    world = replace(world_of(TINY, [Adapter(((16, 16, 16),))]), room=20)
    _, out = by_kernels(world, step_of(world, [0]), on_host)
    assert out.isfinite().all()


@pytest.mark.parametrize(("outputs", "rank"), [(32, 8), (37, 12), (1, 1), (64, 16), (300, 40)])
def test_tiling_b_keeps_every_element(outputs: int, rank: int) -> None:
    b = torch.randn(outputs, rank).bfloat16()
    tiled = tile_b(b)
    assert tiled.shape == (tiled_size(outputs, rank),)
    assert_same_bits(untile_b(tiled, outputs, rank), b)
    if outputs % 32 == 0 and rank % 8 == 0:
        assert tiled.numel() == b.numel()


def test_tiles_hold_every_adapted_row_once_and_never_two_adapters() -> None:
    at = [32, -1, 16, 32, 32, 16, -1] + [48] * 20
    tiles = plan_tiles(at, 8)
    assert tiles.at.tolist() == [32, 16, 48, 48, 48]
    rows = [[row for row in line if row >= 0] for line in tiles.rows.tolist()]
    held = sorted(row for line in rows for row in line)
    assert held == [row for row, start in enumerate(at) if start >= 0]
    assert [{at[row] for row in line} for line in rows] == [{at} for at in tiles.at.tolist()]


def test_what_the_kernels_cannot_read_is_refused() -> None:
    world = world_of(TINY, [Adapter(((8, 8, 8),))])
    step = step_of(world, [0])
    for bad in (
        replace(step, x=step.x.float()),
        replace(step, x=step.x[:, :-4]),
        replace(step, x=torch.cat([step.x, step.x], 1)[:, 4:-60]),
        replace(step, base=step.base[:, 4:]),
        replace(step, base=torch.cat([step.base, step.base[:, :3]], 1)[:, :128]),
        replace(step, base=step.base.float()),
    ):
        with pytest.raises(ArgumentsRefused):
            by_kernels(world, bad, list)
    with pytest.raises(ArgumentsRefused, match="aligned"):
        plan_tiles([8], 8)
    with pytest.raises(ArgumentsRefused, match="2 tiles are needed, 1 are there"):
        tiles_for(world_of(TINY, MIXED_RANKS), step_of(world, [0, 1]), 8, 1)
