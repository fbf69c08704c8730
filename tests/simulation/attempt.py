"""Plays one scenario of a seed, or a stretch of them; an exception is a problem like any other."""

from __future__ import annotations

import traceback

from tests.simulation.draw import draw, draw_hostile
from tests.simulation.scenario import Outcome, play

Stretch = tuple[int, int, tuple[str, ...], bool]
"""The first seed, the one behind the last, the actors, and whether it is hostile."""


def attempt(
    seed: int, actors: tuple[str, ...], *, hostile: bool = False, verbose: bool = False
) -> Outcome:
    """Play a scenario; an exception of the core is a problem like any other."""
    scenario = draw_hostile(seed, actors) if hostile else draw(seed, actors)
    if verbose:
        print(scenario)
    try:
        return play(scenario, print if verbose else None)
    except Exception as error:
        if verbose:
            traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)[-1]
        problem = f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
        return Outcome(seed, problem, "", 0, 0, 0, 0)


def attempt_all(work: Stretch) -> list[Outcome]:
    first, last, actors, hostile = work
    return [attempt(seed, actors, hostile=hostile) for seed in range(first, last)]
