"""EK-FAC in the LoRA subspace: the basis and weights that make influence a plain dot product.

Per factor, `A = E[a aᵀ] = Q_A·Q_Aᵀ`, `S = E[δ δᵀ] = Q_S·Q_Sᵀ` and `Λ = E[(Q_Sᵀ G Q_A)²]`, with
labels sampled from the model (George et al. 2018, arXiv 1806.03884; Grosse et al. 2023, arXiv
2308.03296).
Whitened coordinates are `w = (Λ + λ)^(-1/2) ∘ (Q_Sᵀ G Q_A)` with `λ = 0.1·mean Λ`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.attribution.arrays import Float64s, Int64s
from inference.attribution.basis import Basis, FactorBasis, quantise_factor
from inference.attribution.gradients import Factor, Passage, Trace, TracedModel

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
) -> Basis:
    """Fit, choose the coordinates with most of the records' whitened energy, and quantise."""
    if not passages:
        raise ValueError("an index needs at least one record")
    count = min(options.passages, len(passages))
    passages = [passages[at * len(passages) // count] for at in range(count)]
    frames = _eigenbases(model, passages, options, progress)
    scales = {
        factor: _inverse_root(moment, options.damping)
        for factor, moment in _eigenvalues(model, passages, frames, options, progress).items()
    }
    energies = _energies(model, passages, frames, scales, options, progress)
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


def _eigenbases(
    model: TracedModel, passages: Sequence[Passage], options: FitOptions, progress: Progress
) -> Frames:
    """Compute (Q_S float64 [outputs, outputs], Q_A float64 [inputs, inputs]) of every factor."""
    sums: dict[Factor, tuple[Tensor, Tensor]] = {}
    for trace in _sampled_traces(model, passages, options, progress, "factors"):
        for factor in model.factors:
            sides = (trace.gradients[factor], trace.inputs[factor])
            # Padding adds nothing to S; its inputs are masked out of A by the zero gradients.
            alive = sides[0].abs().sum(-1, keepdim=True) > 0
            outer, inner = (_gram(side * alive) for side in sides)
            if factor in sums:
                outer, inner = sums[factor][0] + outer, sums[factor][1] + inner
            sums[factor] = (outer, inner)
    return {
        factor: (torch.linalg.eigh(outer)[1], torch.linalg.eigh(inner)[1])
        for factor, (outer, inner) in sums.items()
    }


def _gram(rows: Tensor) -> Tensor:
    flat = rows.reshape(-1, rows.shape[-1]).to(torch.float64)
    return flat.t() @ flat


def _eigenvalues(
    model: TracedModel,
    passages: Sequence[Passage],
    frames: Frames,
    options: FitOptions,
    progress: Progress,
) -> dict[Factor, Tensor]:
    """Compute Λ = E[(Q_Sᵀ G Q_A)²] with sampled labels, float64 [outputs, inputs] per factor."""
    sums: dict[Factor, Tensor] = {}
    for trace in _sampled_traces(model, passages, options, progress, "eigenvalues"):
        for factor in model.factors:
            squares = _rotated(trace, factor, frames).square().sum(0)
            sums[factor] = sums[factor] + squares if factor in sums else squares
    return {factor: total / len(passages) for factor, total in sums.items()}


def _energies(
    model: TracedModel,
    passages: Sequence[Passage],
    frames: Frames,
    scales: dict[Factor, Tensor],
    options: FitOptions,
    progress: Progress,
) -> dict[Factor, Tensor]:
    """Compute each coordinate's mean share of a record's whitened energy, with its true labels.

    A share, because a few records of large gradients would otherwise choose for all.
    """
    shares: dict[Factor, Tensor] = {}
    for trace in _true_traces(model, passages, options, progress):
        squares = {f: (_rotated(trace, f, frames) * scales[f]).square() for f in model.factors}
        totals = torch.stack([square.sum((1, 2)) for square in squares.values()]).sum(0)
        parts = torch.where(totals > 0, 1 / totals, 0.0)
        for factor, square in squares.items():
            share = torch.einsum("boi,b->oi", square, parts)
            shares[factor] = shares[factor] + share if factor in shares else share
    return shares


def _rotated(trace: Trace, factor: Factor, frames: Frames) -> Tensor:
    """Compute Q_Sᵀ G Q_A of each passage, float64 [batch, outputs, inputs]."""
    outputs, inputs = frames[factor]
    left = trace.gradients[factor].to(torch.float64) @ outputs
    return left.transpose(1, 2) @ (trace.inputs[factor].to(torch.float64) @ inputs)


def _sampled_traces(
    model: TracedModel,
    passages: Sequence[Passage],
    options: FitOptions,
    progress: Progress,
    stage: str,
) -> Iterator[Trace]:
    done = 0
    for group in batches(model, passages, options.batch_tokens):
        # A passage's labels depend on the seed and its own place, whatever shares its batch.
        seeds = [(options.seed << 32) + position for position in group]
        yield model.trace([passages[position] for position in group], seeds)
        done += len(group)
        progress(stage, done, len(passages))


def _true_traces(
    model: TracedModel, passages: Sequence[Passage], options: FitOptions, progress: Progress
) -> Iterator[Trace]:
    done = 0
    for group in batches(model, passages, options.batch_tokens):
        yield model.trace([passages[position] for position in group])
        done += len(group)
        progress("energy", done, len(passages))
