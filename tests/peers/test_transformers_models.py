"""Checkpoints that transformers writes compute here what they compute there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.backbone.config import LlamaConfig
from inference.backbone.model import Backbone
from inference.backbone.weights import INDEX, hash_tensors, load_tensors
from tests.peers.cached_logits import cached_logits
from tests.peers.conftest import Script

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NAMES = (
    "llama",
    "llama-untied",
    "llama-untied-bf16",
    "llama-rope-llama3",
    "llama-rope-linear",
    "mistral",
    "mistral-window",
    "qwen2",
    "qwen2-untied",
    "qwen3",
    "qwen3-bf16",
    "qwen3-untied",
)
CLOSE = {"rtol": 1e-5, "atol": 1e-4}
"""Both sides compute in float32; logits reach 6."""


@pytest.fixture(scope="module")
def written(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    script("write_models.py", folder)
    return folder


@pytest.fixture(scope="module")
def logits(written: Path) -> dict[str, Tensor]:
    with np.load(written / "logits.npz") as arrays:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(
    name: str, written: Path, logits: dict[str, Tensor]
) -> None:
    backbone = Backbone.load(written / name)
    assert logits[name].abs().max() > 5
    with torch.no_grad():
        torch.testing.assert_close(backbone.forward(logits["ids"]), logits[name], **CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_decoding_from_the_cache_gives_the_logits_of_transformers(
    name: str, written: Path, logits: dict[str, Tensor]
) -> None:
    backbone = Backbone.load(written / name)
    decoded = cached_logits(backbone, [None], logits["ids"].tolist(), prompt=120)
    torch.testing.assert_close(decoded[0], logits[name], **CLOSE)


def test_each_rope_scaling_matters(logits: dict[str, Tensor], written: Path) -> None:
    for name in ("llama-rope-llama3", "llama-rope-linear"):
        plain = LlamaConfig.from_fields(
            json.loads((written / name / "config.json").read_text()) | {"rope_parameters": None}
        )
        unscaled = Backbone.from_tensors(plain, load_tensors(written / name, plain))
        assert (unscaled.forward(logits["ids"]) - logits[name]).abs().max() > 0.1


def test_both_spellings_of_a_configuration_mean_the_same(written: Path, tmp_path: Path) -> None:
    for name in NAMES:
        folder = tmp_path / name
        shutil.copytree(written / name, folder)
        fields = json.loads((folder / "config.json").read_text())
        rope = fields.pop("rope_parameters")
        fields["torch_dtype"] = fields.pop("dtype")
        fields["rope_theta"] = rope.pop("rope_theta")
        fields.pop("layer_types", None)
        kind = rope.pop("rope_type")
        if kind != "default":
            # The oldest spelling says `type`.
            fields["rope_scaling"] = rope | {"type" if kind == "linear" else "rope_type": kind}
        (folder / "config.json").write_text(json.dumps(fields))
        new, old = (LlamaConfig.load(at / "config.json") for at in (written / name, folder))
        assert old == new, name


def test_the_end_of_an_answer_is_taken_from_the_generation_settings(written: Path) -> None:
    assert LlamaConfig.load(written / "qwen2" / "config.json").eos_token_ids == (7, 9)
    assert LlamaConfig.load(written / "llama" / "config.json").eos_token_ids == (2,)


def test_shards_in_bfloat16_keep_their_type_and_their_hash(written: Path) -> None:
    folder = written / "qwen3-bf16"
    assert len(set(json.loads((folder / INDEX).read_text())["weight_map"].values())) > 3
    config = LlamaConfig.load(folder / "config.json")
    stored = load_tensors(folder, config, dtype=None)
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    widened = load_tensors(folder, config)
    assert {tensor.dtype for tensor in widened.values()} == {torch.float32}
    assert hash_tensors(config, stored) == hash_tensors(config, widened)
    assert Backbone.load(folder).content_hash == hash_tensors(config, stored)
