"""Whatever a model folder holds, loading it ends in a model or in a typed refusal."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FIELDS, save_checkpoint, tiny_config, tiny_tensors

from inference.backbone.config import LlamaConfig, ModelReason, UnsupportedModel
from inference.backbone.model import Backbone
from inference.backbone.weights import INDEX

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
OPTIONS = (
    *FIELDS,
    "head_dim",
    "rope_scaling",
    "rope_parameters",
    "sliding_window",
    "use_sliding_window",
    "max_window_layers",
    "layer_types",
    "original_max_position_embeddings",
)
ROPE = st.dictionaries(
    st.sampled_from(
        ["rope_type", "type", "factor", "rope_theta", "low_freq_factor", "high_freq_factor"]
    ),
    JSON | st.sampled_from(["llama3", "linear", "default", 1.0, 4]),
)


def loads_or_refuses(load: Callable[[], object]) -> None:
    try:
        load()
    except UnsupportedModel as refusal:
        assert refusal.detail


@given(
    st.dictionaries(st.sampled_from(OPTIONS), JSON | ROPE, max_size=4),
    st.sampled_from(["Llama", "Mistral", "Qwen2", "Qwen3"]),
)
def test_any_values_of_options(changes: dict[str, Any], family: str) -> None:
    fields = FIELDS | {"architectures": [f"{family}ForCausalLM"]} | changes
    loads_or_refuses(lambda: LlamaConfig.from_fields(fields))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"nothing",
        b"[" * 100_000,
        b'{"vocab_size": ' + b"9" * 5_000 + b"}",
        b'{"architectures": {}}',
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        INDEX,
        "tokenizer_config.json",
        "special_tokens_map.json",
    ],
)
def test_files_that_are_no_object(name: str, content: bytes, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, tiny_tensors(tiny_config()), eos_token_id=None)
    (folder / "chat_template.jinja").write_text("x")
    if name.startswith("model."):
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)
    if content == b'{"architectures": {}}' and name not in ("config.json", INDEX):
        assert Backbone.load(folder).config.eos_token_ids == ()
        return
    with pytest.raises(UnsupportedModel) as caught:
        Backbone.load(folder)
    if content != b'{"architectures": {}}':
        assert caught.value.reason is ModelReason.UNREADABLE_CONFIG


@pytest.mark.parametrize(
    "weight_map",
    [
        None,
        [],
        {"a": 1},
        {"a": ".."},
        {"a": ""},
        {"a": "x\0.safetensors"},
        {"a": "/etc/passwd"},
        {},
    ],
)
def test_indices_that_name_no_files(weight_map: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(FIELDS))
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(UnsupportedModel):
        Backbone.load(tmp_path)


def test_damaged_weights(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, tiny_tensors(tiny_config()))
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    chance = random.Random(5)
    for length in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(UnsupportedModel) as caught:
            Backbone.load(folder)
        assert caught.value.reason is ModelReason.BROKEN_FILE
    header = 8 + int.from_bytes(whole[:8], "little")
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[chance.randrange(header)] = chance.randrange(256)
        file.write_bytes(damaged)
        loads_or_refuses(lambda: Backbone.load(folder))


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F4", "U16", "I64", "BOOL", "F64", "F6_E2M3", "NEW"])
def test_types_that_are_not_computed(dtype: str, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, tiny_tensors(tiny_config()))
    file = folder / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data.replace(b'"F32"', f'"{dtype}"'.encode(), 1))
    with pytest.raises(UnsupportedModel):
        Backbone.load(folder)
    sizes = {"F8_E4M3": torch.float8_e4m3fn, "I64": torch.int64, "BOOL": torch.bool}
    if dtype in sizes:
        tensors = tiny_tensors(tiny_config())
        name = "model.layers.1.mlp.up_proj.weight"
        save_checkpoint(tmp_path, tensors | {name: tensors[name].to(sizes[dtype])})
        with pytest.raises(UnsupportedModel) as caught:
            Backbone.load(folder)
        assert caught.value.reason is ModelReason.UNSUPPORTED_DTYPE


def test_damaged_tokenizers(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, tiny_tensors(tiny_config()))
    file = folder / "tokenizer.json"
    whole = file.read_bytes()
    chance = random.Random(6)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] = chance.randrange(256)
        file.write_bytes(damaged)
        loads_or_refuses(lambda: Backbone.load(folder))


@pytest.mark.parametrize(
    "settings",
    [
        {"chat_template": 5},
        {"chat_template": [{"name": "other", "template": "x"}]},
        {"chat_template": [None, {"name": ["default"]}]},
        {"chat_template": "{% for %}"},
        {"chat_template": "x" * 300_000},
        {"chat_template": "{{ 'a' * 10 ** 9 }}" + "(" * 1000},
        {"chat_template": "{{" + "(" * 5_000 + "1" + ")" * 5_000 + "}}"},
    ],
)
def test_templates_that_cannot_be_used(settings: dict[str, Any], tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, tiny_tensors(tiny_config()))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if settings["chat_template"] == "{{ 'a' * 10 ** 9 }}" + "(" * 1000:
        assert Backbone.load(folder).template is not None
        return
    with pytest.raises(UnsupportedModel) as caught:
        Backbone.load(folder)
    assert caught.value.reason is ModelReason.BAD_TEMPLATE
