"""The shape of a decoder, read from a checkpoint's `config.json`.

Only what the computation implements is accepted; every other option is refused by its name,
because an ignored option would give answers that nobody else can reproduce.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from runtime.primitives.errors import Refusal


class ModelReason(Enum):
    """Why a checkpoint is refused."""

    UNREADABLE_CONFIG = "unreadable_config"
    UNSUPPORTED_ARCHITECTURE = "unsupported_architecture"
    UNSUPPORTED_OPTION = "unsupported_option"
    WRONG_SHAPE = "wrong_shape"
    MISSING_TENSOR = "missing_tensor"
    UNKNOWN_TENSOR = "unknown_tensor"
    UNSUPPORTED_DTYPE = "unsupported_dtype"
    UNSAFE_FORMAT = "unsafe_format"
    MISSING_FILE = "missing_file"
    NOT_FINITE = "not_finite"
    BAD_TOKENIZER = "bad_tokenizer"
    NOT_BATCH_INVARIANT = "not_batch_invariant"


class UnsupportedModel(Refusal):
    """A checkpoint that this backbone does not compute."""

    def __init__(self, reason: ModelReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: ModelReason = reason


ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """The numbers that define the computation, under their Hugging Face names."""

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
        """Read a `config.json`; raises UnsupportedModel."""
        try:
            fields = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise UnsupportedModel(
                ModelReason.MISSING_FILE, f"{path} does not exist; give a Hugging Face model folder"
            ) from error
        except (OSError, ValueError) as error:
            raise UnsupportedModel(ModelReason.UNREADABLE_CONFIG, f"{path}: {error}") from error
        if not isinstance(fields, dict):
            raise UnsupportedModel(ModelReason.UNREADABLE_CONFIG, f"{path} is not a JSON object")
        return cls.from_fields(fields)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> LlamaConfig:
        """Build a configuration from the fields of a `config.json`; raises UnsupportedModel."""
        architecture = _architecture(fields)
        _refuse_options(fields, architecture)
        heads = _positive(fields, "num_attention_heads")
        hidden = _positive(fields, "hidden_size")
        eos = fields.get("eos_token_id")
        eos_ids = () if eos is None else tuple(eos) if isinstance(eos, list) else (eos,)
        config = cls(
            vocab_size=_positive(fields, "vocab_size"),
            hidden_size=hidden,
            intermediate_size=_positive(fields, "intermediate_size"),
            num_hidden_layers=_positive(fields, "num_hidden_layers"),
            num_attention_heads=heads,
            num_key_value_heads=_positive(fields, "num_key_value_heads", heads),
            head_dim=_positive(fields, "head_dim", hidden // heads),
            max_position_embeddings=_positive(fields, "max_position_embeddings"),
            rms_norm_eps=float(fields.get("rms_norm_eps", 1e-6)),
            rope_theta=_rope_theta(fields),
            tie_word_embeddings=bool(fields.get("tie_word_embeddings", False)),
            attention_bias=architecture == "Qwen2ForCausalLM",
            bos_token_id=fields.get("bos_token_id"),
            eos_token_ids=eos_ids,
        )
        config._check_shapes()
        return config

    def _check_shapes(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads:
            raise UnsupportedModel(
                ModelReason.WRONG_SHAPE, "num_attention_heads is no multiple of num_key_value_heads"
            )
        if self.head_dim % 2:
            raise UnsupportedModel(ModelReason.WRONG_SHAPE, "head_dim must be even")
        ids = (*self.eos_token_ids, *(() if self.bos_token_id is None else (self.bos_token_id,)))
        if any(not isinstance(i, int) or not 0 <= i < self.vocab_size for i in ids):
            raise UnsupportedModel(ModelReason.WRONG_SHAPE, "a special token is not in vocabulary")


def _architecture(fields: dict[str, Any]) -> str:
    names = fields.get("architectures") or []
    name = str(names[0]) if isinstance(names, list) and names else str(fields.get("model_type"))
    if name not in ARCHITECTURES:
        supported = ", ".join(ARCHITECTURES)
        raise UnsupportedModel(
            ModelReason.UNSUPPORTED_ARCHITECTURE, f"{name}; supported are {supported}"
        )
    return name


def _refuse_options(fields: dict[str, Any], architecture: str) -> None:
    required: dict[str, tuple[Any, ...]] = {
        "hidden_act": ("silu", "swish", None),
        "attention_bias": (False, None),
        "mlp_bias": (False, None),
        "partial_rotary_factor": (1, None),
        "pretraining_tp": (1, None),
        "quantization_config": (None,),
        "layer_types": (None,),
    }
    if architecture == "MistralForCausalLM":
        required["sliding_window"] = (None,)
    if architecture == "Qwen2ForCausalLM":
        required["use_sliding_window"] = (False, None)
    for name, accepted in required.items():
        value = fields.get(name)
        if name == "layer_types" and value and set(value) == {"full_attention"}:
            continue
        if value not in accepted:
            raise UnsupportedModel(
                ModelReason.UNSUPPORTED_OPTION, f"{name} = {value!r} is not implemented"
            )


def _rope_theta(fields: dict[str, Any]) -> float:
    theta = fields.get("rope_theta", 10000.0)
    for name in ("rope_scaling", "rope_parameters"):
        rope = fields.get(name)
        if rope is None:
            continue
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind != "default":
            raise UnsupportedModel(
                ModelReason.UNSUPPORTED_OPTION, f"{name}.rope_type = {kind!r} is not implemented"
            )
        theta = rope.get("rope_theta", theta)
    return float(theta)


def _positive(fields: dict[str, Any], name: str, default: int | None = None) -> int:
    value = fields.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise UnsupportedModel(
            ModelReason.WRONG_SHAPE, f"{name} = {value!r} is not a positive integer"
        )
    return value
