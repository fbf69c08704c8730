"""How a checkpoint stretches its rotary frequencies, under old and new names.

`rope_scaling` (with `type` or `rope_type`) beside `rope_theta` is the older spelling, one
`rope_parameters` with everything inside the newer; where both are given, the older one counts, as
in transformers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.backbone.errors import ModelReason, UnsupportedModel

DEFAULT_THETA = 10000.0
NUMBERS = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
"""The kinds that are computed, with the numbers that each must have."""

READ = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor"})
ORIGINAL = "original_max_position_embeddings"


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """A stretched rotation: `linear` divides every frequency, `llama3` only the slow ones."""

    kind: str
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 1.0
    original_max_position_embeddings: int = 0

    def stretch(self, frequencies: Tensor) -> Tensor:
        """Scale float32 [head_dim / 2] radians per position."""
        if self.kind == "linear":
            return frequencies / self.factor
        turns = self.original_max_position_embeddings / (2 * math.pi / frequencies)
        low, high = self.low_freq_factor, self.high_freq_factor
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        return (1 - kept) * frequencies / self.factor + kept * frequencies


def read_rope(fields: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """Return the base of the rotation and its scaling; raises UnsupportedModel."""
    name = "rope_scaling" if fields.get("rope_scaling") else "rope_parameters"
    rope = fields.get(name) or {}
    if not isinstance(rope, dict):
        raise UnsupportedModel(ModelReason.UNSUPPORTED_OPTION, f"{name} = {rope!r} is no object")
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if not isinstance(kind, str) or kind not in NUMBERS:
        raise UnsupportedModel(
            ModelReason.UNSUPPORTED_OPTION, f"{name}.rope_type = {kind!r} is not implemented"
        )
    read = {*READ, *NUMBERS[kind], *((ORIGINAL,) if kind == "llama3" else ())}
    for key in sorted(map(str, rope.keys() - read)):
        if rope[key] is not None:
            raise UnsupportedModel(
                ModelReason.UNSUPPORTED_OPTION,
                f"{name}.{key} = {rope[key]!r} is not implemented for rope_type {kind!r}",
            )
    if rope.get("partial_rotary_factor") not in (None, 1):
        raise UnsupportedModel(
            ModelReason.UNSUPPORTED_OPTION, f"{name}.partial_rotary_factor is not implemented"
        )
    theta = rope.get("rope_theta")
    theta = fields.get("rope_theta") if theta is None else theta
    theta = DEFAULT_THETA if theta is None else theta
    base = positive_number(theta, "rope_theta")
    return base, None if kind == "default" else _scaling(kind, name, rope, fields)


def _scaling(
    kind: str, name: str, rope: Mapping[str, Any], fields: Mapping[str, Any]
) -> RopeScaling:
    factor, *bounds = (positive_number(rope.get(key), f"{name}.{key}") for key in NUMBERS[kind])
    if kind == "linear":
        return RopeScaling(kind, factor)
    low, high = bounds
    if high <= low:
        raise UnsupportedModel(
            ModelReason.WRONG_SHAPE, f"{name}: high_freq_factor must exceed low_freq_factor"
        )
    found = (fields.get(ORIGINAL), rope.get(ORIGINAL), fields.get("max_position_embeddings"))
    original = next((value for value in found if value is not None), None)
    length = positive_number(original, f"{name}.{ORIGINAL}")
    if length != int(length):
        raise UnsupportedModel(ModelReason.WRONG_SHAPE, f"{name}.{ORIGINAL} = {original!r}")
    return RopeScaling(kind, factor, low, high, int(length))


def positive_number(value: object, name: str) -> float:
    """Return a finite number above zero; raises WRONG_SHAPE with the option's name."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if 0 < number < math.inf:
            return number
    raise UnsupportedModel(ModelReason.WRONG_SHAPE, f"{name} = {value!r} is not a positive number")


def rope_frequencies(theta: float, head_dim: int, scaling: RopeScaling | None) -> Tensor:
    """Compute the radians per position of each pair, float32 [head_dim / 2]."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
    frequencies = 1.0 / (theta**exponents)
    return frequencies if scaling is None else scaling.stretch(frequencies)
