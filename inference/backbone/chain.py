"""Which numbers of rows give a group's low-rank change the same bits on this machine.

The truth is one adapter with a tile of 16 rows. Longer runs of rows, and stacks of adapters with
units of few rows each, are used for a shape only where they agree with it, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from inference.backbone.factors import GroupFactors, GroupShape, SiteFactor
from inference.backbone.tiles import SIZES, TILE

UNITS = (1, 2, 4, 8, TILE)
"""Rows of one adapter in a stack; one row is computed by `GroupFactors.single`."""

STACKS = (2, 3, 16)
"""Numbers of adapters with which stacks are tried."""


@dataclass(frozen=True, slots=True)
class ChainSizes:
    """Numbers of rows that agree: `runs` for one adapter, largest first; `units` in a stack."""

    runs: tuple[int, ...]
    units: tuple[int, ...]


def chain_sizes(shape: GroupShape) -> ChainSizes:
    """Return the sizes of a shape, tried out once for each number of threads."""
    return _tried(shape, torch.get_num_threads())


@lru_cache(maxsize=4096)
def _tried(shape: GroupShape, threads: int) -> ChainSizes:
    return ChainSizes(_runs(shape), _units(shape))


def _random(shape: GroupShape, adapters: int) -> tuple[GroupFactors, torch.Generator]:
    generator = torch.Generator().manual_seed(shape.inputs)
    total = sum(shape.ranks)
    sites = []
    rank = column = 0
    for size, outputs in zip(shape.ranks, shape.outputs, strict=True):
        if size:
            expand = torch.randn(adapters, size, outputs, generator=generator)
            ranks, columns = slice(rank, rank + size), slice(column, column + outputs)
            sites.append(SiteFactor(ranks, columns, expand))
        rank += size
        column += outputs
    a = torch.randn(adapters, total, shape.inputs, generator=generator)
    return GroupFactors(a, torch.full((adapters, total, 1), 0.75), tuple(sites)), generator


def _one(stack: GroupFactors, number: int) -> GroupFactors:
    """Take one adapter, with B laid out as in an image."""
    sites = tuple(
        SiteFactor(s.ranks, s.outputs, s.expand[number].t().contiguous().t()) for s in stack.sites
    )
    return GroupFactors(stack.shrink[number], stack.scale[number], sites)


def _tiles(group: GroupFactors, x: Tensor, size: int) -> Tensor:
    return torch.cat([torch.cat(group.delta(part), dim=1) for part in x.split(size)])  # type: ignore[no-untyped-call]


def _runs(shape: GroupShape) -> tuple[int, ...]:
    stack, generator = _random(shape, 1)
    group = _one(stack, 0)
    x = torch.randn(SIZES[0], shape.inputs, generator=generator)
    truth = _tiles(group, x, TILE)
    return tuple(
        size for size in SIZES if size == TILE or torch.equal(truth, _tiles(group, x, size))
    )


def _units(shape: GroupShape) -> tuple[int, ...]:
    agreeing = set(UNITS)
    for adapters in STACKS:
        stack, generator = _random(shape, adapters)
        x = torch.randn(adapters, TILE, shape.inputs, generator=generator)
        truth = torch.stack([_tiles(_one(stack, n), x[n], TILE) for n in range(adapters)])
        for unit in UNITS:
            parts = [_stacked(stack, part) for part in _split(x, unit)]
            if not torch.equal(truth, torch.cat(parts, dim=1)):
                agreeing.discard(unit)
    return tuple(unit for unit in UNITS if unit in agreeing)


def _stacked(stack: GroupFactors, x: Tensor) -> Tensor:
    if x.shape[1] == 1:
        return torch.cat(stack.single(x[:, 0]), dim=1)[:, None]
    return torch.cat(stack.delta(x), dim=2)


def _split(x: Tensor, unit: int) -> list[Tensor]:
    return [x[:, at : at + unit].contiguous() for at in range(0, TILE, unit)]
