"""PEFT folders: `adapter_config.json` and `adapter_model.safetensors`, in and out."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from inference.adapters.adapter import LoraAdapter, assemble, image_of
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.image import embedded_claim
from inference.adapters.peft_config import read_shape
from inference.backbone.model import Backbone

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
MAX_BYTES = 4 << 30
MAX_CONFIG = 4 << 20


def load_peft(folder: Path, backbone: Backbone, base_names: Collection[str] = ()) -> LoraAdapter:
    """Import a PEFT folder.

    Args:
        folder: holds the two files.
        backbone: the base model that the adapter must fit.
        base_names: names under which this base model is known; if any are given, an adapter that
            names another `base_model_name_or_path` is refused.

    Raises:
        AdapterRefused: with the reason that names what is not supported or wrong.
    """
    fields = _read_config(folder / CONFIG)
    name = fields.get("base_model_name_or_path")
    if base_names and name not in base_names:
        raise AdapterRefused(
            AdapterReason.WRONG_BASE, f"made for {name!r}; this base model is {sorted(base_names)}"
        )
    shape = read_shape(fields, backbone.config)
    data = _read_tensors(folder)
    claim = embedded_claim(data)
    if claim is not None and claim.get("base") != backbone.content_hash.hex():
        raise AdapterRefused(
            AdapterReason.WRONG_BASE,
            f"made for base model {claim.get('base')}, this is {backbone.content_hash.hex()}",
        )
    try:
        tensors = load_safetensors(data)
    except SafetensorError as error:
        raise AdapterRefused(AdapterReason.UNREADABLE, f"{TENSORS}: {error}") from error
    return assemble(shape, tensors, backbone)


def save_peft(adapter: LoraAdapter, folder: Path, base_name: str) -> None:
    """Write a folder that PEFT and this engine load; `base_name` is what PEFT looks up."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = adapter.spec
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "r": spec.rank,
        "lora_alpha": spec.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": spec.rslora,
        "rank_pattern": dict(spec.rank_pattern),
        "alpha_pattern": dict(spec.alpha_pattern),
        "target_modules": sorted(spec.targets),
        "exclude_modules": sorted(spec.excluded) or None,
        "layers_to_transform": None if spec.layers is None else sorted(spec.layers),
    }
    (folder / TENSORS).write_bytes(image_of(adapter))
    (folder / CONFIG).write_text(json.dumps(fields, indent=2) + "\n", "utf-8")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(_read(path, MAX_CONFIG).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterRefused(AdapterReason.UNREADABLE, f"{path}: {error}") from error
    if not isinstance(fields, dict):
        raise AdapterRefused(AdapterReason.UNREADABLE, f"{path} is not a JSON object")
    return fields


def _read_tensors(folder: Path) -> bytes:
    path = folder / TENSORS
    if not path.exists():
        if (folder / PICKLE).exists():
            raise AdapterRefused(
                AdapterReason.PICKLE, f"{PICKLE} is never read: convert it to {TENSORS}"
            )
        raise AdapterRefused(AdapterReason.MISSING_FILE, f"{path} does not exist")
    try:
        return _read(path, MAX_BYTES)
    except OSError as error:
        raise AdapterRefused(AdapterReason.UNREADABLE, f"{path}: {error}") from error


def _read(path: Path, most: int) -> bytes:
    """Read a regular file, never a pipe or a device, which might not end."""
    if not path.exists():
        raise AdapterRefused(AdapterReason.MISSING_FILE, f"{path} does not exist")
    if not path.is_file():
        raise AdapterRefused(AdapterReason.UNREADABLE, f"{path} is no file")
    if path.stat().st_size > most:
        raise AdapterRefused(AdapterReason.TOO_LARGE, f"{path} exceeds {most} bytes")
    return path.read_bytes()
