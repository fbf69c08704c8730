"""Launches of the LoRA kernels: shrink every row to its adapter's ranks, then expand and add.

An adapter's weights are read where its image lies in the device's memory; the kernels find them
by the group entry in the image's table. Per distinct adapter and step a group moves its A and B
once, `2·(rows·inputs + Σ rank·outputs)` bytes; beside that only x, the sums and the outputs, which
stay in the second cache: `4·splits·rows` bytes of sums per row for 64 KiB of A at 4096 inputs
and 8 splits of rank 16.

Blocks with work, for 8B shapes and rank 16: shrink `splits·⌈rows/16⌉` per tile (q, k, v: 24; o: 8;
gate, up: 16; down: 28), each with 16 KiB of A on their way at once; expand one per 256 outputs and
tile (24, 16, 112, 16), each with 8 KiB of B. A multiprocessor of Hopper holds 6 blocks of shrink
(36 KiB of shared memory) and 8 of expand (64 registers per thread) for tiles of 8 rows: 96 and
64 KiB on their way, where 25 KiB keep the memory busy at 3 TB/s and a latency of 1.1 µs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from inference.kernels.launch import Launch, require, run
from inference.kernels.lora_tiles import LoraTiles

SOURCE = "lora"
SPLIT = 512
THREADS = 128
COLUMNS = 256
RANKS = 16
FULL = 132 * 16
"""Blocks beyond which a launch gains nothing from taking fewer ranks per block."""


def splits_of(inputs: int) -> int:
    """Count the parts into which the sum over the inputs is cut: a matter of the shape alone."""
    return -(-inputs // SPLIT)


def new_partials(rows: int, inputs: int, ranks: int, device: torch.device) -> Tensor:
    """Allocate sums float32 [rows, splits, ranks] for adapters of up to `ranks` rows in a group."""
    return torch.empty(rows, splits_of(inputs), ranks, dtype=torch.float32, device=device)


def shrink(
    x: Tensor, memory: Tensor, tiles: LoraTiles, entry: int, sites: int, partials: Tensor
) -> None:
    """Write the sums of x Aᵀ of every row in a tile, one per split and rank.

    Rows in no tile, ranks beyond an adapter's and groups that it leaves alone are not written.

    Args:
        x: bfloat16 [rows, inputs], rows 16-byte aligned, inputs a multiple of 8.
        memory: uint8, holds the images.
        tiles: of this step.
        entry: of the group in the table of every image, `4·layer + group`.
        sites: of the group; shapes the grid, not the result.
        partials: float32 [at least rows, splits, room], room at least the ranks of the group in
            any image of the tiles: what lies beyond is not computed.

    Raises:
        ArgumentsRefused: a tensor has another shape, dtype or alignment.
    """
    run(shrink_launches(x, memory, tiles, entry, sites, partials))


def expand(
    partials: Tensor,
    memory: Tensor,
    tiles: LoraTiles,
    entry: int,
    out: Tensor,
    widths: Sequence[int],
) -> None:
    """Add scale · y Bᵀ to the rows of `out` in tiles, y the sums of the parts in their order.

    The scaled sum is float32, and so is the product; it is added to the bfloat16 output with one
    rounding.

    Args:
        partials: from `shrink` with the same tiles and entry.
        memory: uint8, holds the images; B as `image_tiles.tile_b` orders it.
        tiles: of this step.
        entry: of the group in the table of every image.
        out: bfloat16 [rows, Σ widths], the base model's outputs of the group's sites side by side.
        widths: outputs of each site, 1 to 3.

    Raises:
        ArgumentsRefused: a tensor has another shape, dtype or alignment.
    """
    run(expand_launches(partials, memory, tiles, entry, out, widths))


def shrink_launches(
    x: Tensor, memory: Tensor, tiles: LoraTiles, entry: int, sites: int, partials: Tensor
) -> Iterator[Launch]:
    """Make the launch of `shrink`; none without tiles."""
    inputs = x.shape[1]
    splits = splits_of(inputs)
    require(x.dtype == torch.bfloat16 and x.stride(1) == 1, "x must be bfloat16, rows contiguous")
    require(inputs % 8 == 0 and x.stride(0) % 8 == 0, "inputs and row stride: a multiple of 8")
    require(x.data_ptr() % 16 == 0, "x must be 16-byte aligned")
    _check_sums(partials, splits)
    _check_memory(memory)
    room = partials.shape[2]
    if not len(tiles.at):
        return
    busy = -(-FULL // (len(tiles.at) * splits))
    yield Launch(
        source=SOURCE,
        kernel=f"lora_shrink_{tiles.width}",
        grid=(len(tiles.at), splits, min(max(busy, sites), -(-room // RANKS))),
        block=THREADS,
        arguments=(
            x,
            np.int64(x.stride(0)),
            memory,
            tiles.at,
            tiles.rows,
            np.int32(entry),
            np.int32(inputs),
            partials,
            np.int32(splits),
            np.int32(room),
        ),
    )


def expand_launches(
    partials: Tensor,
    memory: Tensor,
    tiles: LoraTiles,
    entry: int,
    out: Tensor,
    widths: Sequence[int],
) -> Iterator[Launch]:
    """Make the launch of `expand`; none without tiles."""
    require(1 <= len(widths) <= 3, "a group has one to three sites")
    require(out.dtype == torch.bfloat16 and out.stride(1) == 1, "out: bfloat16, rows contiguous")
    require(out.shape[1] == sum(widths), "out must be as wide as its sites together")
    require(
        all(number % 4 == 0 for number in (*widths, out.stride(0))) and out.data_ptr() % 8 == 0,
        "widths and the row stride of out must be multiples of 4, out 8-byte aligned",
    )
    splits = partials.shape[1]
    _check_sums(partials, splits)
    _check_memory(memory)
    if not len(tiles.at):
        return
    padded = (*widths, 0, 0)[:3]
    yield Launch(
        source=SOURCE,
        kernel=f"lora_expand_{tiles.width}",
        grid=(len(tiles.at), sum(-(-width // COLUMNS) for width in widths), 1),
        block=THREADS,
        arguments=(
            partials,
            memory,
            tiles.at,
            tiles.rows,
            np.int32(entry),
            out,
            np.int64(out.stride(0)),
            *map(np.int32, padded),
            np.int32(splits),
            np.int32(partials.shape[2]),
        ),
    )


def _check_sums(partials: Tensor, splits: int) -> None:
    require(
        partials.dtype == torch.float32
        and partials.is_contiguous()
        and partials.shape[1] == splits,
        f"partials must be contiguous float32 [rows, {splits}, ranks]",
    )


def _check_memory(memory: Tensor) -> None:
    require(
        memory.dtype == torch.uint8 and memory.stride() == (1,) and memory.data_ptr() % 16 == 0,
        "memory must be flat uint8, 16-byte aligned",
    )
