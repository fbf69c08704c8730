"""Options of PEFT's `LoraConfig` (0.21.2) that do not say which sites change, or by how much.

An option that would change the result is refused by name; one that only steers training or
initialisation is passed over.
"""

from __future__ import annotations

from typing import Any

from inference.adapters.errors import AdapterReason, AdapterRefused

SITES = frozenset(
    {
        "alpha_pattern",
        "exclude_modules",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "r",
        "rank_pattern",
        "target_modules",
        "use_rslora",
    }
)
"""Read by `peft_config`."""

HARMLESS = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",  # compared by the caller
        "corda_config",  # initialisation
        "ensure_weight_tying",  # embeddings and modules_to_save, which are refused
        "eva_config",  # initialisation
        "fan_in_fan_out",  # PEFT sets it to false for linear layers
        "inference_mode",
        "loftq_config",  # initialisation
        "lora_dropout",  # training
        "lora_ga_config",  # initialisation
        "megatron_core",  # names a library
        "peft_version",
        "qalora_group_size",  # without use_qalora
        "revision",
        "runtime_config",  # where to compute
        "velora_config",  # the backward pass
    }
)

REFUSED = {
    "alora_invocation_tokens": (AdapterReason.UNSUPPORTED_OPTION, "acts on a part of the tokens"),
    "arrow_config": (AdapterReason.UNSUPPORTED_OPTION, "routes between adapters"),
    "kasa_config": (AdapterReason.UNSUPPORTED_OPTION, "changes base weights"),
    "layer_replication": (AdapterReason.UNSUPPORTED_OPTION, "changes the base model"),
    "lora_bias": (AdapterReason.BIAS, "adds bias terms; train without them"),
    "megatron_config": (AdapterReason.UNSUPPORTED_OPTION, "describes layers of Megatron"),
    "modules_to_save": (AdapterReason.MODULES_TO_SAVE, "replaces whole modules"),
    "monteclora_config": (AdapterReason.UNSUPPORTED_OPTION, "samples weights"),
    "target_parameters": (AdapterReason.UNSUPPORTED_OPTION, "changes bare parameters"),
    "trainable_token_indices": (AdapterReason.UNSUPPORTED_OPTION, "changes embeddings"),
    "use_bdlora": (AdapterReason.UNSUPPORTED_OPTION, "has block-diagonal factors"),
    "use_dora": (AdapterReason.DORA, "scales columns of base weights; train plain LoRA"),
    "use_qalora": (AdapterReason.UNSUPPORTED_OPTION, "pools inputs"),
}
"""Refused when they are set (anything but null, false, empty or 0)."""

PLAIN_INITS = (None, True, False, "gaussian", "eva", "mica", "orthogonal")
"""Initialisations that leave base weights alone (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA do not)."""


def check_options(fields: dict[str, Any]) -> None:
    """Refuse what is not plain LoRA of linear layers; raises AdapterRefused."""
    if fields.get("peft_type") != "LORA":
        raise AdapterRefused(AdapterReason.NOT_LORA, f"peft_type is {fields.get('peft_type')!r}")
    for name, (reason, why) in REFUSED.items():
        if fields.get(name):
            raise AdapterRefused(reason, f"{name} = {fields[name]!r} {why}, which is not served")
    if fields.get("bias", "none") != "none":
        raise AdapterRefused(AdapterReason.BIAS, f"bias = {fields['bias']!r}; train with none")
    _one_of(fields, "task_type", (None, "CAUSAL_LM"))
    _one_of(fields, "init_lora_weights", PLAIN_INITS)
    known = SITES | HARMLESS | REFUSED.keys()
    for name in sorted(
        fields.keys() - known - {"peft_type", "bias", "task_type", "init_lora_weights"}
    ):
        if fields[name]:
            raise AdapterRefused(
                AdapterReason.UNSUPPORTED_OPTION, f"{name} = {fields[name]!r} is not implemented"
            )


def _one_of(fields: dict[str, Any], name: str, accepted: tuple[Any, ...]) -> None:
    value = fields.get(name)
    if value not in accepted:
        raise AdapterRefused(
            AdapterReason.UNSUPPORTED_OPTION, f"{name} = {value!r} is not plain LoRA of a decoder"
        )
