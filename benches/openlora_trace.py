"""The synthetic trace of S-LoRA (arXiv 2311.03285, `benchmarks/trace.py`), with shorter texts.

As there: seed 42, adapters by a power law whose exponent 1 means all alike, gaps between arrivals
of a gamma distribution whose coefficient of variation 1 means a Poisson process, greedy answers
that no token ends. Unlike there: lengths are uniform in [8, 128) and not in [8, 512), because the
model has 512 positions; prompts are random ids and not one word repeated, lest the prefix cache
answer for the engine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SEED = 42
SHORTEST, LONGEST = 8, 128
RESERVED = 3
"""Ids below are special ones."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: when (seconds from the start), for which adapter, of what lengths."""

    arrival: float
    adapter: int
    prompt: tuple[int, ...]
    output: int


def synthetic(
    adapters: int,
    rate: float,
    seconds: float,
    vocabulary: int,
    *,
    seed: int = SEED,
    alpha: float = 1.0,
    cv: float = 1.0,
    lengths: tuple[int, int] = (SHORTEST, LONGEST),
) -> list[Ask]:
    """Draw the trace; for another number of adapters only the adapters differ."""
    random = np.random.RandomState(seed)
    total = max(1, int(rate * seconds))
    chosen = (random.power(alpha, total) * adapters).astype(int)
    prompts = random.randint(*lengths, total)
    outputs = random.randint(*lengths, total)
    arrivals = np.cumsum(random.gamma(1 / cv**2, cv**2 / rate, total))
    return [
        Ask(
            float(arrivals[index]),
            int(chosen[index]),
            tuple(random.randint(RESERVED, vocabulary, prompts[index]).tolist()),
            int(outputs[index]),
        )
        for index in range(total)
    ]


def round_robin(
    adapters: int, rate: float, total: int, vocabulary: int, prompt: int, output: int, seed: int
) -> list[Ask]:
    """List requests at a fixed rate, each for the adapter after the one before."""
    random = np.random.RandomState(seed)
    return [
        Ask(
            index / rate,
            index % adapters,
            tuple(random.randint(RESERVED, vocabulary, prompt).tolist()),
            output,
        )
        for index in range(total)
    ]
