from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import adapter_tensors, tiny_adapter, tiny_backbone

from inference.adapters.adapter import image_of, make_adapter, tensor_name
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.image import decode_image
from inference.adapters.peft import load_peft, save_peft
from inference.adapters.spec import LoraSpec
from inference.backbone.model import Backbone
from inference.backbone.sites import LoraSite

CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "someone/base",
    "r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.05,
    "bias": "none",
    "target_modules": ["q_proj", "v_proj"],
    "modules_to_save": None,
    "init_lora_weights": True,
    "megatron_core": "megatron.core",
    "peft_version": "0.18.1",
}
SPEC = LoraSpec(rank=4, alpha=8, targets=("q_proj", "v_proj"))


def folder_of(path: Path, backbone: Backbone, **changes: Any) -> Path:
    (path / "adapter_config.json").write_text(json.dumps(CONFIG | changes))
    save_file(adapter_tensors(backbone, SPEC, 3), path / "adapter_model.safetensors")
    return path


def refused(folder: Path, backbone: Backbone, **options: Any) -> tuple[AdapterReason, str]:
    with pytest.raises(AdapterRefused) as caught:
        load_peft(folder, backbone, **options)
    return caught.value.reason, caught.value.detail


def test_a_peft_folder_gives_the_adapter_of_its_tensors(tmp_path: Path, backbone: Backbone) -> None:
    loaded = load_peft(folder_of(tmp_path, backbone), backbone)
    direct = make_adapter(SPEC, adapter_tensors(backbone, SPEC, 3), backbone)
    assert loaded.content_hash == direct.content_hash
    assert set(loaded.pairs) == {LoraSite(n, m) for n in (0, 1) for m in ("q_proj", "v_proj")}
    assert loaded.pairs[LoraSite(0, "q_proj")].scale == 2.0


def test_an_adapter_survives_a_folder_and_an_image(tmp_path: Path, backbone: Backbone) -> None:
    adapter = tiny_adapter(
        backbone,
        rank_pattern={"layers.1.mlp.up_proj": 9},
        alpha_pattern={"o_proj": 1.5},
        rslora=True,
        layers=(1,),
        excluded=("k_proj",),
    )
    save_peft(adapter, tmp_path, "someone/base")
    assert load_peft(tmp_path, backbone).content_hash == adapter.content_hash
    image = image_of(adapter)
    again = decode_image(image, backbone, adapter.content_hash)
    assert image_of(again) == image
    assert {site.layer for site in again.pairs} == {1}
    assert again.pairs[LoraSite(1, "up_proj")].rank == 9
    assert LoraSite(1, "k_proj") not in again.pairs
    assert again.pairs[LoraSite(1, "o_proj")].scale == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("changes", "reason", "named"),
    [
        ({"use_dora": True}, AdapterReason.DORA, "use_dora"),
        ({"bias": "all"}, AdapterReason.BIAS, "bias"),
        ({"lora_bias": True}, AdapterReason.BIAS, "bias"),
        ({"modules_to_save": ["lm_head"]}, AdapterReason.MODULES_TO_SAVE, "lm_head"),
        ({"peft_type": "IA3"}, AdapterReason.NOT_LORA, "IA3"),
        ({"task_type": "SEQ_CLS"}, AdapterReason.UNSUPPORTED_OPTION, "SEQ_CLS"),
        ({"fan_in_fan_out": True}, AdapterReason.UNSUPPORTED_OPTION, "fan_in_fan_out"),
        ({"layer_replication": [[0, 2]]}, AdapterReason.UNSUPPORTED_OPTION, "layer_replication"),
        ({"target_parameters": ["w"]}, AdapterReason.UNSUPPORTED_OPTION, "target_parameters"),
        ({"alora_invocation_tokens": [1]}, AdapterReason.UNSUPPORTED_OPTION, "alora"),
        ({"trainable_token_indices": [1]}, AdapterReason.UNSUPPORTED_OPTION, "trainable_token"),
        ({"an_option_of_tomorrow": 1}, AdapterReason.UNSUPPORTED_OPTION, "an_option_of_tomorrow"),
        ({"init_lora_weights": "pissa"}, AdapterReason.UNSUPPORTED_OPTION, "pissa"),
        ({"target_modules": ".*_proj"}, AdapterReason.UNSUPPORTED_OPTION, "regular expression"),
        ({"rank_pattern": {"(a+)+$": 2}}, AdapterReason.UNSUPPORTED_OPTION, "regular expression"),
        ({"target_modules": ["c_attn"]}, AdapterReason.UNKNOWN_TARGET, "c_attn"),
        ({"target_modules": ["lm_head"]}, AdapterReason.UNKNOWN_TARGET, "lm_head"),
        ({"target_modules": []}, AdapterReason.UNKNOWN_TARGET, "target_modules"),
        ({"target_modules": None}, AdapterReason.UNREADABLE, "target_modules"),
        ({"target_modules": ["q_proj"]}, AdapterReason.UNKNOWN_TENSOR, "v_proj"),
        ({"target_modules": "all-linear"}, AdapterReason.MISSING_TENSOR, "k_proj"),
        ({"r": 5}, AdapterReason.WRONG_SHAPE, "q_proj"),
        ({"r": 0}, AdapterReason.WRONG_SHAPE, "rank 0"),
        ({"r": None}, AdapterReason.UNREADABLE, "adapter_config.json"),
        ({"lora_alpha": float("inf")}, AdapterReason.NOT_FINITE, "lora_alpha"),
    ],
)
def test_what_is_not_served_is_refused_by_its_name(
    tmp_path: Path, backbone: Backbone, changes: dict[str, Any], reason: AdapterReason, named: str
) -> None:
    found, detail = refused(folder_of(tmp_path, backbone, **changes), backbone)
    assert found is reason
    assert named in detail


def test_a_pickled_adapter_is_refused_unread(tmp_path: Path, backbone: Backbone) -> None:
    folder = folder_of(tmp_path, backbone)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert refused(folder, backbone)[0] is AdapterReason.PICKLE


def test_missing_and_broken_files_are_refused(tmp_path: Path, backbone: Backbone) -> None:
    assert refused(tmp_path, backbone)[0] is AdapterReason.MISSING_FILE
    folder = folder_of(tmp_path, backbone)
    file = folder / "adapter_model.safetensors"
    whole = file.read_bytes()
    for broken in (b"", b"\xff" * 100, whole[:-1], whole[:40]):
        file.write_bytes(broken)
        assert refused(folder, backbone)[0] is AdapterReason.UNREADABLE
    file.unlink()
    assert refused(folder, backbone)[0] is AdapterReason.MISSING_FILE
    (folder / "adapter_config.json").write_text("[]")
    assert refused(folder, backbone)[0] is AdapterReason.UNREADABLE


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(backbone: Backbone, value: float) -> None:
    tensors = adapter_tensors(backbone, SPEC, 3)
    tensors[tensor_name(LoraSite(1, "v_proj"), "B")][0, 0] = value
    with pytest.raises(AdapterRefused) as caught:
        make_adapter(SPEC, tensors, backbone)
    assert caught.value.reason is AdapterReason.NOT_FINITE


def test_integer_factors_are_refused(backbone: Backbone) -> None:
    name = tensor_name(LoraSite(0, "q_proj"), "A")
    tensors = adapter_tensors(backbone, SPEC, 3)
    with pytest.raises(AdapterRefused) as caught:
        make_adapter(SPEC, tensors | {name: tensors[name].to(torch.int8)}, backbone)
    assert caught.value.reason is AdapterReason.WRONG_DTYPE


def test_an_adapter_for_another_base_is_refused(tmp_path: Path, backbone: Backbone) -> None:
    folder = folder_of(tmp_path, backbone)
    names = {"base_names": ["other/base"]}
    assert refused(folder, backbone, **names)[0] is AdapterReason.WRONG_BASE
    assert load_peft(folder, backbone, base_names=["someone/base"]).spec.rank == 4
    other = tiny_backbone(seed=2)
    ours = tiny_adapter(backbone)
    save_peft(ours, tmp_path, "someone/base")
    assert refused(tmp_path, other)[0] is AdapterReason.WRONG_BASE
    with pytest.raises(AdapterRefused) as caught:
        decode_image(image_of(ours), other)
    assert caught.value.reason is AdapterReason.WRONG_BASE


def test_every_changed_byte_of_an_image_is_noticed(backbone: Backbone) -> None:
    adapter = tiny_adapter(backbone, 1, targets=("k_proj",))
    image = image_of(adapter)
    for at in range(0, len(image), 37):
        changed = image[:at] + bytes([image[at] ^ 1]) + image[at + 1 :]
        with pytest.raises(AdapterRefused) as caught:
            decode_image(changed, backbone, adapter.content_hash)
        assert caught.value.reason is AdapterReason.WRONG_HASH


def test_an_image_has_one_form_only(tmp_path: Path, backbone: Backbone) -> None:
    """Other bytes for the same adapter are refused, even where no hash is expected."""
    adapter = tiny_adapter(backbone, 1, targets=("k_proj",))
    image = image_of(adapter)
    size = int.from_bytes(image[:8], "little")
    padded = (size + 8).to_bytes(8, "little") + image[8 : 8 + size] + b" " * 8 + image[8 + size :]
    with pytest.raises(AdapterRefused, match="canonical"):
        decode_image(padded, backbone)


def test_a_hash_names_the_values_the_scale_and_the_base(backbone: Backbone) -> None:
    hashes = {
        tiny_adapter(backbone).content_hash,
        tiny_adapter(backbone, seed=8).content_hash,
        tiny_adapter(backbone, alpha=1.0).content_hash,
        tiny_adapter(backbone, rslora=True).content_hash,
        tiny_adapter(tiny_backbone(seed=2)).content_hash,
    }
    assert len(hashes) == 5
    assert tiny_adapter(backbone).content_hash in hashes
