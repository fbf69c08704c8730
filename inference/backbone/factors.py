"""The low-rank change of one group of sites as products of views of packed images.

The shrink is computed as `A · xᵀ` and the expand as `yᵀ · Bᵀ`: with the ranks on the side of the
rows, a BLAS gives few tokens the same bits as many (`chain.py` checks it).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from inference.adapters.image_layout import GroupEntry, ImageLayout
from inference.backbone.config import LlamaConfig
from inference.backbone.packed import GROUPS
from inference.backbone.sites import LoraSite, site_shape


@dataclass(frozen=True, slots=True)
class SiteFactor:
    """One site: which ranks are its own, which outputs, and Bᵀ float32 [..., rank, outputs]."""

    ranks: slice
    outputs: slice
    expand: Tensor


@dataclass(frozen=True, slots=True)
class GroupFactors:
    """A float32 [..., ranks, inputs], scale [..., ranks, 1], and the adapted sites.

    The leading dimension, if there is one, counts adapters of equal ranks.
    """

    shrink: Tensor
    scale: Tensor
    sites: tuple[SiteFactor, ...]

    def delta(self, x: Tensor) -> list[Tensor]:
        """Compute the change of each site for float32 [..., rows, inputs]: [..., rows, outputs]."""
        multiply = torch.mm if x.dim() == 2 else torch.bmm
        shrunk = multiply(self.shrink, x.transpose(-1, -2)) * self.scale
        if len(self.sites) == 1:
            return [multiply(shrunk.transpose(-1, -2), self.sites[0].expand)]
        return [
            multiply(shrunk[..., site.ranks, :].transpose(-1, -2), site.expand)
            for site in self.sites
        ]

    def single(self, x: Tensor) -> list[Tensor]:
        """Do the same for one row of each adapter, float32 [adapters, inputs]."""
        # Each operand is a transposed view, though of one row: strides pick a BLAS's kernel.
        entered = x.unsqueeze(1).transpose(1, 2)
        shrunk = torch.bmm(self.shrink, entered) * self.scale
        if len(self.sites) == 1:
            return [torch.bmm(shrunk.transpose(1, 2), self.sites[0].expand).squeeze(1)]
        return [
            torch.bmm(shrunk[:, site.ranks].transpose(1, 2), site.expand).squeeze(1)
            for site in self.sites
        ]


@dataclass(frozen=True, slots=True)
class GroupShape:
    """The numbers that decide how a group's products are computed."""

    inputs: int
    ranks: tuple[int, ...]
    outputs: tuple[int, ...]


def group_shapes(layout: ImageLayout, config: LlamaConfig) -> tuple[GroupShape | None, ...]:
    """List the shapes of all groups, layer-major; None where nothing is adapted."""
    widths = [[site_shape(config, LoraSite(0, module)) for module in group] for group in GROUPS]
    return tuple(
        None
        if entry is None
        else GroupShape(
            inputs=widths[number % len(GROUPS)][0][1],
            ranks=entry.ranks,
            outputs=tuple(outputs for outputs, _ in widths[number % len(GROUPS)]),
        )
        for number, entry in enumerate(layout.entries)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Where a group's factors lie, in floats from the start of an image, and its scales."""

    scale: Tensor
    shrink: tuple[int, int, int]
    sites: tuple[tuple[slice, slice, int, int, int], ...]


def open_factors(
    image: Tensor, layout: ImageLayout, config: LlamaConfig
) -> tuple[GroupFactors | None, ...]:
    """View the factors of one image, float32 [size], layer-major."""
    start = image.storage_offset()
    groups: list[GroupFactors | None] = []
    for place in _places(layout, config):
        if place is None:
            groups.append(None)
            continue
        at, rows, inputs = place.shrink
        sites = tuple(
            SiteFactor(ranks, columns, image.as_strided((size, outputs), (1, size), start + offset))
            for ranks, columns, offset, size, outputs in place.sites
        )
        shrink = image.as_strided((rows, inputs), (inputs, 1), start + at)
        groups.append(GroupFactors(shrink, place.scale, sites))
    return tuple(groups)


@lru_cache(maxsize=64)
def _places(layout: ImageLayout, config: LlamaConfig) -> tuple[_Place | None, ...]:
    """Plan the views of all images with one layout: there are many adapters, and few layouts."""
    shapes = group_shapes(layout, config)
    return tuple(
        None if entry is None or shape is None else _place(entry, shape)
        for entry, shape in zip(layout.entries, shapes, strict=True)
    )


def _place(entry: GroupEntry, shape: GroupShape) -> _Place:
    sites = []
    scales: list[float] = []
    rank = column = 0
    parts = zip(entry.ranks, entry.scales, shape.outputs, entry.b, strict=True)
    for size, scale, outputs, offset in parts:
        if size:
            ranks, columns = slice(rank, rank + size), slice(column, column + outputs)
            sites.append((ranks, columns, offset // 4, size, outputs))
            scales.extend([scale] * size)
        rank += size
        column += outputs
    column_of_scales = torch.tensor(scales, dtype=torch.float32).unsqueeze(1)
    return _Place(column_of_scales, (entry.a // 4, entry.rows, shape.inputs), tuple(sites))
