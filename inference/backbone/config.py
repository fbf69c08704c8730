"""The shape of a decoder, read from a checkpoint's `config.json`.

Only what the computation implements is accepted; every other option is refused by its name,
because an ignored option would give answers that nobody else can reproduce.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inference.backbone.errors import ModelReason, UnsupportedModel
from inference.backbone.json_object import read_object
from inference.backbone.rope_scaling import RopeScaling, positive_number, read_rope

__all__ = ["ARCHITECTURES", "LlamaConfig", "ModelReason", "UnsupportedModel"]

LLAMA, MISTRAL = "LlamaForCausalLM", "MistralForCausalLM"
QWEN2, QWEN3 = "Qwen2ForCausalLM", "Qwen3ForCausalLM"
ARCHITECTURES = (LLAMA, MISTRAL, QWEN2, QWEN3)

MISTRAL_WINDOW = 4096
"""The window of a Mistral configuration that names none."""

QWEN3_HEAD_DIM = 128
"""The head size of a Qwen3 configuration that names none."""

MOST = {"num_hidden_layers": 1024, "max_position_embeddings": 1 << 24, "vocab_size": 1 << 24}
MOST_WIDTH = 1 << 20
"""Bounds on what a configuration may claim, far above every real model."""


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """The numbers that define the computation, under their Hugging Face names.

    Attributes:
        attention_bias: the projections of queries, keys and values add a bias (Qwen2).
        eos_token_ids: tokens that end an answer.
        rope_scaling: how the rotation is stretched, if it is.
        qk_norm: queries and keys are normalised per head before they are rotated (Qwen3).
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
    tie_word_embeddings: bool
    attention_bias: bool
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    rope_scaling: RopeScaling | None = None
    qk_norm: bool = False

    @property
    def query_size(self) -> int:
        """Width of all query heads together."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        """Width of all key (or value) heads together."""
        return self.num_key_value_heads * self.head_dim

    @classmethod
    def load(cls, path: Path) -> LlamaConfig:
        """Read a `config.json`; raises UnsupportedModel.

        Where it names no end of an answer, that of `generation_config.json` beside it is taken.
        """
        config = cls.from_fields(read_object(path))
        beside = path.with_name("generation_config.json")
        if config.eos_token_ids or not beside.exists():
            return config
        config = replace(config, eos_token_ids=_ids(read_object(beside).get("eos_token_id")))
        config._check_shapes()
        return config

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> LlamaConfig:
        """Build a configuration from the fields of a `config.json`; raises UnsupportedModel."""
        architecture = _architecture(fields)
        _refuse_options(fields)
        heads = _positive(fields, "num_attention_heads")
        hidden = _positive(fields, "hidden_size")
        head_dim = QWEN3_HEAD_DIM if architecture == QWEN3 else hidden // heads
        theta, scaling = read_rope(fields)
        config = cls(
            vocab_size=_positive(fields, "vocab_size"),
            hidden_size=hidden,
            intermediate_size=_positive(fields, "intermediate_size"),
            num_hidden_layers=_positive(fields, "num_hidden_layers"),
            num_attention_heads=heads,
            num_key_value_heads=_key_value_heads(fields, architecture, heads),
            head_dim=_positive(fields, "head_dim", head_dim),
            max_position_embeddings=_positive(fields, "max_position_embeddings"),
            rms_norm_eps=positive_number(fields.get("rms_norm_eps", 1e-6), "rms_norm_eps"),
            rope_theta=theta,
            tie_word_embeddings=_flag(fields, "tie_word_embeddings"),
            attention_bias=architecture == QWEN2,
            bos_token_id=fields.get("bos_token_id"),
            eos_token_ids=_ids(fields.get("eos_token_id")),
            rope_scaling=scaling,
            qk_norm=architecture == QWEN3,
        )
        config._check_shapes()
        _refuse_windows(fields, architecture, config)
        return config

    def _check_shapes(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads:
            raise UnsupportedModel(
                ModelReason.WRONG_SHAPE, "num_attention_heads is no multiple of num_key_value_heads"
            )
        if self.head_dim % 2:
            raise UnsupportedModel(ModelReason.WRONG_SHAPE, "head_dim must be even")
        ids = (*self.eos_token_ids, *(() if self.bos_token_id is None else (self.bos_token_id,)))
        for token in ids:
            if type(token) is not int or not 0 <= token < self.vocab_size:
                raise UnsupportedModel(
                    ModelReason.WRONG_SHAPE, f"special token {token!r} is not in the vocabulary"
                )


def _architecture(fields: Mapping[str, Any]) -> str:
    names = fields.get("architectures") or []
    name = str(names[0]) if isinstance(names, list) and names else str(fields.get("model_type"))
    if name not in ARCHITECTURES:
        supported = ", ".join(ARCHITECTURES)
        raise UnsupportedModel(
            ModelReason.UNSUPPORTED_ARCHITECTURE, f"{name}; supported are {supported}"
        )
    return name


def _refuse_options(fields: Mapping[str, Any]) -> None:
    required: dict[str, tuple[Any, ...]] = {
        "hidden_act": ("silu", "swish", None),
        "attention_bias": (False, None),
        "mlp_bias": (False, None),
        "partial_rotary_factor": (1, None),
        "pretraining_tp": (1, None),
        "quantization_config": (None,),
    }
    for name, accepted in required.items():
        value = fields.get(name)
        if value not in accepted:
            raise UnsupportedModel(
                ModelReason.UNSUPPORTED_OPTION, f"{name} = {value!r} is not implemented"
            )


def _refuse_windows(fields: Mapping[str, Any], architecture: str, config: LlamaConfig) -> None:
    """Refuse layers that see less than the whole context; a window as long as that is none."""
    kinds = fields.get("layer_types") or []
    known = ("full_attention", "sliding_attention")
    if not isinstance(kinds, list) or any(kind not in known for kind in kinds):
        raise UnsupportedModel(
            ModelReason.UNSUPPORTED_OPTION, f"layer_types = {kinds!r} is not implemented"
        )
    name = "sliding_window"
    if architecture == MISTRAL:
        window = fields.get(name, MISTRAL_WINDOW)
    elif architecture in (QWEN2, QWEN3) and _flag(fields, "use_sliding_window"):
        window = _qwen_window(fields, kinds, config)
        name = "use_sliding_window with sliding_window"
    else:
        window = 0 if "sliding_attention" in kinds else None
        name = "layer_types with sliding_attention and sliding_window"
    if window is None or (type(window) is int and window >= config.max_position_embeddings):
        return
    raise UnsupportedModel(
        ModelReason.UNSUPPORTED_OPTION,
        f"{name} = {window!r} below max_position_embeddings is not implemented; set "
        "max_position_embeddings to the window to serve the positions up to there",
    )


def _qwen_window(fields: Mapping[str, Any], kinds: list[str], config: LlamaConfig) -> Any:
    first = fields.get("max_window_layers", 28)
    layers = config.num_hidden_layers
    slides = "sliding_attention" in kinds if kinds else not (type(first) is int and first >= layers)
    return fields.get("sliding_window", MISTRAL_WINDOW) if slides else None


def _key_value_heads(fields: Mapping[str, Any], architecture: str, heads: int) -> int:
    if architecture != LLAMA and "num_key_value_heads" not in fields:
        raise UnsupportedModel(
            ModelReason.WRONG_SHAPE, f"num_key_value_heads is missing; {architecture} needs it"
        )
    return _positive(fields, "num_key_value_heads", heads)


def _ids(value: Any) -> tuple[Any, ...]:
    return () if value is None else tuple(value) if isinstance(value, list) else (value,)


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise UnsupportedModel(ModelReason.WRONG_SHAPE, f"{name} = {value!r} is not true or false")
    return bool(value)


def _positive(fields: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = fields.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise UnsupportedModel(
            ModelReason.WRONG_SHAPE, f"{name} = {value!r} is not a positive integer"
        )
    if value > MOST.get(name, MOST_WIDTH):
        raise UnsupportedModel(
            ModelReason.WRONG_SHAPE, f"{name} = {value} exceeds {MOST.get(name, MOST_WIDTH)}"
        )
    return value
