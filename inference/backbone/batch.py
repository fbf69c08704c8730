"""Keys and values of all layers in the pages of a memory that is shared with adapters."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.arena import CacheShape, cache_shape
from inference.backbone.config import LlamaConfig


def shape_of_cache(config: LlamaConfig) -> CacheShape:
    """Choose the pages of a float32 cache."""
    return cache_shape(
        layers=config.num_hidden_layers,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        itemsize=4,
    )


class PagedCache:
    """Views of uint8 [pages · page_bytes]; a page is float32 [layers, 2, heads, positions, width].

    A *line* is what one head keeps of one page: float32 [positions · width], contiguous.
    """

    def __init__(self, config: LlamaConfig, memory: Tensor) -> None:
        shape = shape_of_cache(config)
        self.positions = shape.positions
        self._layers, self._heads = config.num_hidden_layers, config.num_key_value_heads
        self._width = config.head_dim
        line = shape.positions * config.head_dim
        if shape.page_bytes != 4 * 2 * self._layers * self._heads * line:
            raise ValueError("head_dim must be even: a page then needs no padding")
        floats = memory.view(torch.float32)
        self._pages = floats.view(-1, shape.page_bytes // 4)
        self._lines = floats.view(-1, line)
        self._rows = floats.view(-1, config.head_dim)

    def lines(self, pages: Tensor) -> Tensor:
        """Number the lines of int64 [pages]: int64 [layers, 2 (k, v), heads, pages]."""
        each = torch.arange(2 * self._layers * self._heads)
        numbers = pages * (2 * self._layers * self._heads) + each[:, None]
        return numbers.view(self._layers, 2, self._heads, -1)

    def targets(self, pages: Tensor, offsets: Tensor) -> Tensor:
        """Say where positions go, int64 [tokens] each: int64 [layers, 2, tokens · heads]."""
        rows = self.lines(pages).transpose(2, 3) * self.positions + offsets[:, None]
        return rows.reshape(self._layers, 2, -1)

    def clear(self, page: int) -> None:
        """Zero a page before its first position is written.

        A masked position still multiplies a probability of zero, and the page may have held
        anything, NaN included.
        """
        self._pages[page].zero_()

    def write(self, targets: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store float32 [tokens, heads, width] at one layer's targets int64 [2, tokens · heads]."""
        self._rows.index_copy_(0, targets[0], keys.reshape(-1, self._width))
        self._rows.index_copy_(0, targets[1], values.reshape(-1, self._width))

    def read(self, lines: Tensor) -> Tensor:
        """Gather lines int64 [n]: float32 [n, positions · width]."""
        return self._lines.index_select(0, lines)
