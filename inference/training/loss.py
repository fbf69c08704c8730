"""The next-token loss with the vocabulary's gradient computed on the way.

The loss is a plain sum, so its gradient with respect to the hidden states is known as soon as the
logits are; computing both chunk by chunk keeps `[tokens, vocabulary]` out of memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 128


class HeadLoss(torch.autograd.Function):
    """Sum of -log softmax(hidden · head)[target] over rows; differentiable in `hidden` only."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        """Take float32 [tokens, hidden], [hidden, vocabulary], int64 [tokens]."""
        gradient = torch.empty_like(hidden)
        losses = []
        for start in range(0, hidden.shape[0], CHUNK):
            part = slice(start, start + CHUNK)
            target = targets[part, None]
            logits = hidden[part] @ head
            logits -= logits.amax(-1, keepdim=True)
            picked = logits.gather(1, target)
            weights = logits.exp_()
            total = weights.sum(-1, keepdim=True)
            losses.append(total.log() - picked)
            weights /= total
            weights.scatter_add_(1, target, torch.full_like(picked, -1.0))
            gradient[part] = weights @ head.t()
        ctx.save_for_backward(gradient)
        return torch.cat(losses).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None]:
        """Scale the gradient that `forward` kept."""
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0], None, None


def head_loss(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Sum the losses of rows float32 [tokens, hidden] against their next tokens."""
    loss: Tensor = HeadLoss.apply(hidden, head, targets)  # type: ignore[no-untyped-call]
    return loss
