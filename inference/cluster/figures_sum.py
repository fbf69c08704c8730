"""The figures of several engines as those of one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from inference.adapters.figures import Loads, PoolFigures
from inference.figures import OTHERS, TENANTS, EngineFigures, Recorder, Times

_COUNTERS = ("prompt_tokens", "cached_tokens", "output_tokens", "steps", "failed")
_NUMBERS = (
    "running",
    "waiting",
    "preempted",
    "pages",
    "pages_free",
    "pages_held",
    "pages_cached",
    "adapters",
)


def no_figures() -> EngineFigures:
    """Return the figures of no engine at all."""
    return EngineFigures(0, 0, 0, 0, 0, 0, 0, 0, pool=PoolFigures(), recorder=Recorder())


def without_state(figures: EngineFigures) -> EngineFigures:
    """Keep the counters of an engine that is gone: what it held is gone with it."""
    pool = figures.pool
    if pool is not None:
        pool = replace(pool, host_bytes=0, device_bytes=0)
    return replace(no_figures(), preempted=figures.preempted, pool=pool, recorder=figures.recorder)


def figures_sum(parts: Iterable[EngineFigures]) -> EngineFigures:
    """Add everything up; the parts stay as they are."""
    total = no_figures()
    recorder = total.recorder
    for part in parts:
        total = EngineFigures(
            **{name: getattr(total, name) + getattr(part, name) for name in _NUMBERS},
            pool=_pools(total.pool, part.pool),
            recorder=recorder,
        )
        _record(recorder, part.recorder)
    return total


def _record(total: Recorder, part: Recorder) -> None:
    for name in _COUNTERS:
        setattr(total, name, getattr(total, name) + getattr(part, name))
    for finish, count in part.finished.items():
        total.finished[finish] += count
    for tenant, count in part.served.items():
        known = tenant in total.served or len(total.served) < TENANTS
        name = tenant if known else OTHERS
        total.served[name] = total.served.get(name, 0) + count
    _times(total.first_token, part.first_token)
    _times(total.between_tokens, part.between_tokens)


def _times(total: Times, part: Times) -> None:
    total.counts = [a + b for a, b in zip(total.counts, part.counts, strict=True)]
    total.sum += part.sum
    total.count += part.count


def _pools(total: PoolFigures | None, part: PoolFigures | None) -> PoolFigures | None:
    if total is None or part is None:
        return total or part
    return PoolFigures(
        loads={origin: _loads(load, part.loads[origin]) for origin, load in total.loads.items()},
        evictions=total.evictions + part.evictions,
        displaced=total.displaced + part.displaced,
        failures=total.failures + part.failures,
        moves=total.moves + part.moves,
        host_bytes=total.host_bytes + part.host_bytes,
        device_bytes=total.device_bytes + part.device_bytes,
    )


def _loads(a: Loads, b: Loads) -> Loads:
    return Loads(a.count + b.count, a.bytes + b.bytes, a.seconds + b.seconds)
