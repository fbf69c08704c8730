"""Read the tensors of a checkpoint folder: safetensors only, one file or shards with an index.

Files are mapped, not read: a tensor takes memory when it is touched, and a copy is made where its
values are put to use. Pickled checkpoints are refused: reading one runs its code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from inference.backbone.config import LlamaConfig
from inference.backbone.errors import ModelReason, UnsupportedModel
from inference.backbone.json_object import read_object
from inference.backbone.sites import LoraSite, lora_sites, site_shape

TAG = b"openledger-backbone-v1"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
EMBEDDING = "model.embed_tokens.weight"
FINAL_NORM = "model.norm.weight"
HEAD = "lm_head.weight"
FLOATS = (torch.float32, torch.bfloat16, torch.float16)
CHUNK = 1 << 22
"""Values of a tensor that are widened at a time where only a look at them is needed."""


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
        if config.qk_norm:
            for norm in ("q_norm", "k_norm"):
                shapes[f"model.layers.{layer}.self_attn.{norm}.weight"] = (config.head_dim,)
    for site in lora_sites(config):
        shapes[weight_name(site)] = site_shape(config, site)
        if config.attention_bias and site.module in ("q_proj", "k_proj", "v_proj"):
            shapes[f"{site.path}.bias"] = (site_shape(config, site)[0],)
    return shapes


def weight_name(site: LoraSite) -> str:
    """Name the tensor of a linear layer."""
    return f"{site.path}.weight"


def load_tensors(
    folder: Path, config: LlamaConfig, dtype: torch.dtype | None = torch.float32
) -> dict[str, Tensor]:
    """Read and check all tensors; raises UnsupportedModel.

    Args:
        folder: holds the safetensors.
        config: what the tensors must fit.
        dtype: what they are converted to. None leaves them as stored, in the mapped files: they
            take no memory of their own, but must be copied before the files may change.
    """
    tensors: dict[str, Tensor] = {}
    for file in _files(folder):
        for name, tensor in read_safetensors(file).items():
            if name in tensors:
                raise UnsupportedModel(ModelReason.UNKNOWN_TENSOR, f"{name} is in two files")
            tensors[name] = tensor
    return check_tensors(tensors, config, dtype)


def check_tensors(
    tensors: Mapping[str, Tensor], config: LlamaConfig, dtype: torch.dtype | None = torch.float32
) -> dict[str, Tensor]:
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
        plain = tensor.detach().contiguous()
        if not all(bool(torch.isfinite(part).all()) for part in _parts(plain)):
            raise UnsupportedModel(ModelReason.NOT_FINITE, f"{name} holds NaN or infinity")
        checked[name] = plain if dtype is None else plain.to(dtype)
    return checked


def hash_tensors(config: LlamaConfig, tensors: Mapping[str, Tensor]) -> bytes:
    """Hash what is computed: configuration, then each tensor's name, shape and float32 bytes.

    Equal values give equal hashes, in whatever floating type they are stored.
    """
    digest = hashlib.blake2b(TAG, digest_size=32)
    digest.update(json.dumps(_hashed_fields(config), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, list(tensor.shape)]).encode())
        for part in _parts(tensor.detach().contiguous()):
            digest.update(part.to(torch.float32).numpy().data)
    return digest.digest()


def _hashed_fields(config: LlamaConfig) -> dict[str, object]:
    """Give the fields of a configuration, without the options that it does not use."""
    fields = asdict(config)
    return {
        name: value
        for name, value in fields.items()
        if name not in ("rope_scaling", "qk_norm") or value
    }


def _parts(tensor: Tensor) -> Iterator[Tensor]:
    flat = tensor.view(-1)
    for start in range(0, flat.numel(), CHUNK):
        yield flat[start : start + CHUNK]


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Map every tensor of one safetensors file; raises UnsupportedModel."""
    try:
        with safe_open(file, framework="pt", device="cpu") as reader:
            return {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise UnsupportedModel(ModelReason.MISSING_FILE, f"{file}: {error}") from error
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError) as error:
        # A type that this torch has no name for is an AttributeError or a TypeError.
        raise UnsupportedModel(ModelReason.BROKEN_FILE, f"{file}: {error}") from error


def _files(folder: Path) -> list[Path]:
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if (folder / INDEX).exists():
        return [folder / name for name in _shards(folder / INDEX)]
    pickled = sorted(file.name for file in folder.glob("*") if file.suffix in PICKLES)
    if pickled:
        raise UnsupportedModel(
            ModelReason.UNSAFE_FORMAT,
            f"{pickled[0]} is a pickle and is never read; convert it to safetensors",
        )
    raise UnsupportedModel(ModelReason.MISSING_FILE, f"{folder} holds no {SINGLE}")


def _shards(index: Path) -> list[str]:
    places = read_object(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise UnsupportedModel(
            ModelReason.UNREADABLE_CONFIG, f"{index}: weight_map is no map of names"
        )
    names = sorted(set(places.values()))
    if any(Path(name).name != name for name in names):
        raise UnsupportedModel(
            ModelReason.UNSAFE_FORMAT, f"{index} names a file outside its folder"
        )
    for name in names:
        if not name.endswith(".safetensors"):
            raise UnsupportedModel(ModelReason.UNSAFE_FORMAT, f"{name}: only safetensors are read")
    return names
