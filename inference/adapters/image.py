"""Read an adapter's canonical image back, checking every claim in it."""

from __future__ import annotations

import json
import math
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from inference.adapters.adapter import (
    FORMAT,
    METADATA,
    LoraAdapter,
    check_pairs,
    image_hash,
    image_head,
    of_pairs,
    tensor_name,
)
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.spec import MAX_RANK, SiteShape
from inference.backbone.model import Backbone
from inference.backbone.sites import LoraSite, lora_sites

MAX_HEADER = 1 << 20


def decode_image(image: bytes, backbone: Backbone, expected: bytes | None = None) -> LoraAdapter:
    """Decode an image, which must hash to `expected`; raises AdapterRefused."""
    found = image_hash(image)
    if expected is not None and found != expected:
        raise AdapterRefused(
            AdapterReason.WRONG_HASH, f"the image hashes to {found.hex()}, not {expected.hex()}"
        )
    return decode_hashed(image, backbone, found)


def decode_hashed(image: bytes, backbone: Backbone, content_hash: bytes) -> LoraAdapter:
    """Decode an image that was found to have this hash; raises AdapterRefused."""
    claim = _claim(image)
    if claim.get("format") != FORMAT:
        raise AdapterRefused(AdapterReason.UNREADABLE, f"image format {claim.get('format')!r}")
    if claim.get("base") != backbone.content_hash.hex():
        raise AdapterRefused(
            AdapterReason.WRONG_BASE,
            f"made for base model {claim.get('base')}, this is {backbone.content_hash.hex()}",
        )
    try:
        tensors = load_safetensors(image)
        shape = _shape(claim["scales"], tensors, backbone)
    except (SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
        raise AdapterRefused(AdapterReason.UNREADABLE, f"adapter image: {error}") from error
    pairs = check_pairs(shape, tensors, backbone)
    adapter = of_pairs(pairs, backbone, content_hash)
    # The factors were read from where the head says that they are.
    head = image_head(pairs, backbone.content_hash)
    if not image.startswith(head) or len(image) != len(head) + adapter.size_bytes:
        raise AdapterRefused(AdapterReason.UNREADABLE, "the image is not in canonical form")
    return adapter


def embedded_claim(image: bytes) -> dict[str, Any] | None:
    """Return what our images say of themselves; None for a safetensors file of others."""
    size = int.from_bytes(image[:8], "little")
    if len(image) < 8 or size > min(MAX_HEADER, len(image) - 8):
        raise AdapterRefused(AdapterReason.UNREADABLE, "not a safetensors file")
    try:
        header = json.loads(image[8 : 8 + size])
        text = header.get("__metadata__", {}).get(METADATA)
        claim = None if text is None else json.loads(text)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise AdapterRefused(AdapterReason.UNREADABLE, f"safetensors header: {error}") from error
    if claim is not None and not isinstance(claim, dict):
        raise AdapterRefused(AdapterReason.UNREADABLE, "the metadata is not an object")
    return claim


def _claim(image: bytes) -> dict[str, Any]:
    claim = embedded_claim(image)
    if claim is None:
        raise AdapterRefused(
            AdapterReason.UNREADABLE, "not an adapter image; import the PEFT folder instead"
        )
    return claim


def _shape(
    scales: Any, tensors: dict[str, Tensor], backbone: Backbone
) -> dict[LoraSite, SiteShape]:
    known = {site.path: site for site in lora_sites(backbone.config)}
    shape = {}
    for path, scale in scales:
        rank = int(tensors[tensor_name(known[path], "A")].shape[0])
        if not 1 <= rank <= MAX_RANK or not isinstance(scale, float) or not math.isfinite(scale):
            raise AdapterRefused(AdapterReason.UNREADABLE, f"{path}: rank {rank}, scale {scale}")
        shape[known[path]] = SiteShape(rank, scale)
    return shape
