"""A checkpoint's tensors straight to a device, in its dtype, without a float32 copy in the host."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from inference.backbone.config import LlamaConfig
from inference.backbone.packed import GROUPS
from inference.backbone.rope import rope_tables
from inference.backbone.sites import LoraSite
from inference.backbone.weights import EMBEDDING, FINAL_NORM, HEAD, weight_name
from inference.cuda.weights import DeviceLayer, DeviceWeights


def place_checkpoint(
    tensors: Mapping[str, Tensor], config: LlamaConfig, device: torch.device, dtype: torch.dtype
) -> DeviceWeights:
    """Copy checked tensors under their Hugging Face names; they may lie in mapped files."""

    def moved(*names: str) -> Tensor:
        # On the device first: it rounds faster than the host.
        return torch.cat([tensors[name].to(device).to(dtype) for name in names])

    embedding = moved(EMBEDDING)
    cos, sin = rope_tables(config)

    def layer(number: int) -> DeviceLayer:
        def vector(name: str) -> Tensor:
            return moved(f"model.layers.{number}.{name}.weight")

        matrices = [
            moved(*(weight_name(LoraSite(number, module)) for module in modules))
            for modules in GROUPS
        ]
        biases = [f"{LoraSite(number, module).path}.bias" for module in GROUPS[0]]
        return DeviceLayer(
            attention_norm=vector("input_layernorm"),
            qkv=matrices[0],
            qkv_bias=moved(*biases) if config.attention_bias else None,
            out=matrices[1],
            feed_norm=vector("post_attention_layernorm"),
            gate_up=matrices[2],
            down=matrices[3],
            q_norm=vector("self_attn.q_norm") if config.qk_norm else None,
            k_norm=vector("self_attn.k_norm") if config.qk_norm else None,
        )

    return DeviceWeights(
        config=config,
        embedding=embedding,
        layers=tuple(layer(number) for number in range(config.num_hidden_layers)),
        final_norm=moved(FINAL_NORM),
        head=embedding if config.tie_word_embeddings else moved(HEAD),
        cos=cos.to(device),
        sin=sin.to(device),
    )
