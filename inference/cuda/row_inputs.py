"""What a chunk's kernels read: one flat buffer on the device, filled by one copy.

The addresses never change, so graphs that were captured once read each step's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.cuda.chunks import Chunk
from inference.cuda.lane import Lane, Mark
from inference.executor import Piece
from inference.kernels.cache_rows import CacheRows
from inference.kernels.lora_tiles import LoraTiles, plan_tiles

PAD = -1
STAGES = 4
"""Host copies used in turn, so that filling one need not wait for the copy of the last."""

CutTiles = Callable[[Sequence[tuple[int, int]]], Sequence[Sequence[int]]]
"""Cuts runs (first row, rows) of one sequence each into tiles (first row, rows)."""


@dataclass(frozen=True, slots=True)
class InputShape:
    """Room for so many rows of as many sequences.

    Attributes:
        rows: rows, and lines of the page table.
        pages: pages of the longest sequence.
        lora: rows of a tile that shares an adapter.
    """

    rows: int
    pages: int
    lora: int

    @property
    def size_bytes(self) -> int:
        """Bytes of all fields."""
        return self.rows * (8 + 4 * 4 + 2 * 4 + 4 * self.lora + 4 * self.pages)


class _Views:
    """The fields within one flat uint8 buffer; the widest type first, the longest field last."""

    def __init__(self, flat: Tensor, shape: InputShape) -> None:
        rows = shape.rows
        self._flat = flat
        self._at = 0
        self.lora_at = self._take(torch.int64, rows)
        self.lora_rows = self._take(torch.int32, rows * shape.lora).view(rows, shape.lora)
        self.ids = self._take(torch.int32, rows)
        self.positions = self._take(torch.int32, rows)
        self.table_of = self._take(torch.int32, rows)
        self.wanted = self._take(torch.int32, rows)
        self.tiles = self._take(torch.int32, 2 * rows).view(rows, 2)
        self.tables_at = self._at
        self.tables = self._take(torch.int32, rows * shape.pages).view(rows, shape.pages)

    def _take(self, dtype: torch.dtype, count: int) -> Tensor:
        start, self._at = self._at, self._at + count * dtype.itemsize
        return self._flat[start : self._at].view(dtype)


class _Stage:
    """A host copy of the buffer, as arrays; knows which pages its tables hold already."""

    def __init__(self, shape: InputShape, pin: bool) -> None:
        self.flat = torch.zeros(shape.size_bytes, dtype=torch.uint8, pin_memory=pin)
        views = _Views(self.flat, shape)
        self.lora_at, self.lora_rows = views.lora_at, views.lora_rows
        self.ids = views.ids.numpy()
        self.positions = views.positions.numpy()
        self.table_of = views.table_of.numpy()
        self.wanted = views.wanted.numpy()
        self.tiles = views.tiles.numpy()
        self.tables = views.tables.numpy()
        self.known: list[list[int]] = [[] for _ in range(shape.rows)]
        self.mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a chunk has of everything.

    Attributes:
        rows: real rows.
        wanted: rows whose logits are wanted.
        longest: positions that the last row of the longest sequence sees.
        lora: tiles that share an adapter.
        tiles: runs of rows that attend together.
    """

    rows: int
    wanted: int
    longest: int
    lora: int
    tiles: int


class RowInputs:
    """The inputs of up to `shape.rows` rows of up to as many sequences, at fixed addresses.

    Attributes:
        ids: int32 [rows].
        rows: positions and page tables, −1 as position of a pad.
        wanted: int32 [rows], the rows whose logits are wanted, then zeros.
        tiles: int32 [rows, 2], runs of rows that attend together, then zeros.
    """

    def __init__(
        self, shape: InputShape, lane: Lane, device: torch.device, cut: CutTiles | None
    ) -> None:
        self._flat = torch.zeros(shape.size_bytes, dtype=torch.uint8, device=device)
        views = _Views(self._flat, shape)
        self.ids, self.wanted, self.tiles = views.ids, views.wanted, views.tiles
        self.rows = CacheRows(views.positions, views.table_of, views.tables)
        self._lora_at, self._lora_rows = views.lora_at, views.lora_rows
        self._tables_at, self._line = views.tables_at, 4 * shape.pages
        self._lane = lane
        self._cut = cut
        self._stages = [_Stage(shape, device.type == "cuda") for _ in range(STAGES)]
        self._turn = 0
        self.rows.positions.fill_(PAD)
        self._lora_at.fill_(PAD)

    def first(self, count: int) -> CacheRows:
        """View the first rows."""
        return CacheRows(self.rows.positions[:count], self.rows.table_of[:count], self.rows.tables)

    def lora(self, count: int) -> LoraTiles:
        """View the first tiles of rows that share an adapter."""
        return LoraTiles(self._lora_at[:count], self._lora_rows[:count])

    def load(self, chunk: Chunk, pieces: Sequence[Piece]) -> Loaded:
        """Fill the buffers for a chunk and enqueue their copy."""
        stage = self._next_stage()
        ids: list[int] = []
        positions: list[int] = []
        table_of: list[int] = []
        lora_at: list[int] = []
        wanted: list[int] = []
        runs: list[tuple[int, int]] = []
        longest = 0
        for line, span in enumerate(chunk.spans):
            piece = pieces[span.piece]
            first, start = len(ids), piece.start + span.first
            ids.extend(piece.tokens[span.first : span.first + span.count])
            positions.extend(range(start, start + span.count))
            table_of.extend([line] * span.count)
            at = PAD if piece.adapter is None else piece.adapter.extent.start
            lora_at.extend([at] * span.count)
            wanted.extend(range(first + max(piece.logits_from - span.first, 0), len(ids)))
            runs.append((first, span.count))
            longest = max(longest, start + span.count)
            _table(stage, line, piece.blocks)
        tiles = [] if self._cut is None else self._cut(runs)
        adapted = _adapters(stage, lora_at)
        _fill(stage.ids, ids, 0)
        _fill(stage.positions, positions, PAD)
        _fill(stage.table_of, table_of, 0)
        _fill(stage.wanted, wanted, 0)
        _fill(stage.tiles, tiles, 0)
        used = self._tables_at + len(chunk.spans) * self._line
        self._flat[:used].copy_(stage.flat[:used], non_blocking=True)
        stage.mark = self._lane.behind_steps()
        return Loaded(len(ids), len(wanted), longest, adapted, len(tiles))

    def _next_stage(self) -> _Stage:
        stage = self._stages[self._turn]
        self._turn = (self._turn + 1) % STAGES
        if stage.mark is not None:
            stage.mark.wait()
        return stage


def _table(stage: _Stage, line: int, blocks: Sequence[int]) -> None:
    known = stage.known[line]
    pages = list(blocks)
    if known == pages:
        return
    same = len(known) if known == pages[: len(known)] else 0
    stage.tables[line, same : len(pages)] = pages[same:]
    stage.known[line] = pages


def _adapters(stage: _Stage, lora_at: list[int]) -> int:
    """Cut rows into tiles that share an adapter; returns how many there are."""
    planned = plan_tiles(lora_at, stage.lora_rows.shape[1])
    count = len(planned.at)
    stage.lora_at[:count] = planned.at
    stage.lora_at[count:] = PAD
    stage.lora_rows[:count] = planned.rows
    return count


def _fill(
    field: NDArray[np.int32], values: Sequence[int] | Sequence[Sequence[int]], pad: int
) -> None:
    if values:
        field[: len(values)] = values
    field[len(values) :] = pad
