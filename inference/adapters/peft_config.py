"""Read PEFT's `adapter_config.json`; an option that would change the result is refused by name."""

from __future__ import annotations

from typing import Any

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.spec import LoraSpec
from inference.backbone.sites import MODULES

HARMLESS = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "eva_config",
        "inference_mode",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
    }
)
"""Options that do not change what a loaded adapter computes."""

READ = frozenset(
    {
        "alpha_pattern",
        "bias",
        "exclude_modules",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "modules_to_save",
        "peft_type",
        "r",
        "rank_pattern",
        "target_modules",
        "task_type",
        "use_dora",
        "use_rslora",
    }
)

PLAIN_INITS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Initialisations that leave the base weights as they are (PiSSA, OLoRA, CorDA do not)."""


def read_spec(fields: dict[str, Any]) -> LoraSpec:
    """Read the options of an adapter; raises AdapterRefused."""
    _refuse(fields)
    layers = fields.get("layers_to_transform")
    if isinstance(layers, int):
        layers = [layers]
    try:
        return LoraSpec(
            rank=int(fields["r"]),
            alpha=float(fields["lora_alpha"]),
            targets=_names(fields.get("target_modules"), "target_modules"),
            rslora=bool(fields.get("use_rslora", False)),
            rank_pattern={k: int(v) for k, v in (fields.get("rank_pattern") or {}).items()},
            alpha_pattern={k: float(v) for k, v in (fields.get("alpha_pattern") or {}).items()},
            layers=None if layers is None else tuple(map(int, layers)),
            excluded=_names(fields.get("exclude_modules") or [], "exclude_modules"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AdapterRefused(
            AdapterReason.UNREADABLE, f"adapter_config.json: {type(error).__name__} {error}"
        ) from error


def _refuse(fields: dict[str, Any]) -> None:
    if fields.get("peft_type") != "LORA":
        raise AdapterRefused(AdapterReason.NOT_LORA, f"peft_type is {fields.get('peft_type')!r}")
    if fields.get("task_type") not in ("CAUSAL_LM", None):
        raise AdapterRefused(
            AdapterReason.UNSUPPORTED_OPTION, f"task_type = {fields.get('task_type')!r}"
        )
    if fields.get("use_dora"):
        raise AdapterRefused(AdapterReason.DORA, "use_dora is not supported; train plain LoRA")
    if fields.get("bias", "none") != "none" or fields.get("lora_bias"):
        raise AdapterRefused(AdapterReason.BIAS, "bias terms are not supported; train with none")
    if fields.get("modules_to_save"):
        raise AdapterRefused(
            AdapterReason.MODULES_TO_SAVE,
            f"{fields['modules_to_save']} would replace whole modules; only LoRA is served",
        )
    init = fields.get("init_lora_weights")
    if init not in PLAIN_INITS:
        raise AdapterRefused(
            AdapterReason.UNSUPPORTED_OPTION, f"init_lora_weights = {init!r} changes base weights"
        )
    for name in sorted(fields.keys() - READ - HARMLESS):
        if fields[name]:
            raise AdapterRefused(
                AdapterReason.UNSUPPORTED_OPTION, f"{name} = {fields[name]!r} is not implemented"
            )


def _names(value: Any, option: str) -> tuple[str, ...]:
    if value == "all-linear":
        return MODULES
    if isinstance(value, str):
        raise AdapterRefused(
            AdapterReason.UNSUPPORTED_OPTION,
            f"{option} = {value!r} is a regular expression; list module names instead",
        )
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise AdapterRefused(AdapterReason.UNREADABLE, f"{option} is not a list of names")
    return tuple(value)
