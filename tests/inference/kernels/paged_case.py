"""A cache full of random keys and values, its free pages full of NaN."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.kernels.cache_pages import page_planes
from inference.kernels.cache_rows import CacheRows, PageLayout


@dataclass(frozen=True)
class PagedCase:
    layout: PageLayout
    memory: Tensor
    tables: Tensor

    def rows(self, positions: Sequence[int], table_of: Sequence[int]) -> CacheRows:
        device = self.memory.device
        return CacheRows(
            positions=torch.tensor(positions, dtype=torch.int32, device=device),
            table_of=torch.tensor(table_of, dtype=torch.int32, device=device),
            tables=self.tables,
        )

    def queries(self, rows: int, heads: int, seed: int = 1) -> Tensor:
        """Random queries that lie inside wider rows, as in q|k|v."""
        width = (heads + 2 * self.layout.kv_heads) * self.layout.head_dim
        drawn = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
        wide = (drawn * 2).bfloat16().to(self.memory.device)
        heads_of = wide[:, : heads * self.layout.head_dim]
        return heads_of.view(rows, heads, self.layout.head_dim)


def make_layout(kv_heads: int, head_dim: int, positions: int = 16, layers: int = 2) -> PageLayout:
    elements = layers * 2 * kv_heads * positions * head_dim
    return PageLayout(layers, kv_heads, positions, head_dim, -(-elements * 2 // 256) * 256 + 256)


def make_case(
    layout: PageLayout,
    lengths: Sequence[int],
    *,
    seed: int = 0,
    spare: int = 3,
    wider: int = 0,
    device: str = "cpu",
) -> PagedCase:
    """Fill the first `lengths` positions of each sequence; pages lie in a shuffled order.

    What is drawn depends on the seed and the sequence alone; `spare` pages belong to nobody, and
    the tables have `wider` columns too many, of pages that do not exist.
    """
    dice = random.Random(f"{seed} {spare}")
    counts = [-(-length // layout.positions) for length in lengths]
    numbers = list(range(sum(counts) + spare))
    dice.shuffle(numbers)
    memory = torch.full((len(numbers) * layout.page_bytes,), 0xFF, dtype=torch.uint8)
    tables = torch.full((len(lengths), max(counts, default=0) + wider), 1 << 30, dtype=torch.int32)
    for sequence, (length, count) in enumerate(zip(lengths, counts, strict=True)):
        own = [numbers.pop() for _ in range(count)]
        tables[sequence, :count] = torch.tensor(own, dtype=torch.int32)
        generator = torch.Generator().manual_seed(1000 * seed + sequence)
        for layer in range(layout.layers):
            planes = page_planes(memory, layout, layer, torch.bfloat16)
            for position in range(length):
                drawn = torch.randn(2, layout.kv_heads, layout.head_dim, generator=generator)
                at = own[position // layout.positions], position % layout.positions
                planes[at[0], :, :, at[1]] = drawn.bfloat16()
    return PagedCase(layout, memory.to(device), tables.to(device))
