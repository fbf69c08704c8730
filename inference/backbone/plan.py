"""Index tensors of one step, computed once and used by every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.backbone.batch import Piece
from inference.backbone.packed import PackedAdapter
from inference.backbone.tiles import padded
from inference.blocks import BLOCK

QUERY_SIZES = (8, BLOCK)
"""Numbers of query positions per attention unit: a decode step, a chunk of a prompt."""


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Units of equal shape: each is one sequence's rows within one cache block of positions.

    Attributes:
        rows: int64 [units · size], the row of each query; padding repeats a real row.
        slots: int64 [units · length], cache slots of the positions 0 … length-1.
        mask: float32 [units, 1, size, length], 0 or -inf.
        kept: int64 [real rows], indices into `rows` that are no padding.
        units, size, length: the shape; the length depends only on the queries' positions.
    """

    rows: Tensor
    slots: Tensor
    mask: Tensor
    kept: Tensor
    units: int
    size: int
    length: int


@dataclass(frozen=True, slots=True)
class LoraGroup:
    """One adapter and its rows: int64 [padded to tiles], of which the first `count` are real."""

    adapter: PackedAdapter
    rows: Tensor
    count: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One step: ids and positions int64 [rows in whole tiles], of which `count` are real."""

    ids: Tensor
    positions: Tensor
    count: int
    slots: Tensor
    attention: tuple[AttentionGroup, ...]
    lora: tuple[LoraGroup, ...]
    logit_rows: Tensor


def make_plan(pieces: Sequence[Piece], query_sizes: tuple[int, ...] = QUERY_SIZES) -> Plan:
    """Lay the pieces out as rows, in their order."""
    ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    wanted: list[int] = []
    adapters: dict[int, tuple[PackedAdapter, list[int]]] = {}
    units: dict[tuple[int, int], list[_Unit]] = {}
    for piece in pieces:
        first = len(ids)
        span = range(piece.start, piece.start + len(piece.tokens))
        ids.extend(piece.tokens)
        positions.extend(span)
        slots.extend(piece.blocks[p // BLOCK] * BLOCK + p % BLOCK for p in span)
        wanted.extend(range(first + piece.logits_from, len(ids)))
        if piece.adapter is not None:
            _, rows = adapters.setdefault(id(piece.adapter), (piece.adapter, []))
            rows.extend(range(first, len(ids)))
        for unit in _units(piece, first, query_sizes[-1]):
            size = next(size for size in query_sizes if size >= unit.count)
            units.setdefault((size, unit.blocks), []).append(unit)
    count = len(ids)
    extra = [0] * (padded(count) - count)
    return Plan(
        ids=torch.tensor(ids + extra),
        positions=torch.tensor(positions + extra),
        count=count,
        slots=torch.tensor(slots),
        attention=tuple(_attention_group(size, group) for (size, _), group in units.items()),
        lora=tuple(_lora_group(adapter, rows) for adapter, rows in adapters.values()),
        logit_rows=torch.tensor(wanted + [0] * (padded(len(wanted)) - len(wanted))),
    )


@dataclass(frozen=True, slots=True)
class _Unit:
    row: int
    position: int
    count: int
    blocks: int
    table: Sequence[int]


def _units(piece: Piece, first: int, most: int) -> list[_Unit]:
    units = []
    done = 0
    while done < len(piece.tokens):
        position = piece.start + done
        blocks = position // BLOCK + 1
        count = min(blocks * BLOCK - position, len(piece.tokens) - done, most)
        units.append(_Unit(first + done, position, count, blocks, piece.blocks))
        done += count
    return units


def _attention_group(size: int, units: list[_Unit]) -> AttentionGroup:
    length = units[0].blocks * BLOCK
    offsets = torch.arange(size)
    counts = torch.tensor([unit.count for unit in units])[:, None]
    inside = torch.minimum(offsets[None], counts - 1)
    rows = torch.tensor([unit.row for unit in units])[:, None] + inside
    positions = torch.tensor([unit.position for unit in units])[:, None] + inside
    tables = torch.tensor([list(unit.table[: unit.blocks]) for unit in units])
    slots = tables[:, :, None] * BLOCK + torch.arange(BLOCK)
    mask = torch.zeros(len(units), size, length)
    mask.masked_fill_(torch.arange(length) > positions[:, :, None], float("-inf"))
    return AttentionGroup(
        rows=rows.flatten(),
        slots=slots.flatten(),
        mask=mask[:, None],
        kept=(offsets[None] < counts).flatten().nonzero().flatten(),
        units=len(units),
        size=size,
        length=length,
    )


def _lora_group(adapter: PackedAdapter, rows: list[int]) -> LoraGroup:
    extra = [rows[0]] * (padded(len(rows)) - len(rows))
    return LoraGroup(adapter, torch.tensor(rows + extra), len(rows))
