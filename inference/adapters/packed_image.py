"""An adapter as it lies on a device: one contiguous image with exact ranks.

First a table of 64-byte group entries, layer-major, the groups of a layer in the order of
`GROUPS`; then the factors in the same order, each aligned to 256 bytes: A of a group
[rows, inputs] row-major with the ranks of its sites stacked, then B of each site, plain
[outputs, rank] or as `Packing.tile` lays it out. Scales are float32 in the table and never part
of a factor, so they do not change a factor's rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.image_layout import ImageLayout, Packing, plan_layout, read_layout
from inference.backbone.config import LlamaConfig
from inference.backbone.packed import GROUPS
from inference.backbone.sites import LoraSite

if TYPE_CHECKING:
    from inference.adapters.adapter import LoraAdapter


@dataclass(frozen=True, slots=True, eq=False)
class PackedImage:
    """A packed adapter in host memory: `data` is uint8 [layout.size]."""

    content_hash: bytes
    layout: ImageLayout
    data: Tensor

    @property
    def size_bytes(self) -> int:
        """Bytes of the image, a multiple of 256."""
        return self.layout.size


def plain_buffer(size: int) -> Tensor:
    """Allocate uint8 [size] in ordinary memory."""
    return torch.empty(size, dtype=torch.uint8)


def pack_image(
    adapter: LoraAdapter,
    config: LlamaConfig,
    packing: Packing,
    buffer: Callable[[int], Tensor] = plain_buffer,
) -> PackedImage:
    """Pack an adapter into a buffer; raises NOT_FINITE where a value overflows the dtype."""
    shape = {site: (pair.rank, pair.scale) for site, pair in adapter.pairs.items()}
    layout = plan_layout(shape, config, packing)
    data = buffer(layout.size)
    data.zero_()
    table = layout.table()
    data[: len(table)] = torch.frombuffer(bytearray(table), dtype=torch.uint8)
    for layer in range(config.num_hidden_layers):
        for number, modules in enumerate(GROUPS):
            entry = layout.group(layer, number)
            if entry is None:
                continue
            sites = [LoraSite(layer, module) for module in modules]
            pairs = [adapter.pairs[site] for site in sites if site in adapter.pairs]
            _write(data, entry.a, torch.cat([pair.a.detach() for pair in pairs]), packing.dtype)
            for site, offset in zip(sites, entry.b, strict=True):
                if site in adapter.pairs:
                    b = adapter.pairs[site].b.detach().to(packing.dtype)
                    tiled = b if packing.tile is None else packing.tile(b)
                    _write(data, offset, tiled, packing.dtype)
    return PackedImage(adapter.content_hash, layout, data)


def _write(data: Tensor, offset: int, factor: Tensor, dtype: torch.dtype) -> None:
    values = factor.to(dtype).contiguous().view(-1)
    if dtype != torch.float32 and not bool(torch.isfinite(values).all()):
        raise AdapterRefused(AdapterReason.NOT_FINITE, f"a factor overflows {dtype}")
    data[offset : offset + values.numel() * values.element_size()] = values.view(torch.uint8)


def open_image(
    content_hash: bytes, data: Tensor, config: LlamaConfig, packing: Packing
) -> PackedImage:
    """Read a packed image back; raises UNREADABLE where it is not one of this model and packing."""
    return PackedImage(content_hash, read_layout(data, config, packing), data)
