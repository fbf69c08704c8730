"""Which sites an adapter changes, with what rank and scale; PEFT's rules for patterns.

Names in `targets`, `rank_pattern` and `alpha_pattern` are dotted module paths or their ends.
Regular expressions, which PEFT also takes, are refused: an adapter comes from a stranger, and a
pattern can run for ever.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.backbone.config import LlamaConfig
from inference.backbone.sites import MODULES, LoraSite, lora_sites

MAX_RANK = 512
PLAIN = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """The shape of an adapter; raises AdapterRefused for values that no adapter can have."""

    rank: int
    alpha: float
    targets: tuple[str, ...] = MODULES
    rslora: bool = False
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    layers: tuple[int, ...] | None = None
    excluded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.targets:
            raise AdapterRefused(AdapterReason.UNKNOWN_TARGET, "target_modules is empty")
        for name in (*self.targets, *self.rank_pattern, *self.alpha_pattern, *self.excluded):
            if not PLAIN.fullmatch(name):
                raise AdapterRefused(
                    AdapterReason.UNSUPPORTED_OPTION,
                    f"{name!r} is a regular expression; list module names instead",
                )
        for rank in (self.rank, *self.rank_pattern.values()):
            if not 1 <= rank <= MAX_RANK:
                raise AdapterRefused(
                    AdapterReason.WRONG_SHAPE, f"rank {rank} is not in 1…{MAX_RANK}"
                )
        for alpha in (self.alpha, *self.alpha_pattern.values()):
            if not math.isfinite(alpha):
                raise AdapterRefused(AdapterReason.NOT_FINITE, f"lora_alpha is {alpha}")

    def sites(self, config: LlamaConfig) -> tuple[LoraSite, ...]:
        """List the changed sites in canonical order; raises UNKNOWN_TARGET."""
        every = lora_sites(config)
        for name in self.targets:
            if not any(_ends_with(site.path, name) for site in every):
                raise AdapterRefused(
                    AdapterReason.UNKNOWN_TARGET,
                    f"{name} is no linear layer of this model; known are {', '.join(MODULES)}",
                )
        return tuple(site for site in every if self._covers(site))

    def _covers(self, site: LoraSite) -> bool:
        if self.layers is not None and site.layer not in self.layers:
            return False
        if any(_ends_with(site.path, name) for name in self.excluded):
            return False
        return any(_ends_with(site.path, name) for name in self.targets)

    def rank_of(self, site: LoraSite) -> int:
        """Return the site's rank: the first matching pattern, else the adapter's rank."""
        return next(
            (r for name, r in self.rank_pattern.items() if _ends_with(site.path, name)), self.rank
        )

    def scale_of(self, site: LoraSite) -> float:
        """Return the site's scale, rounded to float32: α/r, or α/√r for rsLoRA (2312.03732)."""
        alpha = next(
            (a for name, a in self.alpha_pattern.items() if _ends_with(site.path, name)), self.alpha
        )
        rank = self.rank_of(site)
        return float(np.float32(alpha / (math.sqrt(rank) if self.rslora else rank)))


def _ends_with(path: str, name: str) -> bool:
    return path == name or path.endswith(f".{name}")
