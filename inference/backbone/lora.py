"""Low-rank changes of linear layers as explicit operations, so that inputs and gradients show.

A site computes `out = x·Wᵀ + (scale·(x·Aᵀ))·Bᵀ`: A float32 [rank, inputs], B [outputs, rank]
(Hu et al. 2021, arXiv 2106.09685).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from inference.backbone.sites import LoraSite

Side = Literal["A", "B"]


@dataclass(frozen=True, slots=True)
class LoraPair:
    """The two factors of one site and their scale (`alpha/rank`, or `alpha/√rank` for rsLoRA)."""

    a: Tensor
    b: Tensor
    scale: float

    @property
    def rank(self) -> int:
        """Number of rows of A."""
        return int(self.a.shape[0])


LoraPairs = Mapping[LoraSite, LoraPair]


@dataclass(frozen=True, slots=True)
class Captured:
    """Input and output of one factor in one forward pass.

    Attributes:
        input: float32 [..., inputs]; `a_t` for side A, `scale·A·a_t` for side B. Detached.
        output: float32 [..., outputs]; keeps its gradient after `backward`.
    """

    input: Tensor
    output: Tensor

    @property
    def gradient(self) -> Tensor:
        """Gradient of the loss with respect to the output."""
        if self.output.grad is None:
            raise ValueError("run backward() on a loss of the captured forward pass first")
        return self.output.grad


class LoraCapture:
    """Collects what every captured factor saw; pass a fresh one to each forward pass.

    After `loss.backward()`, `capture[site, "A"].input` and `.gradient` are `a_t` and `δ_t` of that
    factor, so the gradient of the loss with respect to A is `Σ_t δ_t a_tᵀ`. The adapter's own
    tensors need no gradient: then the backward pass computes activations only.
    """

    def __init__(self, sites: Collection[LoraSite] | None = None) -> None:
        self._sites = None if sites is None else frozenset(sites)
        self._seen: dict[tuple[LoraSite, Side], Captured] = {}

    def record(self, site: LoraSite, side: Side, entered: Tensor, output: Tensor) -> None:
        """Keep one factor's input and output."""
        if self._sites is not None and site not in self._sites:
            return
        if output.requires_grad:
            output.retain_grad()
        else:
            output.requires_grad_(True)
        self._seen[site, side] = Captured(entered.detach(), output)

    def __getitem__(self, key: tuple[LoraSite, Side]) -> Captured:
        return self._seen[key]

    def __len__(self) -> int:
        return len(self._seen)

    def sites(self) -> tuple[LoraSite, ...]:
        """List the captured sites in canonical (forward) order."""
        return tuple(site for site, side in self._seen if side == "A")


def lora_delta(x: Tensor, pair: LoraPair, site: LoraSite, capture: LoraCapture | None) -> Tensor:
    """Compute the low-rank change of one site for float32 [..., inputs]."""
    shrunk = x @ pair.a.t()
    if capture is not None:
        capture.record(site, "A", x, shrunk)
    scaled = shrunk * pair.scale
    expanded = scaled @ pair.b.t()
    if capture is not None:
        capture.record(site, "B", scaled, expanded)
    return expanded
