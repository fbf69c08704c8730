"""Read the tensors of a checkpoint folder: safetensors only, one file or shards with an index.

Everything is widened to float32. Pickled checkpoints are refused: reading one runs its code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from inference.backbone.config import LlamaConfig, ModelReason, UnsupportedModel
from inference.backbone.sites import LoraSite, lora_sites, site_shape

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
EMBEDDING = "model.embed_tokens.weight"
FINAL_NORM = "model.norm.weight"
HEAD = "lm_head.weight"
FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def expected_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Name every tensor of such a checkpoint, with its shape."""
    shapes: dict[str, tuple[int, ...]] = {
        EMBEDDING: (config.vocab_size, config.hidden_size),
        FINAL_NORM: (config.hidden_size,),
    }
    if not config.tie_word_embeddings:
        shapes[HEAD] = (config.vocab_size, config.hidden_size)
    for layer in range(config.num_hidden_layers):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"model.layers.{layer}.{norm}.weight"] = (config.hidden_size,)
    for site in lora_sites(config):
        shapes[weight_name(site)] = site_shape(config, site)
        if config.attention_bias and site.module in ("q_proj", "k_proj", "v_proj"):
            shapes[f"{site.path}.bias"] = (site_shape(config, site)[0],)
    return shapes


def weight_name(site: LoraSite) -> str:
    """Name the tensor of a linear layer."""
    return f"{site.path}.weight"


def load_tensors(folder: Path, config: LlamaConfig) -> dict[str, Tensor]:
    """Read and check all tensors as float32; raises UnsupportedModel."""
    tensors: dict[str, Tensor] = {}
    for file in _files(folder):
        tensors.update(read_safetensors(file))
    return check_tensors(tensors, config)


def check_tensors(tensors: Mapping[str, Tensor], config: LlamaConfig) -> dict[str, Tensor]:
    """Check names, shapes and values against the configuration; raises UnsupportedModel."""
    expected = expected_shapes(config)
    ignored = {HEAD} if config.tie_word_embeddings else set()
    for name in sorted(tensors.keys() - expected.keys() - ignored):
        if not name.endswith("rotary_emb.inv_freq"):
            raise UnsupportedModel(ModelReason.UNKNOWN_TENSOR, f"{name} has no place in this model")
    checked = {}
    for name, shape in expected.items():
        tensor = tensors.get(name)
        if tensor is None:
            raise UnsupportedModel(ModelReason.MISSING_TENSOR, name)
        if tuple(tensor.shape) != shape:
            found = tuple(tensor.shape)
            raise UnsupportedModel(
                ModelReason.WRONG_SHAPE, f"{name} is {found}, config.json says {shape}"
            )
        if tensor.dtype not in FLOATS:
            raise UnsupportedModel(ModelReason.UNSUPPORTED_DTYPE, f"{name} is {tensor.dtype}")
        wide = tensor.detach().to(torch.float32).contiguous()
        if not bool(torch.isfinite(wide).all()):
            raise UnsupportedModel(ModelReason.NOT_FINITE, f"{name} holds NaN or infinity")
        checked[name] = wide
    return checked


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Read every tensor of one safetensors file; raises UnsupportedModel."""
    try:
        with safe_open(file, framework="pt", device="cpu") as reader:
            return {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UnsupportedModel(ModelReason.MISSING_FILE, f"{file}: {error}") from error


def _files(folder: Path) -> list[Path]:
    index = folder / INDEX
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UnsupportedModel(ModelReason.UNREADABLE_CONFIG, f"{index}: {error}") from error
        if any(not isinstance(name, str) or Path(name).name != name for name in names):
            raise UnsupportedModel(
                ModelReason.UNSAFE_FORMAT, f"{index} names a file outside its folder"
            )
        for name in names:
            if not name.endswith(".safetensors"):
                raise UnsupportedModel(
                    ModelReason.UNSAFE_FORMAT, f"{name}: only safetensors are read"
                )
        return [folder / name for name in names]
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    pickled = sorted(file.name for file in folder.glob("*") if file.suffix in PICKLES)
    if pickled:
        raise UnsupportedModel(
            ModelReason.UNSAFE_FORMAT,
            f"{pickled[0]} is a pickle and is never read; convert it to safetensors",
        )
    raise UnsupportedModel(ModelReason.MISSING_FILE, f"{folder} holds no {SINGLE}")
