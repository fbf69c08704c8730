"""A device's one memory: pages of the cache and adapter images, within the same bytes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.adapters.image_layout import Packing
from inference.arena import CacheShape, cache_shape
from inference.backbone.config import LlamaConfig
from inference.kernels.cache_rows import PageLayout
from inference.kernels.image_tiles import tile_b


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """`bytes` is uint8 [pages · page_bytes]; its address never changes."""

    bytes: Tensor
    shape: CacheShape
    layout: PageLayout
    packing: Packing

    @classmethod
    def allocate(
        cls, config: LlamaConfig, pages: int, dtype: torch.dtype, device: torch.device
    ) -> DeviceMemory:
        """Allocate zeroed pages; keys, values and factors have one dtype."""
        shape = page_shape(config, dtype)
        layout = PageLayout(
            layers=config.num_hidden_layers,
            kv_heads=config.num_key_value_heads,
            positions=shape.positions,
            head_dim=config.head_dim,
            page_bytes=shape.page_bytes,
        )
        content = torch.zeros(pages * shape.page_bytes, dtype=torch.uint8, device=device)
        return cls(content, shape, layout, packing_of(dtype))

    @property
    def pages(self) -> int:
        """Number of pages."""
        return self.bytes.numel() // self.shape.page_bytes


def packing_of(dtype: torch.dtype) -> Packing:
    """Say how adapter images lie in such a memory."""
    return Packing(dtype, tile_b, f"tiled-{str(dtype).removeprefix('torch.')}")


def page_shape(config: LlamaConfig, dtype: torch.dtype) -> CacheShape:
    """Give the pages of a model."""
    return cache_shape(
        layers=config.num_hidden_layers,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        itemsize=dtype.itemsize,
    )
