"""What one forward and one activation-only backward say about every LoRA factor.

For a factor with input a_t and output gradient δ_t, the gradient of the loss is `Σ_t δ_t a_tᵀ`.
Only a_t and δ_t are kept: no weight, of the base or of the adapter, gets a gradient of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from inference.backbone.lora import LoraCapture, LoraPair, LoraPairs, Side
from inference.backbone.model import Backbone
from inference.backbone.sites import LoraSite


class Factor(NamedTuple):
    """One of the two matrices of a LoRA site, a linear layer of its own."""

    site: LoraSite
    side: Side

    @property
    def path(self) -> str:
        """Name the factor as adapter files do."""
        return f"{self.site.path}.lora_{self.side}"


class Passage(NamedTuple):
    """Tokens of which the model is asked to predict some."""

    tokens: tuple[int, ...]
    scored: tuple[bool, ...]
    """Whether the loss counts the prediction *of* the token at this position; never the first."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Inputs and output gradients of the factors; rows are padded with zero gradients."""

    inputs: dict[Factor, Tensor]
    """[batch, length, inputs] per factor."""
    gradients: dict[Factor, Tensor]
    """[batch, length, outputs] per factor."""
    losses: Tensor
    """[batch], summed over the scored tokens, in nats."""


@dataclass(frozen=True, slots=True)
class TracedModel:
    """A backbone with one adapter, in the precision in which gradients are taken."""

    backbone: Backbone
    pairs: LoraPairs
    factors: tuple[Factor, ...]
    precision: torch.dtype

    def trace(self, passages: Sequence[Passage], label_seed: Sequence[int] | None = None) -> Trace:
        """Trace the summed loss of several passages at once.

        Args:
            passages: predicted with their own next tokens as labels, unless a seed is given.
            label_seed: one number per passage; labels are then sampled from the model itself, by
                a counter-based generator, which makes the Fisher matrix the true one.
        """
        ids, rows, columns = _pad(passages)
        capture = LoraCapture({factor.site for factor in self.factors})
        hidden = self.backbone.hidden(ids, self.pairs, capture)
        logits = self.backbone.head(hidden[rows, columns])
        scores = logits.log_softmax(-1)
        labels = ids[rows, columns + 1]
        if label_seed is not None:
            labels = _sample(scores.detach(), rows, columns, label_seed)
        picked = -scores.gather(1, labels[:, None])[:, 0]
        torch.autograd.backward(picked.sum())
        losses = torch.zeros(len(passages), dtype=picked.dtype)
        losses.index_add_(0, rows, picked.detach())
        seen = {factor: capture[factor.site, factor.side] for factor in self.factors}
        return Trace(
            {factor: captured.input for factor, captured in seen.items()},
            {factor: captured.gradient for factor, captured in seen.items()},
            losses,
        )


def traced_model(
    backbone: Backbone,
    pairs: LoraPairs,
    *,
    layers: int | None = None,
    precision: torch.dtype = torch.float64,
) -> TracedModel:
    """Prepare a model for tracing.

    Args:
        backbone: the base model.
        pairs: the adapter's factors.
        layers: how many of the last layers are traced; None traces all of them. The backward pass
            stops at the first of these.
        precision: float64 makes the codes independent of threads, batches and machines in practice.
    """
    first = 0 if layers is None else max(0, backbone.config.num_hidden_layers - layers)
    sites = sorted((site for site in pairs if site.layer >= first), key=list(backbone.sites).index)
    factors = tuple(Factor(site, side) for site in sites for side in _SIDES)
    frozen = {
        site: LoraPair(_cast(pair.a, precision), _cast(pair.b, precision), pair.scale)
        for site, pair in pairs.items()
    }
    return TracedModel(_cast_backbone(backbone, precision), frozen, factors, precision)


_SIDES: tuple[Side, Side] = ("A", "B")


def _cast(tensor: Tensor, precision: torch.dtype) -> Tensor:
    return tensor.detach().to(precision)


def _cast_backbone(backbone: Backbone, precision: torch.dtype) -> Backbone:
    decoder = backbone.decoder
    if decoder.embedding.dtype == precision:
        return backbone
    layers = tuple(
        replace(
            layer,
            attention_norm=_cast(layer.attention_norm, precision),
            qkv=_cast(layer.qkv, precision),
            qkv_bias=None if layer.qkv_bias is None else _cast(layer.qkv_bias, precision),
            out=_cast(layer.out, precision),
            feed_norm=_cast(layer.feed_norm, precision),
            gate_up=_cast(layer.gate_up, precision),
            down=_cast(layer.down, precision),
        )
        for layer in decoder.layers
    )
    wide = replace(
        decoder,
        embedding=_cast(decoder.embedding, precision),
        layers=layers,
        final_norm=_cast(decoder.final_norm, precision),
        head=_cast(decoder.head, precision),
        cos=_cast(decoder.cos, precision),
        sin=_cast(decoder.sin, precision),
    )
    return replace(backbone, decoder=wide)


def _pad(passages: Sequence[Passage]) -> tuple[Tensor, Tensor, Tensor]:
    """Pad on the right; return ids int64 [batch, length] and the positions that predict."""
    ids = torch.zeros(len(passages), max(len(p.tokens) for p in passages), dtype=torch.int64)
    rows, columns = [], []
    for row, passage in enumerate(passages):
        ids[row, : len(passage.tokens)] = torch.tensor(passage.tokens)
        scored = [at - 1 for at, counts in enumerate(passage.scored) if counts]
        if scored and scored[0] < 0:
            raise ValueError("nothing predicts a passage's first token: do not score it")
        rows += [row] * len(scored)
        columns += scored
    return ids, torch.tensor(rows, dtype=torch.int64), torch.tensor(columns, dtype=torch.int64)


def _sample(scores: Tensor, rows: Tensor, columns: Tensor, seeds: Sequence[int]) -> Tensor:
    """Draw one label per scored position by inverse cumulative probability, int64 [positions].

    The uniform of a position depends only on its passage's seed and its place, not on the batch.
    """
    width = int(columns.max()) + 1 if len(columns) else 0
    uniforms = np.stack([np.random.Generator(np.random.Philox(s)).random(width) for s in seeds])
    drawn = torch.from_numpy(uniforms)[rows, columns]
    cumulative = scores.to(torch.float64).exp().cumsum(-1)
    labels = torch.searchsorted(cumulative, drawn[:, None] * cumulative[:, -1:])[:, 0]
    return labels.clamp(max=scores.shape[1] - 1)
