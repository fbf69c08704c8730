"""Answer a trace with the engine, and what became of it in numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

import numpy as np
import trio

from benches.openlora_clock import Clock
from benches.openlora_trace import Ask
from inference.adapters.figures import Loads, Origin, PoolFigures
from inference.engine import Engine
from inference.request import Answer, Request

PATIENCE = 6.0
"""Seconds to the first token within which S-LoRA counts a request as attained."""

STRICT_FIRST, STRICT_EACH = 1.0, 0.05
"""Seconds to the first token, and per token after it, of the stricter goal."""


@dataclass(frozen=True, slots=True)
class Served:
    """One answered request; seconds from the start of the trace."""

    ask: Ask
    first: float
    finished: float
    tokens: tuple[int, ...]
    digest: bytes = b""

    @property
    def wait(self) -> float:
        """Seconds from arrival to the first token."""
        return self.first - self.ask.arrival

    @property
    def each(self) -> float:
        """Seconds per token after the first."""
        return (self.finished - self.first) / max(1, len(self.tokens) - 1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A whole trace.

    Attributes:
        served: in the order of the trace.
        seconds: until the last token.
        processor: seconds of processor time of the whole process meanwhile.
        pool: what was loaded and evicted meanwhile; None for a peer.
    """

    served: tuple[Served, ...]
    seconds: float
    processor: float
    pool: PoolFigures | None = None

    @property
    def tokens(self) -> int:
        """Output tokens."""
        return sum(len(one.tokens) for one in self.served)

    def figures(self) -> dict[str, float]:
        """Summarise: rates per second, times in milliseconds, shares of one."""
        waits = np.array([one.wait for one in self.served])
        strict = [one.wait < STRICT_FIRST and one.each < STRICT_EACH for one in self.served]
        found = {
            "requests/s": len(self.served) / self.seconds,
            "tokens/s": self.tokens / self.seconds,
            "mean": 1e3 * float(waits.mean()),
            "p50": 1e3 * float(np.percentile(waits, 50)),
            "p99": 1e3 * float(np.percentile(waits, 99)),
            "each": 1e3 * float(np.mean([one.each for one in self.served])),
            "cpu/token": 1e3 * self.processor / self.tokens,
            "cpu share": self.processor / self.seconds,
            "< 6 s": float((waits < PATIENCE).mean()),
            "strict": float(np.mean(strict)),
        }
        if self.pool is not None:
            found |= _pool_figures(self.pool)
        return found


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Take several runs for one, so that a percentile is of all their requests."""
    pools = [outcome.pool for outcome in outcomes if outcome.pool is not None]
    return Outcome(
        tuple(one for outcome in outcomes for one in outcome.served),
        sum(outcome.seconds for outcome in outcomes),
        sum(outcome.processor for outcome in outcomes),
        reduce(_sum, pools) if pools else None,
    )


def _sum(one: PoolFigures, other: PoolFigures) -> PoolFigures:
    loads = {
        origin: Loads(a.count + b.count, a.bytes + b.bytes, a.seconds + b.seconds)
        for origin, a, b in ((o, one.loads[o], other.loads[o]) for o in Origin)
    }
    return replace(other, loads=loads, evictions=one.evictions + other.evictions)


def _pool_figures(pool: PoolFigures) -> dict[str, float]:
    loads = [pool.loads[origin] for origin in Origin if origin is not Origin.DEVICE]
    count = sum(load.count for load in loads)
    return {
        "hits": pool.hits,
        "host": pool.loads[Origin.HOST].count,
        "disk": pool.loads[Origin.DISK].count,
        "evicted": pool.evictions,
        "load ms": 1e3 * sum(load.seconds for load in loads) / count if count else 0.0,
    }


async def serve(
    engine: Engine, hashes: Sequence[bytes], asks: Sequence[Ask], new_clock: Callable[[], Clock]
) -> Outcome:
    """Send the requests of a trace when they are due and collect the answers."""
    served: dict[int, Served] = {}
    before = engine.figures.pool
    processor = time.process_time()
    clock = new_clock()

    async def one(index: int, ask: Ask) -> None:
        request = Request(ask.prompt, ask.output, adapter=hashes[ask.adapter], stop_ids=())
        first = 0.0
        async with engine.stream(request) as stream:
            async for _ in stream:
                first = first or clock.now()
            answer = _whole(stream.answer)
        served[index] = Served(ask, first, clock.now(), answer.output_ids, answer.trace.digest)

    async with trio.open_nursery() as nursery:
        for index, ask in enumerate(asks):
            await clock.until(ask.arrival, partial(_behind, served, index))
            nursery.start_soon(one, index, ask)
    seconds, processor = clock.now(), time.process_time() - processor
    after = engine.figures.pool
    pool = None if before is None or after is None else _since(before, after)
    return Outcome(tuple(served[index] for index in range(len(asks))), seconds, processor, pool)


def _behind(served: Mapping[int, Served], asked: int) -> bool:
    return len(served) < asked


async def touch(engine: Engine, hashes: Sequence[bytes]) -> None:
    """Ask every adapter for one token, so that all were loaded once."""
    for start in range(0, len(hashes), 256):
        await engine.generate_all(
            [
                Request((5,), 1, adapter=content_hash, stop_ids=())
                for content_hash in hashes[start : start + 256]
            ]
        )


def _whole(answer: Answer | None) -> Answer:
    if answer is None:
        raise AssertionError("a stream that ended without an error has its answer")
    return answer


def _since(before: PoolFigures, after: PoolFigures) -> PoolFigures:
    loads = {
        origin: Loads(
            after.loads[origin].count - before.loads[origin].count,
            after.loads[origin].bytes - before.loads[origin].bytes,
            after.loads[origin].seconds - before.loads[origin].seconds,
        )
        for origin in Origin
    }
    return replace(
        after,
        loads=loads,
        evictions=after.evictions - before.evictions,
        displaced=after.displaced - before.displaced,
        moves=after.moves - before.moves,
    )
