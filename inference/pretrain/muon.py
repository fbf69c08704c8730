"""Optimise matrices by orthogonalised momentum (Muon; Jordan et al., 2024)."""

from collections.abc import Callable, Iterable
from typing import overload

import torch
from torch import Tensor
from torch.optim import Optimizer

_QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan et al.: singular values go to about 0.7 to 1.2
_ROUNDS = 5
_RMS = 0.2  # of an update's entries, as AdamW's usually are (Liu et al., 2025)


def orthogonalise(batch: Tensor) -> Tensor:
    """Push the singular values of each matrix [count, rows, columns] towards 1, in bfloat16."""
    x = batch.to(torch.bfloat16)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT.contiguous()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    first, third, fifth = _QUINTIC
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(
            x, torch.baddbmm(gram, gram, gram, beta=third, alpha=fifth), x, beta=first
        )
    return (x.mT if tall else x).to(batch.dtype)


class Muon(Optimizer):
    """Step along Nesterov momentum, orthogonalised; matrices of one shape go through as a batch."""

    def __init__(
        self, matrices: Iterable[Tensor], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every matrix that has a gradient."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(matrix.shape, []).append(matrix)
            for matrices in by_shape.values():
                self._step_batch(matrices, group["lr"], group["momentum"], group["weight_decay"])
        return loss

    def _step_batch(
        self, matrices: list[Tensor], lr: float, momentum: float, weight_decay: float
    ) -> None:
        directions: list[Tensor] = []
        for matrix in matrices:
            gradient = matrix.grad
            if gradient is None:
                continue
            mean = self.state[matrix].setdefault("mean", torch.zeros_like(matrix))
            mean.lerp_(gradient, 1 - momentum)
            directions.append(gradient.lerp(mean, momentum))
        scale = lr * _RMS * max(matrices[0].shape) ** 0.5
        for matrix, update in zip(matrices, orthogonalise(torch.stack(directions)), strict=True):
            matrix.mul_(1 - lr * weight_decay).add_(update, alpha=-scale)
