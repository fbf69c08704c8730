"""Draws a scenario from a seed: the same seed is the same scenario, whatever else was drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from tests.simulation.links import Cut, Quality
from tests.simulation.node import Hardware
from tests.simulation.scenario import PACE, Fault, Scenario

SIZES = (1, 4, 4, 4, 4, 4, 5, 5, 6, 7, 7)
LARGE = (10, 13, 31)


def draw(seed: int, actors: tuple[str, ...]) -> Scenario:
    """Draw a scenario; `actors` may stand for byzantine validators."""
    rng = Random(f"scenario {seed}")
    size = rng.choice(LARGE) if rng.random() < 0.02 else rng.choice(SIZES)
    stakes = _stakes(rng, size)
    byzantine = _byzantine(rng, stakes, actors)
    outsiders = rng.choice((0, 0, 0, 1)) if size < 10 else 0
    heal = rng.choice((1_500, 2_500, 4_000)) if size < 10 else 1_500
    everybody = stakes + (0,) * outsiders
    late = _late(rng, stakes, byzantine, heal)
    late |= {len(stakes) + i: rng.randrange(heal) for i in range(outsiders) if rng.random() < 0.7}
    return Scenario(
        seed=seed,
        stakes=everybody,
        length=rng.choice((2, 3, 5, 8)),
        pace=replace(
            PACE, block_interval=rng.choice((0, 50, 100, 300) if size > 1 else (100, 300))
        ),
        outsiders=outsiders,
        rotating=size >= 4 and rng.random() < 0.4,
        byzantine=byzantine,
        faults=_faults(rng, everybody, heal, byzantine, late),
        heal=heal,
        rough=_rough(rng),
        smooth=Quality(latency=rng.choice((5, 20, 40)), jitter=rng.choice((0, 10, 30))),
        cuts=_cuts(rng, len(everybody), heal),
        hardware=tuple(_hardware(rng) for _ in everybody),
        late=late,
        wire=rng.random() < 0.06,
    )


def draw_hostile(seed: int, actors: tuple[str, ...]) -> Scenario:
    """Draw a long scenario with dozens of crashes, some of all at once, and more partitions."""
    scenario = draw(seed, actors)
    rng = Random(f"hostile {seed}")
    size = len(scenario.stakes)
    scenario.heal = heal = rng.choice((6_000, 12_000))
    scenario.late = {i: t for i, t in scenario.late.items() if i >= size - scenario.outsiders}
    fit = [i for i in range(size) if i not in scenario.byzantine and i not in scenario.late]
    faults = list(scenario.faults)
    for _ in range(rng.choice((10, 25, 50))):
        at, node = rng.randrange(heal), rng.choice(fit)
        faults.append(Fault(at, node, rng.randrange(14), rng.randrange(1, 900)))
    for _ in range(rng.choice((0, 2, 5))):
        at = rng.randrange(heal)
        faults += [Fault(at, i, rng.randrange(8), rng.randrange(1, 300)) for i in fit]
    scenario.faults = tuple(faults)
    scenario.cuts = tuple(cut for _ in range(3) for cut in _cuts(rng, size, heal))
    return scenario


def _stakes(rng: Random, size: int) -> tuple[int, ...]:
    style = rng.random()
    if size < 4 or style < 0.4:
        return (rng.choice((1, 10)),) * size
    if style < 0.8:
        return tuple(rng.randint(1, 10) for _ in range(size))
    others = [rng.randint(3, 9) for _ in range(size - 1)]
    stakes = [(sum(others) - 1) // 2, *others]
    rng.shuffle(stakes)
    return tuple(stakes)


def _byzantine(rng: Random, stakes: tuple[int, ...], actors: tuple[str, ...]) -> dict[int, str]:
    if not actors or rng.random() < 0.35:
        return {}
    chosen: dict[int, str] = {}
    evil = 0
    for index in rng.sample(range(len(stakes)), len(stakes)):
        if 3 * (evil + stakes[index]) < sum(stakes):
            chosen[index] = rng.choice(actors)
            evil += stakes[index]
            if rng.random() < 0.5:
                break
    return chosen


def _late(
    rng: Random, stakes: tuple[int, ...], byzantine: dict[int, str], heal: int
) -> dict[int, int]:
    """Let a member come without a log; the others have to be a quorum without it."""
    if rng.random() < 0.8:
        return {}
    evil = sum(stakes[i] for i in byzantine)
    fit = [i for i, s in enumerate(stakes) if i not in byzantine and 3 * (evil + s) < sum(stakes)]
    return {rng.choice(fit): rng.randrange(1, heal + 500)} if fit else {}


def _forgetful(
    rng: Random,
    fit: list[int],
    stakes: tuple[int, ...],
    byzantine: dict[int, str],
    late: dict[int, int],
    heal: int,
) -> Iterator[Fault]:
    """Let one validator lose its logs; the others have to be a quorum without it."""
    weak = sum(s for i, s in enumerate(stakes) if i in byzantine or i in late)
    index = rng.choice(fit)
    if rng.random() < 0.15 and 3 * (weak + stakes[index]) < sum(stakes):
        yield Fault(rng.randrange(heal), index, rng.randrange(12), rng.randrange(10, 800), True)


def _faults(
    rng: Random,
    stakes: tuple[int, ...],
    heal: int,
    byzantine: dict[int, str],
    late: dict[int, int],
) -> tuple[Fault, ...]:
    fit = [i for i in range(len(stakes)) if i not in byzantine and i not in late]
    if not fit:
        return ()
    faults = list(_forgetful(rng, fit, stakes, byzantine, late, heal))
    for _ in range(rng.choice((0, 0, 1, 2, 4, 8))):
        at = rng.randrange(heal)
        faults.append(Fault(at, rng.choice(fit), rng.randrange(12), rng.randrange(10, 800)))
    if rng.random() < 0.3:  # all at once
        at = rng.randrange(heal)
        faults += [Fault(at, i, rng.randrange(8), rng.randrange(10, 400)) for i in fit]
    return tuple(faults)


def _rough(rng: Random) -> Quality:
    return Quality(
        latency=rng.choice((5, 20, 60)),
        jitter=rng.choice((0, 30, 200)),
        loss=rng.choice((0, 0, 50, 200, 400)),
        doubling=rng.choice((0, 0, 100)),
        straggling=rng.choice((0, 0, 100)),
        straggle=rng.choice((200, 2_000)),
    )


def _cuts(rng: Random, size: int, heal: int) -> tuple[Cut, ...]:
    """Draw one-way partitions, and some in both directions."""
    cuts = []
    for _ in range(rng.choice((0, 0, 1, 2, 3))):
        start = rng.randrange(heal)
        end = min(heal, start + rng.randrange(100, 2_000))
        side = frozenset(i for i in range(size) if rng.random() < 0.5)
        other = frozenset(range(size)) - side
        cuts.append(Cut(start, end, side, other))
        if rng.random() < 0.6:
            cuts.append(Cut(start, end, other, side))
    return tuple(cuts)


def _hardware(rng: Random) -> Hardware:
    return Hardware(
        skew=rng.choice((0, 0, 0, rng.randint(-2_000, 2_000))),
        build=rng.choice((1, 1, 20)),
        execute=rng.choice((1, 1, 10, 80)),
        store=rng.choice((1, 1, 15)),
        listen=rng.choice((0, 200, 600)),
        trouble=rng.choice((0, 0, 0, 0, 100)),
    )
