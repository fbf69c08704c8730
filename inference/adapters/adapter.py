"""An adapter in memory, and the canonical image whose hash is its identity.

The image is a safetensors file with PEFT's tensor names, float32, in canonical order, and one
metadata entry that holds the spec and the content hash of the base model. Equal adapters have
equal images.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.spec import LoraSpec
from inference.backbone.lora import LoraPair, LoraPairs
from inference.backbone.model import Backbone
from inference.backbone.sites import LoraSite, site_shape

METADATA = "openledger"
FORMAT = 1
PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True, eq=False)
class LoraAdapter:
    """Checked factors of every changed site, for one base model."""

    spec: LoraSpec
    pairs: LoraPairs
    base_hash: bytes
    content_hash: bytes

    @property
    def size_bytes(self) -> int:
        """Memory of all factors."""
        return sum(4 * (pair.a.numel() + pair.b.numel()) for pair in self.pairs.values())


def tensor_name(site: LoraSite, side: str) -> str:
    """Name a factor as PEFT does."""
    return f"{PREFIX}{site.path}.lora_{side}.weight"


def make_adapter(spec: LoraSpec, tensors: dict[str, Tensor], backbone: Backbone) -> LoraAdapter:
    """Build an adapter from tensors under PEFT's names; raises AdapterRefused."""
    pairs: dict[LoraSite, LoraPair] = {}
    left = dict(tensors)
    for site in spec.sites(backbone.config):
        outputs, inputs = site_shape(backbone.config, site)
        rank = spec.rank_of(site)
        a = _take(left, tensor_name(site, "A"), (rank, inputs))
        b = _take(left, tensor_name(site, "B"), (outputs, rank))
        pairs[site] = LoraPair(a, b, spec.scale_of(site))
    for name in sorted(left):
        raise AdapterRefused(
            AdapterReason.UNKNOWN_TENSOR, f"{name} belongs to no site that the configuration names"
        )
    image = encode_image(spec, pairs, backbone.content_hash)
    return LoraAdapter(spec, pairs, backbone.content_hash, _hash(image))


def _take(tensors: dict[str, Tensor], name: str, shape: tuple[int, int]) -> Tensor:
    tensor = tensors.pop(name, None)
    if tensor is None:
        raise AdapterRefused(AdapterReason.MISSING_TENSOR, name)
    if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise AdapterRefused(AdapterReason.WRONG_DTYPE, f"{name} is {tensor.dtype}")
    if tuple(tensor.shape) != shape:
        raise AdapterRefused(
            AdapterReason.WRONG_SHAPE, f"{name} is {tuple(tensor.shape)}, this model needs {shape}"
        )
    wide = tensor.detach().to(torch.float32).contiguous()
    if not bool(torch.isfinite(wide).all()):
        raise AdapterRefused(AdapterReason.NOT_FINITE, f"{name} holds NaN or infinity")
    return wide


def image_of(adapter: LoraAdapter) -> bytes:
    """Encode the canonical image; its blake2b-256 is `adapter.content_hash`."""
    return encode_image(adapter.spec, adapter.pairs, adapter.base_hash)


def encode_image(spec: LoraSpec, pairs: LoraPairs, base_hash: bytes) -> bytes:
    """Encode factors as a canonical safetensors file."""
    metadata = json.dumps(
        {"format": FORMAT, "base": base_hash.hex(), "spec": spec_fields(spec)}, sort_keys=True
    )
    header: dict[str, Any] = {"__metadata__": {METADATA: metadata}}
    parts = []
    offset = 0
    for site, pair in pairs.items():
        for side, tensor in (("A", pair.a), ("B", pair.b)):
            data = tensor.detach().contiguous().numpy().astype("<f4").tobytes()
            header[tensor_name(site, side)] = {
                "dtype": "F32",
                "shape": list(tensor.shape),
                "data_offsets": [offset, offset + len(data)],
            }
            parts.append(data)
            offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def spec_fields(spec: LoraSpec) -> dict[str, Any]:
    """Give the spec as JSON fields, targets and patterns in a canonical order."""
    return {
        "rank": spec.rank,
        "alpha": float(spec.alpha),
        "targets": sorted(spec.targets),
        "rslora": spec.rslora,
        "rank_pattern": list(map(list, spec.rank_pattern.items())),
        "alpha_pattern": [[name, float(a)] for name, a in spec.alpha_pattern.items()],
        "layers": None if spec.layers is None else sorted(spec.layers),
        "excluded": sorted(spec.excluded),
    }


def _hash(image: bytes) -> bytes:
    return hashlib.blake2b(image, digest_size=32).digest()
