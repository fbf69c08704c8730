"""Rotary position embedding in the rotate-half layout (Su et al. 2021, arXiv 2104.09864)."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.backbone.config import LlamaConfig
from inference.backbone.rope_scaling import rope_frequencies


def rope_tables(config: LlamaConfig) -> tuple[Tensor, Tensor]:
    """Compute cosines and sines, float32 [positions, head_dim], both halves alike."""
    frequencies = rope_frequencies(config.rope_theta, config.head_dim, config.rope_scaling)
    positions = torch.arange(config.max_position_embeddings, dtype=torch.int64).float()
    angles = torch.outer(positions, frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate float32 [..., heads, head_dim] by tables [..., 1, head_dim]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
