"""Logits of transformers and peft, recorded by tests/vectors/llama_logits.py, are ours."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.adapters.adapter import LoraAdapter
from inference.adapters.packed_image import pack_image
from inference.adapters.peft import load_peft
from inference.adapters.resident import Resident
from inference.arena import Arena
from inference.backbone.config import LlamaConfig
from inference.backbone.model import Backbone
from inference.cpu_executor import CpuExecutor
from inference.executor import Piece

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "llama_logits.json").read_text())
CASES = {case["name"]: case for case in VECTORS["cases"]}
IDS = torch.tensor(VECTORS["ids"])


def unpacked(value: dict[str, Any]) -> Tensor:
    flat = np.frombuffer(base64.b64decode(value["data"]), "<f4")
    return torch.from_numpy(flat.reshape(value["shape"]).copy())


def model_of(case: dict[str, Any]) -> Backbone:
    tensors = {name: unpacked(value) for name, value in case["tensors"].items()}
    return Backbone.from_tensors(LlamaConfig.from_fields(case["config"]), tensors)


def stepped(backbone: Backbone, adapter: LoraAdapter) -> Tensor:
    """Logits of all positions from pages and a packed image in one memory."""
    executor = CpuExecutor(backbone, 64)
    arena = Arena(executor.pages, executor.shape.page_bytes)
    pages = [arena.take_page() for _ in range(-(-len(IDS) // executor.shape.positions))]
    image = pack_image(adapter, backbone.config, executor.packing)
    extent = arena.place(image.size_bytes)
    assert extent is not None
    executor.upload(image, extent)
    resident = Resident(image.content_hash, image.layout, extent)
    blocks = [page for page in pages if page is not None]
    rows = executor.step([Piece(IDS.tolist(), 0, blocks, resident, 0, len(IDS))])
    return torch.from_numpy(np.stack([rows.logits(row) for row in range(len(IDS))]))


@pytest.mark.parametrize("name", CASES)
def test_the_base_logits_are_those_of_transformers(name: str) -> None:
    ours = model_of(CASES[name]).forward(IDS)
    torch.testing.assert_close(ours, unpacked(CASES[name]["logits"]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_adapted_logits_are_those_of_peft(name: str, number: int, tmp_path: Path) -> None:
    backbone = model_of(CASES[name])
    recorded = CASES[name]["adapters"][number]
    (tmp_path / "adapter_config.json").write_text(json.dumps(recorded["config"]))
    file = base64.b64decode(recorded["safetensors"])
    (tmp_path / "adapter_model.safetensors").write_bytes(file)
    adapter = load_peft(tmp_path, backbone)
    theirs = unpacked(recorded["logits"])
    torch.testing.assert_close(backbone.forward(IDS, adapter.pairs), theirs, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(stepped(backbone, adapter), theirs, rtol=1e-5, atol=2e-5)
    assert not torch.allclose(theirs, unpacked(CASES[name]["logits"]), atol=0.1)
