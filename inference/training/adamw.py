"""AdamW over one flat vector (Loshchilov and Hutter, arXiv 1711.05101).

The trained factors are views of the vector, so a step is a handful of operations, however many.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BETA1, BETA2 = 0.9, 0.999
EPSILON = 1e-8


class FlatAdamW:
    """Holds float32 [parameters] and its two moments."""

    def __init__(self, values: Tensor, weight_decay: float, clip: float) -> None:
        self._values = values
        self._first = torch.zeros_like(values)
        self._second = torch.zeros_like(values)
        self._decay = weight_decay
        self._clip = clip
        self._step = 0

    def step(self, gradients: Sequence[Tensor], divisor: float, rate: float) -> None:
        """Update in place with `gradients / divisor`, shrunk to the norm `clip` if longer."""
        self._step += 1
        gradient = torch.cat([part.reshape(-1) for part in gradients]).div_(divisor)
        norm = float(gradient.norm())
        if norm > self._clip:
            gradient.mul_(self._clip / norm)
        self._first.lerp_(gradient, 1 - BETA1)
        self._second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        spread = (self._second / (1 - BETA2**self._step)).sqrt_().add_(EPSILON)
        self._values.mul_(1 - rate * self._decay)
        self._values.addcdiv_(self._first, spread, value=-rate / (1 - BETA1**self._step))


def flatten(parts: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Copy tensors into one vector; also return them as leaves that share its memory."""
    vector = torch.cat([part.detach().reshape(-1) for part in parts])
    leaves = []
    start = 0
    for part in parts:
        view = vector[start : start + part.numel()].view(part.shape)
        leaves.append(view.detach().requires_grad_())
        start += part.numel()
    return vector, leaves
