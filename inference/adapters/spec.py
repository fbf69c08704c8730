"""Which sites an adapter changes, with what rank and scale, in the words of who trains one.

Names in `targets`, `excluded`, `rank_pattern` and `alpha_pattern` are dotted module paths or their
ends, without regular expressions: those of PEFT folders are resolved where the folder is read.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.backbone.config import LlamaConfig
from inference.backbone.sites import MODULES, LoraSite, lora_sites

MAX_RANK = 512
PLAIN = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


class SiteShape(NamedTuple):
    """Rank of a site and its scale, a float32 value."""

    rank: int
    scale: float


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
            check_rank(rank)
        for alpha in (self.alpha, *self.alpha_pattern.values()):
            check_alpha(alpha)

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
        return site_scale(alpha, self.rank_of(site), self.rslora)

    def shape(self, config: LlamaConfig) -> dict[LoraSite, SiteShape]:
        """Give rank and scale of every changed site; raises UNKNOWN_TARGET."""
        return {
            site: SiteShape(self.rank_of(site), self.scale_of(site)) for site in self.sites(config)
        }


def spec_of(shape: Mapping[LoraSite, SiteShape], config: LlamaConfig) -> LoraSpec:
    """Describe sites: the commonest rank and alpha for all, patterns for the others.

    A module that is changed in every layer that the adapter touches is named once. An alpha is the
    shortest decimal number that gives the scale, whatever it was called when it was trained.
    """
    if not shape:
        raise AdapterRefused(AdapterReason.UNKNOWN_TARGET, "the adapter changes nothing")
    layers = {site.layer for site in shape}
    counts = Counter(site.module for site in shape)
    whole = [module for module in MODULES if counts[module] == len(layers)]
    targets = [*whole, *(site.path for site in shape if site.module not in whole)]
    (rank, scale), _ = Counter(shape.values()).most_common(1)[0]
    alpha = _alpha(scale, rank)
    alphas = {site.path: _alpha(s, r) for site, (r, s) in shape.items()}
    return LoraSpec(
        rank=rank,
        alpha=alpha,
        targets=tuple(targets),
        rank_pattern={site.path: r for site, (r, _) in shape.items() if r != rank},
        alpha_pattern={path: a for path, a in alphas.items() if a != alpha},
        layers=None if len(layers) == config.num_hidden_layers else tuple(sorted(layers)),
    )


def site_scale(alpha: float, rank: int, rslora: bool) -> float:
    """Return α/r, or α/√r for rsLoRA (2312.03732), rounded to float32; raises NOT_FINITE."""
    with np.errstate(over="ignore"):
        scale = float(np.float32(alpha / (math.sqrt(rank) if rslora else rank)))
    if not math.isfinite(scale):
        raise AdapterRefused(AdapterReason.NOT_FINITE, f"lora_alpha {alpha} overflows")
    return scale


def check_rank(rank: int) -> int:
    """Return a rank that an adapter can have; raises WRONG_SHAPE."""
    if not 1 <= rank <= MAX_RANK:
        raise AdapterRefused(AdapterReason.WRONG_SHAPE, f"rank {rank} is not in 1…{MAX_RANK}")
    return rank


def check_alpha(alpha: float) -> float:
    """Return a finite alpha; raises NOT_FINITE."""
    if not math.isfinite(alpha):
        raise AdapterRefused(AdapterReason.NOT_FINITE, f"lora_alpha is {alpha}")
    return alpha


def _alpha(scale: float, rank: int) -> float:
    exact = scale * rank
    rounded = (round(exact, digits) for digits in range(16))
    return next((a for a in rounded if float(np.float32(a / rank)) == scale), exact)


def _ends_with(path: str, name: str) -> bool:
    return path == name or path.endswith(f".{name}")
