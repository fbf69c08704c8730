"""EK-FAC in the LoRA subspace: the basis and weights that make influence a plain dot product.

Per factor, `A = E[a aᵀ] = Q_A·Q_Aᵀ`, `S = E[δ δᵀ] = Q_S·Q_Sᵀ` and `Λ = E[(Q_Sᵀ G Q_A)²]`, with
labels sampled from the model (George et al. 2018, arXiv 1806.03884; Grosse et al. 2023, arXiv
2308.03296).
Whitened coordinates are `w = (Λ + λ)^(-1/2) ∘ (Q_Sᵀ G Q_A)` with `λ = 0.1·mean Λ`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.attribution.arrays import Float64s, Int64s
from inference.attribution.basis import Basis, FactorBasis, quantise_factor
from inference.attribution.gradients import Factor, Passage, Trace, TracedModel
from inference.attribution.parts import HERE, Part, Parts

Progress = Callable[[str, int, int], None]
"""Told the stage, how many passages are done and how many there are."""


Frames = dict[Factor, tuple[Tensor, Tensor]]
"""Eigenvectors of each factor as columns: of its output gradients, and of its inputs."""


MOST_LOGITS = 1 << 24


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How a basis is fitted."""

    coordinates: int = 8192
    damping: float = 0.1
    seed: int = 0
    passages: int = 512
    """The curvature is fitted on at most so many records, evenly spaced."""
    batch_tokens: int = 4096


def batches(
    model: TracedModel, passages: Sequence[Passage], batch_tokens: int
) -> Iterator[list[int]]:
    """Group positions of passages of like length so that padded batches stay within a size.

    The size shrinks with the vocabulary, which bounds the memory of a batch's logits.
    """
    batch_tokens = min(batch_tokens, MOST_LOGITS // model.backbone.config.vocab_size)
    order = sorted(range(len(passages)), key=lambda i: len(passages[i].tokens))
    group: list[int] = []
    for position in order:
        if group and (len(group) + 1) * len(passages[position].tokens) > batch_tokens:
            yield group
            group = []
        group.append(position)
    if group:
        yield group


def fit_basis(
    model: TracedModel,
    passages: Sequence[Passage],
    options: FitOptions,
    progress: Progress = silent,
    parts: Parts = HERE,
) -> Basis:
    """Fit, choose the coordinates with most of the records' whitened energy, and quantise."""
    if not passages:
        raise ValueError("an index needs at least one record")
    count = min(options.passages, len(passages))
    passages = [passages[at * len(passages) // count] for at in range(count)]
    fitting = _Fitting(model, passages, options, progress, parts)
    frames = {
        factor: (torch.linalg.eigh(outer)[1], torch.linalg.eigh(inner)[1])
        for factor, (outer, inner) in fitting.sums("factors", Moments(options.seed)).items()
    }
    squares = fitting.sums("eigenvalues", Squares(options.seed, frames))
    scales = {
        factor: _inverse_root(total / count, options.damping)
        for factor, (total,) in squares.items()
    }
    energies = {
        factor: share for factor, (share,) in fitting.sums("energy", Shares(frames, scales)).items()
    }
    whitened = [energies[factor].flatten().numpy() for factor in model.factors]
    chosen = choose_coordinates(whitened, options.coordinates)
    factors: list[FactorBasis] = []
    for number, (factor, coordinates) in enumerate(zip(model.factors, chosen, strict=True)):
        if len(coordinates):
            outputs, inputs = (frame.numpy() for frame in frames[factor])
            scale = scales[factor].flatten().numpy()[coordinates]
            factors.append(quantise_factor(factor, number, (outputs, inputs), coordinates, scale))
    if not factors:
        raise ValueError("no gradient reaches the adapter: train it before it is indexed")
    return Basis(tuple(factors))


def _inverse_root(moment: Tensor, damping: float) -> Tensor:
    """Compute `(Λ + λ)^(-1/2)`; zero for a factor that never gets a gradient."""
    damped = moment + damping * moment.mean()
    return torch.where(damped > 0, damped.rsqrt(), 0.0)


def choose_coordinates(energies: Sequence[Float64s], budget: int) -> list[Int64s]:
    """Choose the coordinates of largest energy, int64 per factor, ascending.

    Ties go to the earlier factor and coordinate. A factor's number is cut to a multiple of four,
    which fills whole bytes of codes.
    """
    owner = np.concatenate([np.full(len(e), i) for i, e in enumerate(energies)])
    inside = np.concatenate([np.arange(len(e)) for e in energies])
    energy = np.concatenate(energies)
    best = np.argsort(-energy, kind="stable")[:budget]
    best = best[energy[best] > 0]
    chosen = []
    for number in range(len(energies)):
        ranked = inside[best[owner[best] == number]]
        chosen.append(np.sort(ranked[: len(ranked) // 4 * 4]))
    return chosen


Sums = dict[Factor, tuple[Tensor, ...]]
"""What batches add up to, per factor."""


@dataclass(frozen=True, slots=True)
class _Fitting:
    model: TracedModel
    passages: Sequence[Passage]
    options: FitOptions
    progress: Progress
    parts: Parts

    def sums(self, stage: str, part: Part) -> Sums:
        """Add up the parts of all batches, in their order."""
        groups = list(batches(self.model, self.passages, self.options.batch_tokens))
        totals: Sums = {}
        done = 0
        found = self.parts.each(self.model, self.passages, groups, part)
        for group, added in zip(groups, found, strict=True):
            totals = {f: _plus(totals[f], sums) if totals else sums for f, sums in added.items()}
            done += len(group)
            self.progress(stage, done, len(self.passages))
        return totals


def _plus(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


@dataclass(frozen=True, slots=True)
class Moments:
    """A part of (S float64 [outputs, outputs], A float64 [inputs, inputs]) of every factor."""

    seed: int

    def __call__(
        self, model: TracedModel, passages: Sequence[Passage], group: Sequence[int]
    ) -> Sums:
        """Add up one batch."""
        trace = model.trace(passages, _label_seeds(self.seed, group))
        sums: dict[Factor, Any] = {}
        for factor in model.factors:
            sides = (trace.gradients[factor], trace.inputs[factor])
            # Padding adds nothing to S; its inputs are masked out of A by the zero gradients.
            alive = sides[0].abs().sum(-1, keepdim=True) > 0
            sums[factor] = tuple(_gram(side * alive) for side in sides)
        return sums


def _gram(rows: Tensor) -> Tensor:
    flat = rows.reshape(-1, rows.shape[-1]).to(torch.float64)
    return flat.t() @ flat


@dataclass(frozen=True, slots=True)
class Squares:
    """A part of the sum of (Q_Sᵀ G Q_A)² with sampled labels, float64 [outputs, inputs]."""

    seed: int
    frames: Frames

    def __call__(
        self, model: TracedModel, passages: Sequence[Passage], group: Sequence[int]
    ) -> Sums:
        """Add up one batch."""
        trace = model.trace(passages, _label_seeds(self.seed, group))
        return {f: (_rotated(trace, f, self.frames).square().sum(0),) for f in model.factors}


@dataclass(frozen=True, slots=True)
class Shares:
    """A part of each coordinate's share of the records' whitened energy, with their true labels.

    A share, because a few records of large gradients would otherwise choose for all.
    """

    frames: Frames
    scales: dict[Factor, Tensor]

    def __call__(
        self, model: TracedModel, passages: Sequence[Passage], group: Sequence[int]
    ) -> Sums:
        """Add up one batch."""
        trace = model.trace(passages)
        squares = {
            f: (_rotated(trace, f, self.frames) * self.scales[f]).square() for f in model.factors
        }
        totals = torch.stack([square.sum((1, 2)) for square in squares.values()]).sum(0)
        parts = torch.where(totals > 0, 1 / totals, 0.0)
        return {f: (torch.einsum("boi,b->oi", square, parts),) for f, square in squares.items()}


def _rotated(trace: Trace, factor: Factor, frames: Frames) -> Tensor:
    """Compute Q_Sᵀ G Q_A of each passage, float64 [batch, outputs, inputs]."""
    outputs, inputs = frames[factor]
    left = trace.gradients[factor].to(torch.float64) @ outputs
    return left.transpose(1, 2) @ (trace.inputs[factor].to(torch.float64) @ inputs)


def _label_seeds(seed: int, group: Sequence[int]) -> list[int]:
    """Give each passage labels by the seed and its own place, whatever shares its batch."""
    return [(seed << 32) + position for position in group]
