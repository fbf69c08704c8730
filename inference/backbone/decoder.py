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
    """One layer; matrices are [inputs, outputs], all of one type: float32 unless for a device.

    Attributes:
        q_norm, k_norm: [head_dim], applied to every head before the rotation (Qwen3), or None.
    """

    attention_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    out: Tensor
    feed_norm: Tensor
    gate_up: Tensor
    down: Tensor
    q_norm: Tensor | None = None
    k_norm: Tensor | None = None


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


def pack(
    tensors: Mapping[str, Tensor], config: LlamaConfig, dtype: torch.dtype = torch.float32
) -> Decoder:
    """Pack checked tensors under their Hugging Face names, of any floating type, as copies.

    Args:
        tensors: what `weights.check_tensors` returned.
        config: their configuration.
        dtype: of the packed weights; the passes on a CPU compute in float32 only.
    """
    cos, sin = rope_tables(config)
    embedding = tensors[EMBEDDING].to(dtype, copy=True)
    head = embedding if config.tie_word_embeddings else tensors[HEAD]
    return Decoder(
        config=config,
        embedding=embedding,
        layers=tuple(_layer(tensors, config, n, dtype) for n in range(config.num_hidden_layers)),
        final_norm=tensors[FINAL_NORM].to(dtype, copy=True),
        head=_transposed(dtype, head),
        cos=cos,
        sin=sin,
    )


def _layer(
    tensors: Mapping[str, Tensor], config: LlamaConfig, layer: int, dtype: torch.dtype
) -> DecoderLayer:
    def weight(*modules: str) -> Tensor:
        names = [weight_name(LoraSite(layer, module)) for module in modules]
        return _transposed(dtype, *(tensors[name] for name in names))

    def vector(name: str) -> Tensor:
        return tensors[f"model.layers.{layer}.{name}.weight"].to(dtype, copy=True)

    bias = None
    if config.attention_bias:
        modules = ("q_proj", "k_proj", "v_proj")
        parts = [tensors[f"{LoraSite(layer, module).path}.bias"] for module in modules]
        bias = torch.cat(parts).to(dtype)
    return DecoderLayer(
        attention_norm=vector("input_layernorm"),
        qkv=weight("q_proj", "k_proj", "v_proj"),
        qkv_bias=bias,
        out=weight("o_proj"),
        feed_norm=vector("post_attention_layernorm"),
        gate_up=weight("gate_proj", "up_proj"),
        down=weight("down_proj"),
        q_norm=vector("self_attn.q_norm") if config.qk_norm else None,
        k_norm=vector("self_attn.k_norm") if config.qk_norm else None,
    )


def _transposed(dtype: torch.dtype, *parts: Tensor) -> Tensor:
    """Lay [outputs, inputs] matrices side by side as one [inputs, Σ outputs]."""
    packed = torch.empty(parts[0].shape[1], sum(part.shape[0] for part in parts), dtype=dtype)
    column = 0
    for part in parts:
        packed[:, column : column + part.shape[0]] = part.t()
        column += part.shape[0]
    return packed


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Scale rows of float32 [..., hidden] to unit root mean square (arXiv 1910.07467)."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight
