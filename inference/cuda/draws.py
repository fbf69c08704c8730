"""Seeded draws on the device, for the rows whose filters can be told from a short summary."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.cuda.kernel_set import KernelSet
from inference.executor import Draw
from inference.kernels.sampler import Draws
from inference.sampling import Logits, SamplingParams, choose, philox_key

Threshold = tuple[float, int]
"""A logit and an id: what is greater is kept, and what is equal with an id not above."""


class _Rows(Protocol):
    def greedy(self, row: int) -> int: ...

    def logits(self, row: int) -> Logits: ...

    def threshold(self, row: int, params: SamplingParams) -> Threshold | None: ...


def threshold_of(
    values: NDArray[np.float32],
    ids: NDArray[np.int32],
    vocabulary: int,
    params: SamplingParams,
    mass: Callable[[], float],
) -> Threshold | None:
    """Find the last token that the filters keep, given the greatest logits, largest first.

    `mass` is the sum over all tokens of exp(score - greatest score). None where the last token may
    lie behind the given ones.
    """
    count = len(values)
    scores = values.astype(np.float64) / params.temperature
    kept = count if params.top_k == 0 else min(params.top_k, count)
    complete = count == vocabulary or 0 < params.top_k <= count
    if params.top_p < 1.0:
        if params.top_k and not complete:
            return None  # the mass is that of more tokens than are given
        weights = np.exp(scores[:kept] - scores[0])
        before = np.cumsum(weights) - weights
        inside = int((before < params.top_p * (weights.sum() if complete else mass())).sum())
        complete, kept = complete or inside < kept, inside
    if params.min_p > 0.0:
        inside = int((scores[:kept] >= scores[0] + math.log(params.min_p)).sum())
        complete, kept = complete or inside < kept, inside
    if complete:
        return float(values[kept - 1]), int(ids[kept - 1])
    if params.top_k or params.top_p < 1.0 or params.min_p > 0.0:
        return None
    return -math.inf, 2**31 - 1


def draw_rows(
    rows: _Rows,
    logits: Tensor,
    places: Sequence[int],
    wanted: Sequence[Draw],
    kernels: KernelSet,
) -> list[int]:
    """Draw each, with one launch for all that the device can draw.

    `places` says where a row lies in float32 [rows, vocabulary].
    """
    drawn: dict[int, int] = {}
    on_device: list[tuple[int, Draw, Threshold]] = []
    for number, want in enumerate(wanted):
        if want.params.temperature == 0.0:
            drawn[number] = rows.greedy(want.row)
            continue
        threshold = rows.threshold(want.row, want.params)
        if threshold is None:
            drawn[number] = choose(rows.logits(want.row), want.params, want.index)
        else:
            on_device.append((number, want, threshold))
    if on_device:
        chosen = [(want, floor) for _, want, floor in on_device]
        lines = [places[want.row] for want, _ in chosen]
        tokens = _launch(_lines(logits, lines), chosen, kernels)
        drawn.update(zip((number for number, _, _ in on_device), tokens, strict=True))
    return [drawn[number] for number in range(len(wanted))]


def _launch(
    logits: Tensor, wanted: Sequence[tuple[Draw, Threshold]], kernels: KernelSet
) -> list[int]:
    device = logits.device

    def vector(values: Sequence[float] | Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    words = [_words(want.params.seed) for want, _ in wanted]
    draws = Draws(
        temperature=vector([want.params.temperature for want, _ in wanted], torch.float64),
        key=torch.tensor(words, dtype=torch.int64, device=device),
        index=vector([want.index for want, _ in wanted], torch.int64),
        floor=vector([floor for _, (floor, _) in wanted], torch.float32),
        floor_id=vector([token for _, (_, token) in wanted], torch.int32),
    )
    count, vocabulary = logits.shape
    tokens = torch.empty(count, dtype=torch.int32, device=device)
    scratch = torch.empty(
        kernels.sampler_scratch(count, vocabulary), dtype=torch.uint8, device=device
    )
    kernels.draw(logits, draws, scratch, tokens)
    return [int(token) for token in tokens.cpu()]


def _lines(logits: Tensor, lines: list[int]) -> Tensor:
    consecutive = logits[lines[0] : lines[0] + len(lines)]
    if lines == list(range(lines[0], lines[0] + len(lines))) and not consecutive.data_ptr() % 16:
        return consecutive
    return logits.index_select(0, torch.tensor(lines, device=logits.device))


def _words(seed: int) -> tuple[int, int]:
    key = philox_key(seed)
    return _signed(key & (1 << 64) - 1), _signed(key >> 64)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word
