"""Where the factors lie in a packed image, and the table that says so."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.spec import MAX_RANK
from inference.arena import ALIGN
from inference.backbone.config import LlamaConfig
from inference.backbone.packed import GROUPS
from inference.backbone.sites import LoraSite, site_shape

ENTRY = struct.Struct("<I3II3I3f20x")
"""a, b[3], rows, rank[3] as u32, scale[3] as float32; offsets count 16 bytes."""

ENTRY_BYTES = 64
UNIT = 16
ABSENT = 0xFFFFFFFF
"""`a` of a group without an adapted site; the rest of such an entry is zero."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How a device wants factors: `tile` lays out B [outputs, rank], None for row-major."""

    dtype: torch.dtype
    tile: Callable[[Tensor], Tensor] | None
    name: str

    def expand_bytes(self, outputs: int, rank: int) -> int:
        """Bytes of one site's B."""
        return _expand_bytes(self, outputs, rank)


@lru_cache(maxsize=4096)
def _expand_bytes(packing: Packing, outputs: int, rank: int) -> int:
    if packing.tile is None:
        return outputs * rank * packing.dtype.itemsize
    return packing.tile(torch.zeros(outputs, rank, dtype=packing.dtype)).nbytes


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """One group of sites: byte offsets of A and of each site's B, ranks and scales per site.

    A site with rank 0 is not adapted; its offset and scale are 0.
    """

    a: int
    b: tuple[int, ...]
    ranks: tuple[int, ...]
    scales: tuple[float, ...]

    @property
    def rows(self) -> int:
        """Rows of A: the ranks of all sites."""
        return sum(self.ranks)


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """The parsed table: entries by layer and group (None: not adapted), and the image's size."""

    entries: tuple[GroupEntry | None, ...]
    size: int

    def group(self, layer: int, number: int) -> GroupEntry | None:
        """Return the entry of one group, numbered as in GROUPS."""
        return self.entries[layer * len(GROUPS) + number]

    def table(self) -> bytes:
        """Encode the table."""
        return b"".join(map(_encode, self.entries))


def _encode(entry: GroupEntry | None) -> bytes:
    if entry is None:
        return ENTRY.pack(ABSENT, *([0] * 7), *([0.0] * 3))
    empty = [0] * (3 - len(entry.ranks))
    offsets = [offset // UNIT for offset in entry.b]
    return ENTRY.pack(
        entry.a // UNIT,
        *offsets,
        *empty,
        entry.rows,
        *entry.ranks,
        *empty,
        *entry.scales,
        *map(float, empty),
    )


def plan_layout(
    shape: Mapping[LoraSite, tuple[int, float]], config: LlamaConfig, packing: Packing
) -> ImageLayout:
    """Lay out an adapter whose sites have these ranks and scales."""
    offset = config.num_hidden_layers * len(GROUPS) * ENTRY_BYTES
    offset = aligned(offset)
    entries: list[GroupEntry | None] = []
    for layer in range(config.num_hidden_layers):
        for modules in GROUPS:
            sites = [LoraSite(layer, module) for module in modules]
            ranks = tuple(shape[site][0] if site in shape else 0 for site in sites)
            if not any(ranks):
                entries.append(None)
                continue
            a = offset
            inputs = site_shape(config, sites[0])[1]
            offset = aligned(a + sum(ranks) * inputs * packing.dtype.itemsize)
            b = []
            for site, rank in zip(sites, ranks, strict=True):
                b.append(offset if rank else 0)
                if rank:
                    outputs = site_shape(config, site)[0]
                    offset = aligned(offset + packing.expand_bytes(outputs, rank))
            scales = tuple(shape[site][1] if site in shape else 0.0 for site in sites)
            entries.append(GroupEntry(a, tuple(b), ranks, scales))
    return ImageLayout(tuple(entries), offset)


def read_layout(data: Tensor, config: LlamaConfig, packing: Packing) -> ImageLayout:
    """Parse and check the table at the start of uint8 [size]; raises UNREADABLE.

    Ranks and scales determine every offset and the size, so nothing else is believed.
    """
    count = config.num_hidden_layers * len(GROUPS)
    table = data[: count * ENTRY_BYTES].numpy().tobytes()
    if len(table) != count * ENTRY_BYTES:
        raise AdapterRefused(AdapterReason.UNREADABLE, "a packed image shorter than its table")
    layout = _parse(table, config, packing)
    if layout.size != data.numel():
        raise AdapterRefused(AdapterReason.UNREADABLE, "a packed image of another size")
    return layout


@lru_cache(maxsize=64)
def _parse(table: bytes, config: LlamaConfig, packing: Packing) -> ImageLayout:
    """Parse a table; adapters of equal ranks and scales have equal ones, and share the layout."""
    shape = {}
    for number in range(len(table) // ENTRY_BYTES):
        fields = ENTRY.unpack_from(table, number * ENTRY_BYTES)
        layer, group = divmod(number, len(GROUPS))
        for at, module in enumerate(GROUPS[group]):
            if fields[5 + at]:
                shape[LoraSite(layer, module)] = (fields[5 + at], fields[8 + at])
    if any(rank > MAX_RANK or not math.isfinite(scale) for rank, scale in shape.values()):
        raise AdapterRefused(AdapterReason.UNREADABLE, "no adapter has such ranks and scales")
    layout = plan_layout(shape, config, packing)
    if layout.table() != table:
        raise AdapterRefused(AdapterReason.UNREADABLE, "the table of a packed image is wrong")
    return layout


def aligned(offset: int) -> int:
    """Round up to the alignment of factors."""
    return -(-offset // ALIGN) * ALIGN


def shrink_view(data: Tensor, entry: GroupEntry, inputs: int, dtype: torch.dtype) -> Tensor:
    """View A [rows, inputs] of one group in an image that starts at data[0]."""
    return _view(data, entry.a, entry.rows * inputs, dtype).view(entry.rows, inputs)


def expand_view(
    data: Tensor, entry: GroupEntry, site: int, outputs: int, dtype: torch.dtype
) -> Tensor:
    """View plain B [outputs, rank] of the group's site number `site`."""
    rank = entry.ranks[site]
    return _view(data, entry.b[site], outputs * rank, dtype).view(outputs, rank)


def _view(data: Tensor, offset: int, count: int, dtype: torch.dtype) -> Tensor:
    return data[offset : offset + count * dtype.itemsize].view(dtype)
