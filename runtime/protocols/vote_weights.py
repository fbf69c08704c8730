"""How much the votes of a validator weigh, by its stake and that of the others."""

from __future__ import annotations

from collections.abc import Sequence

UNIT = 10**9
"""Stake (in the smallest unit of OPEN) that one weight stands for."""
MAX_WEIGHT = (1 << 64) - 1
CAPPED_FROM = 15
"""Validators from which on no one may weigh more than a tenth of all: fewer could not reach it."""
SHARE = 10


def vote_weights(stakes: Sequence[int]) -> tuple[int, ...]:
    """Return the weight of each stake: whole units, at least 1, capped where there are many.

    What a division or the cap takes away counts for nobody.
    """
    weights = [min(max(stake // UNIT, 1), MAX_WEIGHT) for stake in stakes]
    if len(weights) >= CAPPED_FROM:
        cap = vote_cap(weights)
        weights = [min(weight, cap) for weight in weights]
    return tuple(weights)


def vote_cap(weights: Sequence[int]) -> int:
    """Return the largest integer c with ``c <= sum(min(w, c) for w in weights) // 10``.

    Takes at least ten positive weights. With the k heaviest capped the others weigh `rest`, so
    c = rest // (10 - k), and the least k for which nobody else is above it is right: one fewer
    would leave somebody above the cap, and with c + 1 the sum falls short of ten times as much.
    """
    rest = sum(weights)
    cap = 0
    for capped, weight in enumerate(sorted(weights, reverse=True)[:SHARE]):
        cap = rest // (SHARE - capped)
        if weight <= cap:
            break
        rest -= weight
    return cap
