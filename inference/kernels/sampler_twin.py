"""What the sampler's kernels compute, in torch and numpy: same arguments, any device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.kernels.sampler import Draws

STEPS = 16.0


def draw(logits: Tensor, draws: Draws, scratch: Tensor | None, tokens: Tensor) -> None:
    """Draw; see `sampler.draw`."""
    for row, line in enumerate(logits.double()):
        temperature = float(draws.temperature[row])
        if temperature == 0.0:
            tokens[row] = _first(line)
            continue
        floor, floor_id = float(draws.floor[row]), int(draws.floor_id[row])
        ids = torch.arange(len(line), device=line.device)
        kept = (line > floor) | ((line == floor) & (ids <= floor_id) & (line > -torch.inf))
        words = noise_words(draws.key[row], int(draws.index[row]), len(line))
        uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        noise = torch.from_numpy(-np.log(-np.log(uniform))).to(line.device)
        tokens[row] = _first(torch.where(kept, line / temperature + noise, torch.nan))


def greatest(
    logits: Tensor, scratch: Tensor | None, values: Tensor, ids: Tensor, log_sum: Tensor
) -> None:
    """Find the greatest logits; see `sampler.greatest`."""
    wide = logits.float()
    _take(wide, values, ids, -torch.inf)
    log_sum.copy_(torch.logsumexp(wide.double(), -1))


def greatest_steps(logits: Tensor, scratch: Tensor | None, steps: Tensor, ids: Tensor) -> None:
    """Find the greatest sixteenths; see `sampler.greatest_steps`."""
    limit = 2.0**31 - 1
    rounded = torch.floor(logits.double() * STEPS + 0.5).clamp(-limit, limit)
    _take(rounded, steps, ids, 0)


def noise_words(key: Tensor, index: int, size: int) -> NDArray[np.uint64]:
    """Return the first words of the Philox stream of one output position."""
    low, high = (int(word) % 2**64 for word in key)
    generator = np.random.Philox(counter=[0, 0, index, 0], key=high << 64 | low)
    words: NDArray[np.uint64] = generator.random_raw(size)
    return words


def _first(scores: Tensor) -> int:
    numbers = scores[~scores.isnan()]
    return int(torch.nonzero(scores == numbers.max())[0, 0]) if len(numbers) else -1


def _take(ranks: Tensor, values: Tensor, ids: Tensor, missing: float) -> None:
    count = min(ids.shape[1], ranks.shape[1])
    ordered, order = torch.sort(ranks, dim=-1, descending=True, stable=True)
    values.fill_(missing)
    ids.fill_(-1)
    values[:, :count] = ordered[:, :count].to(values.dtype)
    ids[:, :count] = order[:, :count].to(ids.dtype)
