"""Index tensors of one step, computed once and used by every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.backbone.batch import PagedCache
from inference.backbone.tiles import padded
from inference.executor import Piece

UNIT = 64
"""Positions of a query unit, and the step in which attention's length grows."""

QUERY_SIZES = (8, UNIT)
"""Numbers of query positions per attention unit: a decode step, a chunk of a prompt."""


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Units of equal shape: each is one sequence's rows within one UNIT of positions.

    Attributes:
        rows: int64 [units · size], the row of each query; padding repeats a real row.
        lines: int64 [layers, 2 · heads · units · pages], the cache of the positions 0 … length-1.
        mask: float32 [units, 1, size, length], 0 or -inf.
        kept: int64 [real rows], indices into `rows` that are no padding.
        units, size, length: the shape; the length depends only on the queries' positions.
    """

    rows: Tensor
    lines: Tensor
    mask: Tensor
    kept: Tensor
    units: int
    size: int
    length: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One step.

    Attributes:
        ids, positions: int64 [rows in whole tiles], of which `count` are real.
        targets: int64 [layers, 2, count · heads], where keys and values go.
        fresh: pages whose first position this step writes.
        logit_rows: int64 [wanted rows in whole tiles].
    """

    ids: Tensor
    positions: Tensor
    count: int
    targets: Tensor
    fresh: tuple[int, ...]
    attention: tuple[AttentionGroup, ...]
    logit_rows: Tensor


def make_plan(
    pieces: Sequence[Piece],
    order: Sequence[int],
    cache: PagedCache,
    query_sizes: tuple[int, ...],
) -> Plan:
    """Lay the pieces out as rows in the given order; `logit_rows` are in the pieces' own."""
    ids: list[int] = []
    positions: list[int] = []
    pages: list[int] = []
    wanted: dict[int, range] = {}
    units: dict[tuple[int, int], list[_Unit]] = {}
    for index in order:
        piece = pieces[index]
        first = len(ids)
        span = range(piece.start, piece.start + len(piece.tokens))
        ids.extend(piece.tokens)
        positions.extend(span)
        pages.extend(piece.blocks[p // cache.positions] for p in span)
        wanted[index] = range(first + piece.logits_from, len(ids))
        for unit in _units(piece, first, query_sizes[-1]):
            size = next(size for size in query_sizes if size >= unit.count)
            units.setdefault((size, unit.steps), []).append(unit)
    logit_rows = [row for index in range(len(pieces)) for row in wanted[index]]
    count = len(ids)
    extra = [0] * (padded(count) - count)
    where = torch.tensor(positions + extra)
    return Plan(
        ids=torch.tensor(ids + extra),
        positions=where,
        count=count,
        targets=cache.targets(torch.tensor(pages), where[:count] % cache.positions),
        fresh=tuple(
            page
            for page, position in zip(pages, positions, strict=True)
            if position % cache.positions == 0
        ),
        attention=tuple(_attention_group(size, group, cache) for (size, _), group in units.items()),
        logit_rows=torch.tensor(logit_rows + [0] * (padded(len(logit_rows)) - len(logit_rows))),
    )


@dataclass(frozen=True, slots=True)
class _Unit:
    row: int
    position: int
    count: int
    steps: int
    table: Sequence[int]


def _units(piece: Piece, first: int, most: int) -> list[_Unit]:
    units = []
    done = 0
    while done < len(piece.tokens):
        position = piece.start + done
        steps = position // UNIT + 1
        count = min(steps * UNIT - position, len(piece.tokens) - done, most)
        units.append(_Unit(first + done, position, count, steps, piece.blocks))
        done += count
    return units


def _attention_group(size: int, units: list[_Unit], cache: PagedCache) -> AttentionGroup:
    length = units[0].steps * UNIT
    offsets = torch.arange(size)
    counts = torch.tensor([unit.count for unit in units])[:, None]
    inside = torch.minimum(offsets[None], counts - 1)
    rows = torch.tensor([unit.row for unit in units])[:, None] + inside
    positions = torch.tensor([unit.position for unit in units])[:, None] + inside
    tables = [page for unit in units for page in _table(unit, length // cache.positions)]
    mask = torch.zeros(len(units), size, length)
    mask.masked_fill_(torch.arange(length) > positions[:, :, None], float("-inf"))
    return AttentionGroup(
        rows=rows.flatten(),
        lines=cache.lines(torch.tensor(tables)).flatten(1),
        mask=mask[:, None],
        kept=(offsets[None] < counts).flatten().nonzero().flatten(),
        units=len(units),
        size=size,
        length=length,
    )


def _table(unit: _Unit, pages: int) -> Sequence[int]:
    """List the pages of a unit's positions; what is masked anyway is read from the first one."""
    table = unit.table[:pages]
    return [*table, *[table[0]] * (pages - len(table))]
