"""The whole-sequence pass: differentiable, no cache. Training and attribution use it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention, silu

from inference.backbone.decoder import Decoder, DecoderLayer, rms_norm
from inference.backbone.lora import LoraCapture, LoraPairs, lora_delta
from inference.backbone.rope import rotate
from inference.backbone.sites import LoraSite


def hidden_states(
    decoder: Decoder, ids: Tensor, pairs: LoraPairs | None, capture: LoraCapture | None
) -> Tensor:
    """Compute the normalised last hidden states, float32 [batch, length, hidden].

    Rows attend causally, so a batch of unequal lengths is padded on the right with any id and the
    logits behind a row's end are ignored.
    """
    length = ids.shape[1]
    tables = decoder.cos[:length, None], decoder.sin[:length, None]
    x = decoder.embedding[ids]
    for number, layer in enumerate(decoder.layers):
        lora = _LayerLora(number, pairs or {}, capture)
        x = x + _attention(decoder, layer, x, lora, tables)
        x = x + _feed_forward(decoder, layer, x, lora)
    return rms_norm(x, decoder.final_norm, decoder.config.rms_norm_eps)


class _LayerLora:
    """Adds the low-rank change of each module of one layer."""

    def __init__(self, layer: int, pairs: LoraPairs, capture: LoraCapture | None) -> None:
        self._layer = layer
        self._pairs = pairs
        self._capture = capture

    def add(self, module: str, base: Tensor, x: Tensor) -> Tensor:
        site = LoraSite(self._layer, module)
        pair = self._pairs.get(site)
        return base if pair is None else base + lora_delta(x, pair, site, self._capture)


def _attention(
    decoder: Decoder,
    layer: DecoderLayer,
    x: Tensor,
    lora: _LayerLora,
    tables: tuple[Tensor, Tensor],
) -> Tensor:
    config = decoder.config
    batch, length, _ = x.shape
    h = rms_norm(x, layer.attention_norm, config.rms_norm_eps)
    mixed = h @ layer.qkv
    if layer.qkv_bias is not None:
        mixed = mixed + layer.qkv_bias
    split = (config.query_size, config.query_size + config.key_value_size)
    parts = torch.tensor_split(mixed, split, dim=-1)
    q, k, v = (
        lora.add(module, part, h).reshape(batch, length, -1, config.head_dim)
        for module, part in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True)
    )
    if layer.q_norm is not None and layer.k_norm is not None:
        q = rms_norm(q, layer.q_norm, config.rms_norm_eps)
        k = rms_norm(k, layer.k_norm, config.rms_norm_eps)
    mixed = scaled_dot_product_attention(
        rotate(q, *tables).transpose(1, 2),
        rotate(k, *tables).transpose(1, 2),
        v.transpose(1, 2),
        is_causal=True,
        enable_gqa=True,
    )
    mixed = mixed.transpose(1, 2).reshape(batch, length, -1)
    return lora.add("o_proj", mixed @ layer.out, mixed)


def _feed_forward(decoder: Decoder, layer: DecoderLayer, x: Tensor, lora: _LayerLora) -> Tensor:
    h = rms_norm(x, layer.feed_norm, decoder.config.rms_norm_eps)
    gate, up = (h @ layer.gate_up).chunk(2, dim=-1)
    gate = lora.add("gate_proj", gate, h)
    up = lora.add("up_proj", up, h)
    inner = silu(gate) * up
    return lora.add("down_proj", inner @ layer.down, inner)
