"""The pages of a memory as tensors, on any device: what the twins read and write."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.kernels.cache_rows import PageLayout


def page_planes(memory: Tensor, layout: PageLayout, layer: int, dtype: torch.dtype) -> Tensor:
    """View the keys and values of one layer in all pages of uint8 [pages · page_bytes].

    Returns:
        [pages, 2 (keys, values), kv_heads, positions, head_dim], sharing the memory.
    """
    elements = memory.view(dtype).view(-1, layout.page_bytes // dtype.itemsize)
    shape = (layout.layers, 2, layout.kv_heads, layout.positions, layout.head_dim)
    used = elements[:, : layout.layers * 2 * layout.plane]
    return used.view(len(elements), *shape)[:, layer]


def gather_pages(
    memory: Tensor, layout: PageLayout, layer: int, table: Tensor, length: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Copy the first `length` keys and values of a sequence: [kv_heads, length, head_dim] each."""
    pages = table[: -(-length // layout.positions)].long()
    planes = page_planes(memory, layout, layer, dtype)[pages]
    both = planes.permute(1, 2, 0, 3, 4).flatten(2, 3)[:, :, :length]
    return both[0], both[1]
