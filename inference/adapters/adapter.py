"""An adapter in memory, and the canonical image whose hash is its identity.

The image is a safetensors file with PEFT's tensor names, float32, in canonical order, and one
metadata entry: the scale of every changed site and the content hash of the base model. It holds
what is computed and nothing else, so two descriptions of one adapter have one hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.spec import LoraSpec, SiteShape, spec_of
from inference.backbone.lora import LoraPair, LoraPairs
from inference.backbone.model import Backbone
from inference.backbone.sites import LoraSite, lora_sites, site_shape

METADATA = "openledger"
FORMAT = 2
PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True, eq=False)
class LoraAdapter:
    """Checked factors of every changed site in canonical order, for one base model."""

    pairs: LoraPairs
    base_hash: bytes
    content_hash: bytes
    spec: LoraSpec
    """A description of the sites, ranks and scales; it follows from `pairs` alone."""

    @property
    def size_bytes(self) -> int:
        """Memory of all factors."""
        return sum(4 * (pair.a.numel() + pair.b.numel()) for pair in self.pairs.values())


def tensor_name(site: LoraSite, side: str) -> str:
    """Name a factor as PEFT does."""
    return f"{PREFIX}{site.path}.lora_{side}.weight"


def make_adapter(spec: LoraSpec, tensors: Mapping[str, Tensor], backbone: Backbone) -> LoraAdapter:
    """Build an adapter from tensors under PEFT's names; raises AdapterRefused."""
    return assemble(spec.shape(backbone.config), tensors, backbone)


def assemble(
    shape: Mapping[LoraSite, SiteShape], tensors: Mapping[str, Tensor], backbone: Backbone
) -> LoraAdapter:
    """Build an adapter whose sites have these ranks and scales; raises AdapterRefused."""
    pairs = check_pairs(shape, tensors, backbone)
    image = encode_image(pairs, backbone.content_hash)
    return of_pairs(pairs, backbone, image_hash(image))


def check_pairs(
    shape: Mapping[LoraSite, SiteShape], tensors: Mapping[str, Tensor], backbone: Backbone
) -> dict[LoraSite, LoraPair]:
    """Take the factors of sites with these ranks and scales; raises AdapterRefused."""
    pairs: dict[LoraSite, LoraPair] = {}
    left = dict(tensors)
    for site in lora_sites(backbone.config):
        if site not in shape:
            continue
        outputs, inputs = site_shape(backbone.config, site)
        rank, scale = shape[site]
        a = _take(left, tensor_name(site, "A"), (rank, inputs))
        b = _take(left, tensor_name(site, "B"), (outputs, rank))
        pairs[site] = LoraPair(a, b, scale)
    for name in sorted(left):
        raise AdapterRefused(
            AdapterReason.UNKNOWN_TENSOR, f"{name} belongs to no site that the configuration names"
        )
    return pairs


def of_pairs(pairs: LoraPairs, backbone: Backbone, content_hash: bytes) -> LoraAdapter:
    """Describe checked factors whose canonical image has this hash."""
    found = {site: SiteShape(pair.rank, pair.scale) for site, pair in pairs.items()}
    spec = spec_of(found, backbone.config)
    return LoraAdapter(pairs, backbone.content_hash, content_hash, spec)


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
    return encode_image(adapter.pairs, adapter.base_hash)


def encode_image(pairs: LoraPairs, base_hash: bytes) -> bytes:
    """Encode factors as a canonical safetensors file."""
    parts = [
        tensor.detach().contiguous().numpy().astype("<f4", copy=False).data
        for pair in pairs.values()
        for tensor in (pair.a, pair.b)
    ]
    return b"".join([image_head(pairs, base_hash), *parts])


def image_head(pairs: LoraPairs, base_hash: bytes) -> bytes:
    """Encode what stands before the factors: it names their sites, shapes and places."""
    scales = [[site.path, pair.scale] for site, pair in pairs.items()]
    metadata = json.dumps({"format": FORMAT, "base": base_hash.hex(), "scales": scales})
    header: dict[str, Any] = {"__metadata__": {METADATA: metadata}}
    offset = 0
    for site, pair in pairs.items():
        for side, tensor in (("A", pair.a), ("B", pair.b)):
            header[tensor_name(site, side)] = {
                "dtype": "F32",
                "shape": list(tensor.shape),
                "data_offsets": [offset, offset + 4 * tensor.numel()],
            }
            offset += 4 * tensor.numel()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def image_hash(image: bytes) -> bytes:
    """Hash an image: its adapter's identity."""
    return hashlib.blake2b(image, digest_size=32).digest()
