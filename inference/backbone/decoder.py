"""The decoder's weights, packed for computation.

Projections that read the same input are one matrix (`q|k|v` and `gate|up`), stored transposed
`[inputs, outputs]`: one product instead of three, and the faster layout for few rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.backbone.config import LlamaConfig
from inference.backbone.rope import rope_tables
from inference.backbone.sites import LoraSite
from inference.backbone.weights import EMBEDDING, FINAL_NORM, HEAD, weight_name


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """One layer; matrices are float32 [inputs, outputs]."""

    attention_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    out: Tensor
    feed_norm: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(frozen=True, slots=True)
class Decoder:
    """All weights of a model, with its rotary tables float32 [positions, head_dim]."""

    config: LlamaConfig
    embedding: Tensor
    layers: tuple[DecoderLayer, ...]
    final_norm: Tensor
    head: Tensor
    cos: Tensor
    sin: Tensor


def pack(tensors: Mapping[str, Tensor], config: LlamaConfig) -> Decoder:
    """Pack checked tensors under their Hugging Face names."""
    cos, sin = rope_tables(config)
    embedding = tensors[EMBEDDING]
    head = embedding if config.tie_word_embeddings else tensors[HEAD]
    return Decoder(
        config=config,
        embedding=embedding,
        layers=tuple(_layer(tensors, config, n) for n in range(config.num_hidden_layers)),
        final_norm=tensors[FINAL_NORM],
        head=head.t().contiguous(),
        cos=cos,
        sin=sin,
    )


def _layer(tensors: Mapping[str, Tensor], config: LlamaConfig, layer: int) -> DecoderLayer:
    def weight(*modules: str) -> Tensor:
        parts = [tensors[weight_name(LoraSite(layer, module))] for module in modules]
        return torch.cat(parts).t().contiguous()

    prefix = f"model.layers.{layer}"
    bias = None
    if config.attention_bias:
        modules = ("q_proj", "k_proj", "v_proj")
        bias = torch.cat([tensors[f"{LoraSite(layer, module).path}.bias"] for module in modules])
    return DecoderLayer(
        attention_norm=tensors[f"{prefix}.input_layernorm.weight"],
        qkv=weight("q_proj", "k_proj", "v_proj"),
        qkv_bias=bias,
        out=weight("o_proj"),
        feed_norm=tensors[f"{prefix}.post_attention_layernorm.weight"],
        gate_up=weight("gate_proj", "up_proj"),
        down=weight("down_proj"),
    )


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Scale rows of float32 [..., hidden] to unit root mean square (arXiv 1910.07467)."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight
