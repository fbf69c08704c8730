"""Read an adapter's canonical image back, checking every claim in it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from inference.adapters.adapter import FORMAT, METADATA, LoraAdapter, make_adapter
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.spec import LoraSpec
from inference.backbone.model import Backbone

MAX_HEADER = 1 << 20


def decode_image(image: bytes, backbone: Backbone, expected: bytes | None = None) -> LoraAdapter:
    """Decode an image, which must hash to `expected`; raises AdapterRefused."""
    found = hashlib.blake2b(image, digest_size=32).digest()
    if expected is not None and found != expected:
        raise AdapterRefused(
            AdapterReason.WRONG_HASH, f"the image hashes to {found.hex()}, not {expected.hex()}"
        )
    claim = _claim(image)
    if claim.get("format") != FORMAT:
        raise AdapterRefused(AdapterReason.UNREADABLE, f"image format {claim.get('format')!r}")
    if claim.get("base") != backbone.content_hash.hex():
        raise AdapterRefused(
            AdapterReason.WRONG_BASE,
            f"made for base model {claim.get('base')}, this is {backbone.content_hash.hex()}",
        )
    try:
        spec = _spec(claim["spec"])
        tensors = load_safetensors(image)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise AdapterRefused(AdapterReason.UNREADABLE, f"adapter image: {error}") from error
    adapter = make_adapter(spec, tensors, backbone)
    if adapter.content_hash != found:
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


def _spec(fields: dict[str, Any]) -> LoraSpec:
    layers = fields["layers"]
    return LoraSpec(
        rank=int(fields["rank"]),
        alpha=float(fields["alpha"]),
        targets=tuple(fields["targets"]),
        rslora=bool(fields["rslora"]),
        rank_pattern={str(name): int(rank) for name, rank in fields["rank_pattern"]},
        alpha_pattern={str(name): float(alpha) for name, alpha in fields["alpha_pattern"]},
        layers=None if layers is None else tuple(map(int, layers)),
        excluded=tuple(fields["excluded"]),
    )
