"""The LoRA kernels in torch, on any device: the same arguments, float32 arithmetic, the truth."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.kernels.image_tiles import tiled_size, untile_b
from inference.kernels.lora import SPLIT
from inference.kernels.lora_tiles import LoraTiles

ENTRY = struct.Struct("<8I3f20x")
ABSENT = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class _Group:
    a: int
    b: tuple[int, int, int]
    ranks: tuple[int, int, int]
    scales: tuple[float, float, float]


def shrink(
    x: Tensor, memory: Tensor, tiles: LoraTiles, entry: int, sites: int, partials: Tensor
) -> None:
    """See `lora.shrink`."""
    inputs = x.shape[1]
    for at, rows in _tiles(tiles):
        group = _read_group(memory, at, entry)
        if group is None:
            continue
        ranks = sum(group.ranks)
        a = _values(memory, at + group.a, ranks * inputs, x.dtype).view(ranks, inputs)
        for split, first in enumerate(range(0, inputs, SPLIT)):
            some = slice(first, first + SPLIT)
            partials[rows, split, :ranks] = x[rows, some].float() @ a[:, some].float().t()


def expand(
    partials: Tensor,
    memory: Tensor,
    tiles: LoraTiles,
    entry: int,
    out: Tensor,
    widths: Sequence[int],
) -> None:
    """See `lora.expand`."""
    for at, rows in _tiles(tiles):
        group = _read_group(memory, at, entry)
        if group is None:
            continue
        column = row = 0
        for site, width in enumerate(widths):
            rank = group.ranks[site]
            if rank:
                size = tiled_size(width, rank)
                b = untile_b(_values(memory, at + group.b[site], size, out.dtype), width, rank)
                sums = partials[rows, :, row : row + rank].sum(1) * group.scales[site]
                place = slice(column, column + width)
                out[rows, place] = (out[rows, place].float() + sums @ b.float().t()).to(out.dtype)
            row += rank
            column += width


def _tiles(tiles: LoraTiles) -> Iterator[tuple[int, Tensor]]:
    for at, rows in zip(tiles.at.tolist(), tiles.rows, strict=True):
        if at >= 0:
            yield at, rows[rows >= 0].long()


def _read_group(memory: Tensor, at: int, entry: int) -> _Group | None:
    start = at + entry * ENTRY.size
    fields = ENTRY.unpack(bytes(memory[start : start + ENTRY.size].tolist()))
    if fields[0] == ABSENT:
        return None
    b0, b1, b2 = (16 * offset for offset in fields[1:4])
    return _Group(16 * fields[0], (b0, b1, b2), fields[5:8], fields[8:11])


def _values(memory: Tensor, start: int, count: int, dtype: torch.dtype) -> Tensor:
    return memory[start : start + dtype.itemsize * count].view(dtype)
