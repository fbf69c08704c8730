"""The hyper-parameters of a training run; all of them stand in the receipt."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inference.adapters.spec import LoraSpec
from inference.backbone.sites import MODULES
from inference.training.errors import TrainingReason, TrainingRefused


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Raises BAD_PARAMETER for values outside their range.

    Attributes:
        rank, alpha, targets: shape of the adapter.
        epochs: passes over the records.
        batch_records: records per step.
        learning_rate: peak; linear warm-up, then a cosine down to a tenth.
        warmup: share of the steps that warm up.
        weight_decay: decoupled (AdamW, arXiv 1711.05101).
        clip: largest norm of the whole gradient.
        held_out: share of the records that are only measured.
        seed: fixes initial values, split and order.
    """

    rank: int = 32
    alpha: float = 32.0
    targets: tuple[str, ...] = MODULES
    epochs: int = 8
    batch_records: int = 4
    learning_rate: float = 6e-3
    warmup: float = 0.05
    weight_decay: float = 0.0
    clip: float = 1.0
    held_out: float = 0.04
    seed: int = 0

    def __post_init__(self) -> None:
        sane = {
            "epochs": self.epochs >= 1,
            "batch_records": self.batch_records >= 1,
            "learning_rate": math.isfinite(self.learning_rate) and self.learning_rate > 0,
            "warmup": 0 <= self.warmup <= 1,
            "weight_decay": math.isfinite(self.weight_decay) and self.weight_decay >= 0,
            "clip": self.clip > 0,
            "held_out": 0 <= self.held_out <= 0.5,
            "seed": 0 <= self.seed < 2**64,
        }
        for name, good in sane.items():
            if not good:
                raise TrainingRefused(
                    TrainingReason.BAD_PARAMETER, f"{name} = {getattr(self, name)} makes no sense"
                )

    @property
    def spec(self) -> LoraSpec:
        """Describe the adapter that comes out."""
        return LoraSpec(rank=self.rank, alpha=self.alpha, targets=self.targets)

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step (from 0)."""
        warm = max(1, round(self.warmup * steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, steps - warm)
        return self.learning_rate * (0.55 + 0.45 * math.cos(math.pi * done))
