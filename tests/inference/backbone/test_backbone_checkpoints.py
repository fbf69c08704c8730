from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import FIELDS, save_checkpoint, tiny_config, tiny_tensors

from inference.backbone.config import ModelReason, UnsupportedModel
from inference.backbone.model import Backbone

IDS = torch.tensor([3, 14, 15, 92, 65])


def refused(folder: Path) -> ModelReason:
    with pytest.raises(UnsupportedModel) as caught:
        Backbone.load(folder)
    return caught.value.reason


def test_a_saved_checkpoint_computes_what_its_tensors_compute(tmp_path: Path) -> None:
    tensors = tiny_tensors(tiny_config())
    loaded = Backbone.load(save_checkpoint(tmp_path, tensors))
    direct = Backbone.from_tensors(tiny_config(), tensors)
    assert loaded.content_hash == direct.content_hash
    assert torch.equal(loaded.forward(IDS), direct.forward(IDS))
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.stop_ids == (256,)


def test_shards_with_an_index_equal_one_file(tmp_path: Path) -> None:
    tensors = tiny_tensors(tiny_config())
    whole = Backbone.load(save_checkpoint(tmp_path / "whole", tensors))
    folder = save_checkpoint(tmp_path / "shards", tensors)
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2])):
        file = f"model-{number}.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert Backbone.load(folder).content_hash == whole.content_hash


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_exactly(tmp_path: Path, dtype: torch.dtype) -> None:
    narrow = {name: t.to(dtype) for name, t in tiny_tensors(tiny_config()).items()}
    wide = {name: t.to(torch.float32) for name, t in narrow.items()}
    loaded = Backbone.load(save_checkpoint(tmp_path, narrow))
    assert loaded.content_hash == Backbone.from_tensors(tiny_config(), wide).content_hash


def test_the_content_hash_changes_with_one_weight() -> None:
    tensors = tiny_tensors(tiny_config())
    before = Backbone.from_tensors(tiny_config(), tensors).content_hash
    tensors["model.norm.weight"][0] += 1e-6
    assert Backbone.from_tensors(tiny_config(), tensors).content_hash != before


def test_an_untied_head_is_used(tmp_path: Path) -> None:
    config = tiny_config(tie_word_embeddings=False)
    tensors = tiny_tensors(config)
    tensors["lm_head.weight"].zero_()
    assert not Backbone.from_tensors(config, tensors).forward(IDS).any()


def test_a_pickled_checkpoint_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(FIELDS))
    (tmp_path / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert refused(tmp_path) is ModelReason.UNSAFE_FORMAT


def test_an_index_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(FIELDS))
    index = {"weight_map": {"model.norm.weight": "../other.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert refused(tmp_path) is ModelReason.UNSAFE_FORMAT


def test_an_index_that_names_a_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(FIELDS))
    index = {"weight_map": {"model.norm.weight": "model.bin"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert refused(tmp_path) is ModelReason.UNSAFE_FORMAT


def test_an_empty_folder_and_one_without_weights_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path) is ModelReason.MISSING_FILE
    (tmp_path / "config.json").write_text(json.dumps(FIELDS))
    assert refused(tmp_path) is ModelReason.MISSING_FILE


def test_wrong_tensors_are_refused_by_name(tmp_path: Path) -> None:
    tensors = tiny_tensors(tiny_config())
    name = "model.layers.1.mlp.up_proj.weight"

    def reason(changed: dict[str, torch.Tensor]) -> tuple[ModelReason, str]:
        with pytest.raises(UnsupportedModel, match=r"up_proj|q_norm") as caught:
            Backbone.from_tensors(tiny_config(), changed)
        return caught.value.reason, caught.value.detail

    without = {key: t for key, t in tensors.items() if key != name}
    assert reason(without) == (ModelReason.MISSING_TENSOR, name)
    assert reason(tensors | {name: tensors[name][:-1]})[0] is ModelReason.WRONG_SHAPE
    assert reason(tensors | {name: tensors[name].long()})[0] is ModelReason.UNSUPPORTED_DTYPE
    assert reason(tensors | {name: tensors[name] * torch.nan})[0] is ModelReason.NOT_FINITE
    extra = {"model.layers.0.self_attn.q_norm.weight": torch.ones(8)}
    assert reason(tensors | extra)[0] is ModelReason.UNKNOWN_TENSOR


@pytest.mark.parametrize(
    ("changes", "reason", "named"),
    [
        (
            {"architectures": ["GPT2LMHeadModel"]},
            ModelReason.UNSUPPORTED_ARCHITECTURE,
            "GPT2LMHeadModel",
        ),
        (
            {"architectures": None, "model_type": "mamba"},
            ModelReason.UNSUPPORTED_ARCHITECTURE,
            "mamba",
        ),
        ({"rope_scaling": {"rope_type": "yarn"}}, ModelReason.UNSUPPORTED_OPTION, "yarn"),
        ({"rope_parameters": {"rope_type": "llama3"}}, ModelReason.UNSUPPORTED_OPTION, "llama3"),
        ({"hidden_act": "gelu"}, ModelReason.UNSUPPORTED_OPTION, "hidden_act"),
        ({"attention_bias": True}, ModelReason.UNSUPPORTED_OPTION, "attention_bias"),
        ({"mlp_bias": True}, ModelReason.UNSUPPORTED_OPTION, "mlp_bias"),
        (
            {"quantization_config": {"bits": 4}},
            ModelReason.UNSUPPORTED_OPTION,
            "quantization_config",
        ),
        (
            {"architectures": ["MistralForCausalLM"], "sliding_window": 64},
            ModelReason.UNSUPPORTED_OPTION,
            "sliding_window",
        ),
        (
            {"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True},
            ModelReason.UNSUPPORTED_OPTION,
            "use_sliding_window",
        ),
        ({"layer_types": ["sliding_attention"]}, ModelReason.UNSUPPORTED_OPTION, "layer_types"),
        ({"num_key_value_heads": 4}, ModelReason.WRONG_SHAPE, "num_key_value_heads"),
        ({"vocab_size": 0}, ModelReason.WRONG_SHAPE, "vocab_size"),
        ({"hidden_size": "48"}, ModelReason.WRONG_SHAPE, "hidden_size"),
        ({"eos_token_id": 300}, ModelReason.WRONG_SHAPE, "special token"),
    ],
)
def test_an_option_that_is_not_computed_is_refused_by_its_name(
    changes: dict[str, object], reason: ModelReason, named: str
) -> None:
    with pytest.raises(UnsupportedModel, match=named) as caught:
        tiny_config(**changes)
    assert caught.value.reason is reason


def test_rope_theta_is_read_from_both_places() -> None:
    assert tiny_config().rope_theta == 5000.0
    nested = {"rope_type": "default", "rope_theta": 7.0}
    assert tiny_config(rope_parameters=nested).rope_theta == 7.0


def test_qwen2_projections_have_biases() -> None:
    config = tiny_config(architectures=["Qwen2ForCausalLM"])
    tensors = tiny_tensors(config)
    with_bias = Backbone.from_tensors(config, tensors).forward(IDS)
    for name in tensors:
        if name.endswith("bias"):
            tensors[name] = torch.zeros_like(tensors[name])
    assert not torch.equal(with_bias, Backbone.from_tensors(config, tensors).forward(IDS))
