"""Cutting the rows of a step into tiles, each of rows that share one adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.kernels.launch import require

NARROW = 8
"""Rows of a tile for decoding: adapters are distinct, and one row of 8 costs no more bytes."""
WIDE = 32
"""Rows of a tile for prompts: weights are read once for 32 rows."""


@dataclass(frozen=True, slots=True, eq=False)
class LoraTiles:
    """Tiles of a step; the two tensors may be rewritten in place between replays of a graph.

    Attributes:
        at: int64 [tiles], where the adapter's image starts in the memory, 16-byte aligned; -1 for
            a tile without work, which costs nothing.
        rows: int32 [tiles, 8 or 32], the rows of each tile from its first column on, then -1.
    """

    at: Tensor
    rows: Tensor

    @property
    def width(self) -> int:
        """Rows of a tile: 8 or 32. A row's result has the same bits in both."""
        return self.rows.shape[1]


def plan_tiles(lora_at: Sequence[int], width: int, tiles: int | None = None) -> LoraTiles:
    """Cut the rows of a step into tiles on the CPU, in order of each adapter's first row.

    Args:
        lora_at: per row where its adapter's image starts, -1 for the base model alone.
        width: NARROW or WIDE.
        tiles: how many to fill up to, so that a graph's grid stays; one per row always suffices.

    Raises:
        ArgumentsRefused: another width, an image that is not aligned, or more tiles are needed.
    """
    require(width in (NARROW, WIDE), f"a tile is {NARROW} or {WIDE} rows wide")
    require(all(at % 16 == 0 for at in lora_at if at >= 0), "images must be 16-byte aligned")
    rows_of: dict[int, list[int]] = {}
    for row, at in enumerate(lora_at):
        if at >= 0:
            rows_of.setdefault(at, []).append(row)
    starts: list[int] = []
    members: list[list[int]] = []
    for at, rows in rows_of.items():
        for first in range(0, len(rows), width):
            some = rows[first : first + width]
            starts.append(at)
            members.append(some + [-1] * (width - len(some)))
    missing = 0 if tiles is None else tiles - len(starts)
    require(missing >= 0, f"{len(starts)} tiles are needed, {tiles} are there")
    return LoraTiles(
        torch.tensor(starts + [-1] * missing, dtype=torch.int64),
        torch.tensor(members + [[-1] * width] * missing, dtype=torch.int32).view(-1, width),
    )
