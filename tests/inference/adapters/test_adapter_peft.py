from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny_models import adapter_tensors, tiny_adapter, tiny_backbone, tiny_config

from inference.adapters.adapter import image_of, make_adapter, tensor_name
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.image import decode_image
from inference.adapters.patterns import Pattern
from inference.adapters.peft import load_peft, save_peft
from inference.adapters.peft_config import read_shape
from inference.adapters.spec import LoraSpec, spec_of
from inference.backbone.model import Backbone
from inference.backbone.sites import LoraSite, lora_sites
from tests.patience import PATIENCE

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
    assert again.spec == adapter.spec


@pytest.mark.parametrize(
    ("changes", "reason", "named"),
    [
        ({"use_dora": True}, AdapterReason.DORA, "use_dora"),
        ({"bias": "all"}, AdapterReason.BIAS, "bias"),
        ({"lora_bias": True}, AdapterReason.BIAS, "bias"),
        ({"modules_to_save": ["lm_head"]}, AdapterReason.MODULES_TO_SAVE, "lm_head"),
        ({"peft_type": "IA3"}, AdapterReason.NOT_LORA, "IA3"),
        ({"task_type": "SEQ_CLS"}, AdapterReason.UNSUPPORTED_OPTION, "SEQ_CLS"),
        ({"layer_replication": [[0, 2]]}, AdapterReason.UNSUPPORTED_OPTION, "layer_replication"),
        ({"target_parameters": ["w"]}, AdapterReason.UNSUPPORTED_OPTION, "target_parameters"),
        ({"alora_invocation_tokens": [1]}, AdapterReason.UNSUPPORTED_OPTION, "alora"),
        ({"trainable_token_indices": [1]}, AdapterReason.UNSUPPORTED_OPTION, "trainable_token"),
        ({"use_qalora": True}, AdapterReason.UNSUPPORTED_OPTION, "use_qalora"),
        ({"use_bdlora": {"nblocks": 2}}, AdapterReason.UNSUPPORTED_OPTION, "use_bdlora"),
        ({"kasa_config": {"beta": 1}}, AdapterReason.UNSUPPORTED_OPTION, "kasa_config"),
        ({"arrow_config": {"top_k": 1}}, AdapterReason.UNSUPPORTED_OPTION, "arrow_config"),
        ({"monteclora_config": {"a": 1}}, AdapterReason.UNSUPPORTED_OPTION, "monteclora_config"),
        ({"megatron_config": {"a": 1}}, AdapterReason.UNSUPPORTED_OPTION, "megatron_config"),
        ({"an_option_of_tomorrow": 1}, AdapterReason.UNSUPPORTED_OPTION, "an_option_of_tomorrow"),
        ({"init_lora_weights": "pissa"}, AdapterReason.UNSUPPORTED_OPTION, "pissa"),
        ({"init_lora_weights": "pissa_niter_4"}, AdapterReason.UNSUPPORTED_OPTION, "pissa"),
        ({"init_lora_weights": "olora"}, AdapterReason.UNSUPPORTED_OPTION, "olora"),
        ({"init_lora_weights": "loftq"}, AdapterReason.UNSUPPORTED_OPTION, "loftq"),
        ({"init_lora_weights": ["eva"]}, AdapterReason.UNSUPPORTED_OPTION, "eva"),
        ({"target_modules": ".*_proj"}, AdapterReason.MISSING_TENSOR, "k_proj"),
        ({"target_modules": ".*(q_proj|lm_head)"}, AdapterReason.UNKNOWN_TARGET, "lm_head"),
        ({"target_modules": ".*c_attn"}, AdapterReason.UNKNOWN_TARGET, "no linear layer"),
        ({"target_modules": "(?i).*Q_PROJ"}, AdapterReason.BAD_PATTERN, "target_modules"),
        ({"target_modules": "(?=a)b"}, AdapterReason.BAD_PATTERN, "target_modules"),
        ({"target_modules": "q" * 2000}, AdapterReason.BAD_PATTERN, "1024"),
        ({"exclude_modules": "(a"}, AdapterReason.BAD_PATTERN, "exclude_modules"),
        ({"rank_pattern": {r"(.)\1": 2}}, AdapterReason.BAD_PATTERN, "rank_pattern"),
        ({"rank_pattern": {"a{,3}": 2}}, AdapterReason.BAD_PATTERN, "rank_pattern"),
        ({"rank_pattern": {"((a{500}){500}){500}": 2}}, AdapterReason.BAD_PATTERN, "RE2"),
        ({"rank_pattern": {"é": 2}}, AdapterReason.BAD_PATTERN, "ASCII"),
        ({"rank_pattern": {"q_proj": 5}}, AdapterReason.WRONG_SHAPE, "q_proj"),
        ({"rank_pattern": {"q_proj": 1.5}}, AdapterReason.UNREADABLE, "rank_pattern"),
        ({"rank_pattern": ["q_proj"]}, AdapterReason.UNREADABLE, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": "8"}}, AdapterReason.UNREADABLE, "alpha_pattern"),
        ({"alpha_pattern": {"q_proj": 1e40}}, AdapterReason.NOT_FINITE, "lora_alpha"),
        ({"layers_to_transform": ["0"]}, AdapterReason.UNREADABLE, "layers_to_transform"),
        ({"layers_to_transform": [7]}, AdapterReason.UNKNOWN_TARGET, "no linear layer"),
        ({"layers_pattern": "layers"}, AdapterReason.UNSUPPORTED_OPTION, "layers_pattern"),
        (
            {"target_modules": "all-linear", "layers_to_transform": [0]},
            AdapterReason.UNSUPPORTED_OPTION,
            "layers_to_transform",
        ),
        ({"r": True}, AdapterReason.UNREADABLE, "r is not"),
        ({"r": 513}, AdapterReason.WRONG_SHAPE, "rank 513"),
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


@pytest.mark.parametrize(
    "changes",
    [
        {"fan_in_fan_out": True},
        {"velora_config": {"num_groups": 2}},
        {"ensure_weight_tying": True},
        {"eva_config": {"rho": 2.0}, "init_lora_weights": "eva"},
        {"init_lora_weights": "mica"},
        {"alora_invocation_tokens": None, "layer_replication": None, "use_bdlora": None},
        {"alora_invocation_tokens": [], "lora_bias": False, "an_option_of_tomorrow": None},
        {"target_modules": r".*\.(q|v)_proj"},
        {"target_modules": r"model\.layers\.\d+\.self_attn\.[qv]_proj"},
        {
            "target_modules": [
                "self_attn.q_proj",
                "model.layers.0.self_attn.v_proj",
                "1.self_attn.v_proj",
            ]
        },
        {"target_modules": "ALL-linear", "exclude_modules": r".*(mlp.*|[ko]_proj)"},
        {"target_modules": ["q_proj", "v_proj", "o_proj"], "exclude_modules": ["o_proj"]},
        {"layers_to_transform": [0, 1, 9]},
        {"layers_to_transform": [0, 1], "layers_pattern": "layers"},
        {"layers_to_transform": [0, 1], "layers_pattern": ["h", "lay.rs"]},
        {"layers_to_transform": []},
        {"r": 64, "lora_alpha": 1, "rank_pattern": {".*": 4}, "alpha_pattern": {"[qv]_proj": 8}},
        {"rank_pattern": {"^q_proj": 9, "layers.5.self_attn.q_proj": 9}},
        {"use_rslora": True, "lora_alpha": 4.0},
        {"rank_pattern": None, "alpha_pattern": None},
    ],
)
def test_whatever_words_describe_an_adapter_its_hash_is_the_same(
    tmp_path: Path, backbone: Backbone, changes: dict[str, Any]
) -> None:
    direct = make_adapter(SPEC, adapter_tensors(backbone, SPEC, 3), backbone)
    loaded = load_peft(folder_of(tmp_path, backbone, **changes), backbone)
    assert loaded.content_hash == direct.content_hash
    assert loaded.spec == direct.spec == SPEC


PARTS = st.sampled_from(
    [
        r"q_proj",
        r"up_proj",
        r"proj",
        r"model",
        r"layers",
        r"self_attn",
        r"mlp",
        r".",
        r"\.",
        r".*",
        r"[^.]",
        r"[01]",
        r"0",
        r"1",
        r"\d",
        r"\w+",
        r"\b",
        r"(",
        r")",
        r"(?:",
        r"|",
        r"+",
        r"?",
        r"*",
        r"^",
        r"$",
        r"{2}",
    ]
)
PATHS = [site.path for site in lora_sites(tiny_config())]
SHORT = ["", ".", "model", "mlp.1", "up_proj", "0.q_proj"]


def fit_for_python(text: str) -> list[str]:
    """Return the paths on which a backtracking matcher ends: short ones where groups repeat."""
    tame = re.search(r"\)[*+{]", text) is None and len(re.findall(r"[*+]", text)) <= 3
    return SHORT + PATHS if tame else SHORT


@given(st.lists(PARTS, min_size=1, max_size=7).map("".join))
@settings(max_examples=400, deadline=None)
@example("q_proj)|(.*mlp.*")
@example("(?:.+)+0")
@example("model.layers.1.mlp.up_proj")
def test_patterns_mean_what_they_mean_to_python(text: str) -> None:
    for form in (text, rf"(.*\.)?({text})$"):
        try:
            pattern = Pattern("rank_pattern", form)
        except AdapterRefused:
            continue
        python = re.compile(form)
        paths = fit_for_python(text)
        assert [pattern.start(p) for p in paths] == [bool(python.match(p)) for p in paths]
        assert [pattern.whole(p) for p in paths] == [bool(python.fullmatch(p)) for p in paths]


def test_no_pattern_runs_for_ever(tmp_path: Path, backbone: Backbone) -> None:
    """Expressions on which a backtracking matcher takes exponential time."""
    patterns = {f"(([a-z._0-9]+)+)+{n}!": 2 for n in range(50)}
    folder = folder_of(tmp_path, backbone, rank_pattern=patterns)
    started = time.process_time()
    assert load_peft(folder, backbone).spec == SPEC
    assert time.process_time() - started < PATIENCE


def test_a_site_without_its_own_words_keeps_rank_and_alpha_of_the_first_pattern(
    tmp_path: Path, backbone: Backbone
) -> None:
    fields = CONFIG | {
        "r": 2,
        "rank_pattern": {"layers.0.self_attn.q_proj": 3, ".*q_proj": 5, "v_proj$": 7},
        "alpha_pattern": {"layers.1.*": 14, ".*": 6},
        "use_rslora": False,
    }
    shape = read_shape(fields, backbone.config)
    assert {f"{site.layer}.{site.module}": tuple(found) for site, found in shape.items()} == {
        "0.q_proj": (3, 2.0),
        "0.v_proj": (7, pytest.approx(6 / 7)),
        "1.q_proj": (5, pytest.approx(14 / 5)),
        "1.v_proj": (7, 2.0),
    }


@pytest.mark.parametrize("alpha", [0.1, 1.0, 3.3, 16.0, 1e-3, 12345.678])
@pytest.mark.parametrize("rank", [1, 3, 7, 16])
def test_a_description_gives_the_very_scales_it_was_made_from(alpha: float, rank: int) -> None:
    config = tiny_config()
    for rslora in (False, True):
        made = LoraSpec(
            rank=rank, alpha=alpha, rslora=rslora, rank_pattern={"0.mlp.up_proj": 5}, layers=(0,)
        )
        described = spec_of(made.shape(config), config)
        assert described.shape(config) == made.shape(config)
        assert spec_of(described.shape(config), config) == described
        if not rslora:
            assert described.alpha == alpha


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
