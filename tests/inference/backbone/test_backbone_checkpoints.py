from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import FIELDS, save_checkpoint, tiny_config, tiny_tensors

from inference.backbone.config import ModelReason, UnsupportedModel
from inference.backbone.model import Backbone
from inference.backbone.rope import rope_tables
from inference.backbone.rope_scaling import RopeScaling, rope_frequencies
from inference.backbone.weights import expected_shapes, hash_tensors, load_tensors

IDS = torch.tensor([3, 14, 15, 92, 65])
QWEN2 = {"architectures": ["Qwen2ForCausalLM"]}
SLIDING = {"layer_types": ["full_attention", "sliding_attention"]}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


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
        (
            {"rope_parameters": {"rope_type": "llama3"}},
            ModelReason.WRONG_SHAPE,
            "rope_parameters.factor",
        ),
        (
            {"rope_scaling": LLAMA3 | {"low_freq_factor": 4.0}},
            ModelReason.WRONG_SHAPE,
            "high_freq_factor",
        ),
        (
            {"rope_scaling": LLAMA3 | {"attention_factor": 2.0}},
            ModelReason.UNSUPPORTED_OPTION,
            "rope_scaling.attention_factor",
        ),
        (
            {"rope_parameters": {"full_attention": {"rope_type": "default"}}},
            ModelReason.UNSUPPORTED_OPTION,
            "rope_parameters.full_attention",
        ),
        ({"rope_scaling": [2.0]}, ModelReason.UNSUPPORTED_OPTION, "rope_scaling"),
        ({"rope_theta": -1.0}, ModelReason.WRONG_SHAPE, "rope_theta"),
        ({"rope_theta": 10**400}, ModelReason.WRONG_SHAPE, "rope_theta"),
        ({"rms_norm_eps": float("nan")}, ModelReason.WRONG_SHAPE, "rms_norm_eps"),
        ({"tie_word_embeddings": "no"}, ModelReason.WRONG_SHAPE, "tie_word_embeddings"),
        ({"num_hidden_layers": 10**9}, ModelReason.WRONG_SHAPE, "num_hidden_layers"),
        ({"bos_token_id": [1]}, ModelReason.WRONG_SHAPE, "special token"),
        ({"eos_token_id": [2, True]}, ModelReason.WRONG_SHAPE, "special token"),
        (
            {"architectures": ["Qwen3ForCausalLM"], "attention_bias": True},
            ModelReason.UNSUPPORTED_OPTION,
            "attention_bias",
        ),
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
            QWEN2 | {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1},
            ModelReason.UNSUPPORTED_OPTION,
            "use_sliding_window",
        ),
        (
            QWEN2 | SLIDING | {"use_sliding_window": True, "sliding_window": 64},
            ModelReason.UNSUPPORTED_OPTION,
            "use_sliding_window",
        ),
        (
            {"architectures": ["MistralForCausalLM"], "max_position_embeddings": 8192},
            ModelReason.UNSUPPORTED_OPTION,
            "sliding_window = 4096",
        ),
        ({"layer_types": ["linear_attention"]}, ModelReason.UNSUPPORTED_OPTION, "layer_types"),
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


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["MistralForCausalLM"], "sliding_window": None},
        {"architectures": ["MistralForCausalLM"], "sliding_window": 256},
        {"architectures": ["MistralForCausalLM"]},
        QWEN2 | {"sliding_window": 4},
        QWEN2 | {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
        QWEN2 | SLIDING | {"use_sliding_window": True, "sliding_window": 300},
        {"layer_types": ["full_attention", "full_attention"]},
    ],
)
def test_a_window_that_hides_nothing_is_no_window(changes: dict[str, object]) -> None:
    assert tiny_config(**changes).max_position_embeddings == 256


def test_both_places_of_a_rope_scaling_are_read_and_the_older_one_counts() -> None:
    scaling = RopeScaling("llama3", 8.0, 1.0, 4.0, 64)
    assert tiny_config(rope_scaling=LLAMA3).rope_scaling == scaling
    assert tiny_config(rope_parameters=LLAMA3 | {"rope_theta": 3.0}).rope_theta == 3.0
    linear = {"type": "linear", "factor": 2}
    both = tiny_config(rope_scaling=linear, rope_parameters=LLAMA3)
    assert both.rope_scaling == RopeScaling("linear", 2.0)
    outside = {key: value for key, value in LLAMA3.items() if not key.startswith("original")}
    assert tiny_config(rope_scaling=outside).rope_scaling == RopeScaling(
        "llama3", 8.0, 1.0, 4.0, 256
    )


def test_llama3_scaling_keeps_fast_turns_and_slows_slow_ones_by_its_factor() -> None:
    plain = rope_frequencies(10000.0, 64, None)
    scaled = rope_frequencies(10000.0, 64, RopeScaling("llama3", 8.0, 1.0, 4.0, 64))
    turns = 64 * plain / (2 * torch.pi)
    assert torch.equal(scaled[turns > 4], plain[turns > 4])
    assert torch.equal(scaled[turns < 1], plain[turns < 1] / 8)
    between = (turns > 1) & (turns < 4)
    assert between.any()
    assert ((scaled < plain) & (scaled > plain / 8))[between].all()


def test_plain_rope_keeps_its_bits() -> None:
    config = tiny_config()
    steps = 1.0 / (5000.0 ** (torch.arange(0, 8, 2).float() / 8))
    angles = torch.outer(torch.arange(256).float(), steps)
    cos, sin = rope_tables(config)
    assert torch.equal(cos, torch.cat((angles, angles), -1).cos())
    assert torch.equal(sin, torch.cat((angles, angles), -1).sin())


def test_an_unused_option_is_no_part_of_the_content_hash() -> None:
    tensors = {
        name: (torch.arange(math.prod(shape)) % 251 - 125).reshape(shape) / 256
        for name, shape in expected_shapes(tiny_config()).items()
    }
    pinned = "faef5ae10ff18488952f623e9bc367fe4e8729364baca931972f7d1ed6ceb64f"
    assert Backbone.from_tensors(tiny_config(), tensors).content_hash.hex() == pinned
    stretched = tiny_config(rope_scaling=LLAMA3)
    assert Backbone.from_tensors(stretched, tensors).content_hash.hex() != pinned


def test_qwen3_normalises_queries_and_keys() -> None:
    config = tiny_config(architectures=["Qwen3ForCausalLM"], head_dim=8)
    tensors = tiny_tensors(config)
    before = Backbone.from_tensors(config, tensors).forward(IDS)
    name = "model.layers.0.self_attn.q_norm.weight"
    without = {key: tensor for key, tensor in tensors.items() if key != name}
    with pytest.raises(UnsupportedModel, match="q_norm") as caught:
        Backbone.from_tensors(config, without)
    assert caught.value.reason is ModelReason.MISSING_TENSOR
    after = Backbone.from_tensors(config, tensors | {name: 2 * tensors[name]}).forward(IDS)
    assert not torch.allclose(before, after, atol=1e-3)


def test_a_qwen3_head_is_128_wide_unless_told() -> None:
    fields = {"architectures": ["Qwen3ForCausalLM"]}
    assert tiny_config(**fields).head_dim == 128
    assert tiny_config(**fields, head_dim=16).head_dim == 16


def test_a_loaded_model_does_not_change_with_its_file(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, tiny_tensors(tiny_config()))
    loaded = Backbone.load(folder)
    before = loaded.forward(IDS)
    file = folder / "model.safetensors"
    with file.open("r+b") as opened:
        opened.seek(8 + int.from_bytes(file.read_bytes()[:8], "little"))
        opened.write(bytes(file.stat().st_size - opened.tell()))
    assert torch.equal(loaded.forward(IDS), before)


def test_tensors_can_stay_as_they_are_stored(tmp_path: Path) -> None:
    config = tiny_config()
    narrow = {name: t.to(torch.bfloat16) for name, t in tiny_tensors(config).items()}
    folder = save_checkpoint(tmp_path, narrow)
    stored = load_tensors(folder, config, dtype=None)
    assert all(torch.equal(stored[name], narrow[name]) for name in narrow)
    whole = Backbone.load(folder)
    assert hash_tensors(config, stored) == whole.content_hash
    waiting = Backbone.load(folder, torch.bfloat16)
    assert waiting.content_hash == whole.content_hash
    assert waiting.decoder.layers[1].qkv.dtype is torch.bfloat16
    assert torch.equal(waiting.decoder.layers[1].qkv.float(), whole.decoder.layers[1].qkv)
    assert torch.equal(waiting.decoder.head.float(), whole.decoder.head)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    tensors = tiny_tensors(tiny_config())
    folder = save_checkpoint(tmp_path, tensors)
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    save_file({"model.norm.weight": tensors["model.norm.weight"]}, folder / "model-2.safetensors")
    places = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert refused(folder) is ModelReason.UNKNOWN_TENSOR
    (folder / "model-2.safetensors").unlink()
    assert refused(folder) is ModelReason.MISSING_FILE


def test_the_end_of_an_answer_may_stand_in_the_generation_settings(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, tiny_tensors(tiny_config()), eos_token_id=None)
    assert Backbone.load(folder).config.eos_token_ids == ()
    settings = folder / "generation_config.json"
    settings.write_text(json.dumps({"eos_token_id": [256, 5]}))
    loaded = Backbone.load(folder)
    assert loaded.config.eos_token_ids == (256, 5)
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.stop_ids == (5, 256)
    settings.write_text(json.dumps({"eos_token_id": 300}))
    assert refused(folder) is ModelReason.WRONG_SHAPE


def test_a_tokenizer_with_more_ids_than_the_model_has_rows_is_refused(tmp_path: Path) -> None:
    config = tiny_config(vocab_size=256, eos_token_id=255)
    changes = {"vocab_size": 256, "eos_token_id": 255}
    folder = save_checkpoint(tmp_path, tiny_tensors(config), **changes)
    assert refused(folder) is ModelReason.BAD_TOKENIZER
    (folder / "tokenizer.json").unlink()
    assert Backbone.load(folder).tokenizer is None


def test_a_model_without_a_template_has_none_and_one_with_a_broken_one_is_refused(
    tmp_path: Path,
) -> None:
    folder = save_checkpoint(tmp_path, tiny_tensors(tiny_config()))
    assert Backbone.load(folder).template is None
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    template = Backbone.load(folder).template
    assert template is not None
    assert template.render([{"role": "user", "content": "hi"}]) == "hi"
    (folder / "chat_template.jinja").write_text("{% if %}")
    assert refused(folder) is ModelReason.BAD_TEMPLATE


def test_qwen2_projections_have_biases() -> None:
    config = tiny_config(architectures=["Qwen2ForCausalLM"])
    tensors = tiny_tensors(config)
    with_bias = Backbone.from_tensors(config, tensors).forward(IDS)
    for name in tensors:
        if name.endswith("bias"):
            tensors[name] = torch.zeros_like(tensors[name])
    assert not torch.equal(with_bias, Backbone.from_tensors(config, tensors).forward(IDS))
