"""What one step computes: pieces of sequences, described without tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.backbone.config import LlamaConfig
from inference.backbone.packed import PackedAdapter
from inference.blocks import BLOCK


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive tokens of one sequence.

    Attributes:
        tokens: the ids to compute.
        start: position of the first one; everything before it is in the cache.
        blocks: the sequence's cache blocks, enough for the last position.
        adapter: the adapter of this sequence, or None for the base model.
        logits_from: index in `tokens` of the first one whose logits are wanted.
    """

    tokens: Sequence[int]
    start: int
    blocks: Sequence[int]
    adapter: PackedAdapter | None
    logits_from: int


class KvCache:
    """Keys and values of all layers, float32 [key_value_heads, blocks · BLOCK, head_dim] each."""

    def __init__(self, config: LlamaConfig, blocks: int) -> None:
        shape = (config.num_key_value_heads, blocks * BLOCK, config.head_dim)
        # Zeros, because a masked position still multiplies a probability of zero.
        self.keys = [torch.zeros(shape) for _ in range(config.num_hidden_layers)]
        self.values = [torch.zeros(shape) for _ in range(config.num_hidden_layers)]

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store float32 [tokens, key_value_heads, head_dim] at slots int64 [tokens]."""
        self.keys[layer].index_copy_(1, slots, keys.transpose(0, 1))
        self.values[layer].index_copy_(1, slots, values.transpose(0, 1))
