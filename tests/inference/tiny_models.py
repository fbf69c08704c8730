"""Tiny random models and adapters, the same on every run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer as HfTokenizer
from tokenizers import decoders, models, pre_tokenizers
from torch import Tensor

from inference.adapters.adapter import LoraAdapter, make_adapter, tensor_name
from inference.adapters.spec import LoraSpec
from inference.backbone.config import LlamaConfig
from inference.backbone.model import Backbone
from inference.backbone.sites import site_shape
from inference.backbone.tokenizer import Tokenizer
from inference.backbone.weights import expected_shapes

FIELDS: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 300,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 5000.0,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": 256,
    "hidden_act": "silu",
}


def tiny_config(**changes: Any) -> LlamaConfig:
    return LlamaConfig.from_fields(FIELDS | changes)


def tiny_tensors(config: LlamaConfig, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in expected_shapes(config).items():
        centre = 1.0 if "norm" in name else 0.0
        tensors[name] = centre + 0.1 * torch.randn(shape, generator=generator)
    return tensors


def byte_tokenizer() -> HfTokenizer:
    """One token per byte, in the byte-level alphabet, and an end token with id 256."""
    vocabulary = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = HfTokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    return tokenizer


def tiny_backbone(seed: int = 1, **changes: Any) -> Backbone:
    config = tiny_config(**changes)
    tokenizer = Tokenizer(byte_tokenizer(), config.eos_token_ids)
    return Backbone.from_tensors(config, tiny_tensors(config, seed), tokenizer)


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(FIELDS | changes))
    save_file(tensors, folder / "model.safetensors")
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def adapter_tensors(backbone: Backbone, spec: LoraSpec, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for site in spec.sites(backbone.config):
        outputs, inputs = site_shape(backbone.config, site)
        rank = spec.rank_of(site)
        tensors[tensor_name(site, "A")] = 0.2 * torch.randn(rank, inputs, generator=generator)
        tensors[tensor_name(site, "B")] = 0.2 * torch.randn(outputs, rank, generator=generator)
    return tensors


def tiny_adapter(backbone: Backbone, rank: int = 4, seed: int = 7, **spec: Any) -> LoraAdapter:
    shape = LoraSpec(rank=rank, alpha=spec.pop("alpha", 2.0 * rank), **spec)
    return make_adapter(shape, adapter_tensors(backbone, shape, seed), backbone)
