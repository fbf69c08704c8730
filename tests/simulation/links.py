"""The network between simulated nodes: late, lossy, doubling and divided until it heals."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True, slots=True)
class Cut:
    """Between two times, nothing goes from `sources` to `targets`."""

    start: int
    end: int
    sources: frozenset[int]
    targets: frozenset[int]


@dataclass(frozen=True, slots=True)
class Quality:
    """latency, jitter: milliseconds; loss, doubling, straggling: parts per thousand of messages.

    A straggler comes up to `straggle` milliseconds later, so that others overtake it.
    """

    latency: int = 20
    jitter: int = 20
    loss: int = 0
    doubling: int = 0
    straggling: int = 0
    straggle: int = 0


@dataclass(slots=True)
class Links:
    """All links of a world; before `heal` as `rough` says, from then on as `smooth` says."""

    rng: Random
    heal: int = 0
    rough: Quality = field(default_factory=Quality)
    smooth: Quality = field(default_factory=Quality)
    cuts: tuple[Cut, ...] = ()

    def delays(self, now: int, source: int, target: int) -> tuple[int, ...]:
        """Draw after how many milliseconds a message arrives: never, once or twice."""
        quality = self.rough if now < self.heal else self.smooth
        for cut in self.cuts:
            if cut.start <= now < cut.end and source in cut.sources and target in cut.targets:
                return ()
        draw = self.rng.random
        if quality.loss and draw() * 1000 < quality.loss:
            return ()
        first = self._delay(quality)
        if quality.doubling and draw() * 1000 < quality.doubling:
            return first, self._delay(quality)
        return (first,)

    def _delay(self, quality: Quality) -> int:
        draw = self.rng.random
        delay = quality.latency
        if quality.jitter:
            delay += int(draw() * (quality.jitter + 1))
        if quality.straggling and draw() * 1000 < quality.straggling:
            delay += int(draw() * quality.straggle)
        return delay
