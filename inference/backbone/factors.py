"""The low-rank change of one group of sites as products of views of packed images.

The shrink is computed as `A · xᵀ` and the expand as `yᵀ · Bᵀ`: with the ranks on the side of the
rows, a BLAS gives few tokens the same bits as many (`chain.py` checks it).
"""

from __future__ import annotations

from dataclasses import dataclass

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


def scale_column(layout: ImageLayout) -> Tensor:
    """List the scale of every rank of every group, float32 [ranks, 1]."""
    scales: list[float] = []
    for entry in layout.entries:
        if entry is not None:
            for rank, scale in zip(entry.ranks, entry.scales, strict=True):
                scales.extend([scale] * rank)
    return torch.tensor(scales, dtype=torch.float32).unsqueeze(1)


def open_factors(
    image: Tensor, layout: ImageLayout, config: LlamaConfig
) -> tuple[GroupFactors | None, ...]:
    """View the factors of one image, float32 [size], layer-major."""
    groups: list[GroupFactors | None] = []
    scales = scale_column(layout)
    done = 0
    for entry, shape in zip(layout.entries, group_shapes(layout, config), strict=True):
        if entry is None or shape is None:
            groups.append(None)
            continue
        scale = scales[done : done + entry.rows]
        done += entry.rows
        groups.append(_open_group(image, scale, entry, shape))
    return tuple(groups)


def _open_group(image: Tensor, scale: Tensor, entry: GroupEntry, shape: GroupShape) -> GroupFactors:
    sites = []
    rank = column = 0
    for size, outputs, offset in zip(entry.ranks, shape.outputs, entry.b, strict=True):
        if size:
            ranks, columns = slice(rank, rank + size), slice(column, column + outputs)
            expand = _matrix(image, offset, outputs, size).t()
            sites.append(SiteFactor(ranks, columns, expand))
        rank += size
        column += outputs
    return GroupFactors(_matrix(image, entry.a, entry.rows, shape.inputs), scale, tuple(sites))


def _matrix(image: Tensor, offset: int, rows: int, columns: int) -> Tensor:
    start = offset // 4
    return image[start : start + rows * columns].view(rows, columns)
