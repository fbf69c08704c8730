"""An adapter packed for the batch: one product down and one up per group of sites.

Sites that read the same input share a shrink `[inputs, Σ ranks]`; their expands form one
block-diagonal `[Σ ranks, Σ outputs]` beside the packed base matrix. Exact ranks, no padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.backbone.config import LlamaConfig
from inference.backbone.lora import LoraPairs
from inference.backbone.sites import LoraSite, site_shape

GROUPS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))


@dataclass(frozen=True, slots=True)
class PackedGroup:
    """Shrink float32 [inputs, ranks], scale [ranks], expand [ranks, outputs]."""

    shrink: Tensor
    scale: Tensor
    expand: Tensor

    @property
    def size_bytes(self) -> int:
        """Memory of the three tensors."""
        return 4 * (self.shrink.numel() + self.scale.numel() + self.expand.numel())


@dataclass(frozen=True, slots=True, eq=False)
class PackedAdapter:
    """Per layer the four groups in the order of GROUPS; None where no site is adapted."""

    layers: tuple[tuple[PackedGroup | None, ...], ...]

    @property
    def size_bytes(self) -> int:
        """Memory of all tensors."""
        return sum(group.size_bytes for layer in self.layers for group in layer if group)


def pack_adapter(pairs: LoraPairs, config: LlamaConfig) -> PackedAdapter:
    """Pack an adapter's pairs."""
    return PackedAdapter(
        tuple(
            tuple(_pack_group(pairs, config, layer, group) for group in GROUPS)
            for layer in range(config.num_hidden_layers)
        )
    )


def _pack_group(
    pairs: LoraPairs, config: LlamaConfig, layer: int, modules: tuple[str, ...]
) -> PackedGroup | None:
    sites = [LoraSite(layer, module) for module in modules]
    present = [pairs[site] for site in sites if site in pairs]
    if not present:
        return None
    outputs = [site_shape(config, site)[0] for site in sites]
    expand = torch.zeros(sum(pair.rank for pair in present), sum(outputs))
    row = column = 0
    for site, width in zip(sites, outputs, strict=True):
        if site in pairs:
            rank = pairs[site].rank
            expand[row : row + rank, column : column + width] = pairs[site].b.detach().t()
            row += rank
        column += width
    return PackedGroup(
        shrink=torch.cat([pair.a.detach() for pair in present]).t().contiguous(),
        scale=torch.cat([torch.full((pair.rank,), pair.scale) for pair in present]),
        expand=expand,
    )
