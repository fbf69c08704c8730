"""Where the rows of a step find their keys and values.

A page holds the keys and values of all layers for `positions` consecutive positions of a sequence,
as `[layers, 2 (keys, values), kv_heads, positions, head_dim]`, at `page · page_bytes` of one flat
memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class PageLayout:
    """The shape of a page; `page_bytes` may be more than the elements need."""

    layers: int
    kv_heads: int
    positions: int
    head_dim: int
    page_bytes: int

    @property
    def plane(self) -> int:
        """Elements of the keys (or values) of one layer in one page."""
        return self.kv_heads * self.positions * self.head_dim


@dataclass(frozen=True, slots=True)
class CacheRows:
    """One query position per row, all tensors int32 on the device.

    Attributes:
        positions: [rows]; a row sees the positions 0 … its own. −1 marks a row that only pads.
        table_of: [rows], the line of `tables` that lists the pages of the row's sequence.
        tables: [sequences, most pages]; only entries up to a row's position are read.
    """

    positions: Tensor
    table_of: Tensor
    tables: Tensor

    @property
    def count(self) -> int:
        """Rows, pads included."""
        return self.positions.shape[0]
