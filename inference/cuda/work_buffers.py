"""The tensors between the kernels of a step, at fixed addresses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.adapters.spec import MAX_RANK
from inference.backbone.config import LlamaConfig
from inference.backbone.packed import GROUPS
from inference.backbone.sites import LoraSite, site_shape
from inference.kernels.lora import splits_of


@dataclass(frozen=True, slots=True)
class WorkBuffers:
    """Room for so many rows.

    Attributes:
        x: the residual [rows, hidden].
        h: the normalised residual [rows, hidden].
        qkv: [rows, queries | keys | values].
        seen: what attention returns [rows, queries].
        delta: what a half layer adds to the residual [rows, hidden].
        gate_up: [rows, gate | up].
        inner: [rows, inner].
        partials: float32, the sums of the low-rank shrink, for each group in turn.
        scratch: float32, of attention.
    """

    x: Tensor
    h: Tensor
    qkv: Tensor
    seen: Tensor
    delta: Tensor
    gate_up: Tensor
    inner: Tensor
    partials: tuple[Tensor, ...]
    scratch: Tensor

    @classmethod
    def allocate(
        cls,
        rows: int,
        config: LlamaConfig,
        dtype: torch.dtype,
        device: torch.device,
        scratch: int,
    ) -> WorkBuffers:
        """Allocate zeros: a pad's row is multiplied too, and must hold numbers.

        `scratch` counts float32.
        """

        def room(width: int) -> Tensor:
            return torch.zeros((rows, width), dtype=dtype, device=device)

        return cls(
            x=room(config.hidden_size),
            h=room(config.hidden_size),
            qkv=room(config.query_size + 2 * config.key_value_size),
            seen=room(config.query_size),
            delta=room(config.hidden_size),
            gate_up=room(2 * config.intermediate_size),
            inner=room(config.intermediate_size),
            partials=_partials(rows, config, device),
            scratch=torch.zeros(max(scratch, 1), dtype=torch.float32, device=device),
        )

    def sums(self, group: int) -> Tensor:
        """Return the sums of a group, float32 [rows, splits, ranks]."""
        return self.partials[group]


def _partials(rows: int, config: LlamaConfig, device: torch.device) -> tuple[Tensor, ...]:
    shapes = []
    for modules in GROUPS:
        inputs = site_shape(config, LoraSite(0, modules[0]))[1]
        shapes.append((rows, splits_of(inputs), len(modules) * MAX_RANK))
    room = torch.zeros(max(map(math.prod, shapes)), dtype=torch.float32, device=device)
    return tuple(room[: math.prod(shape)].view(shape) for shape in shapes)
