"""What an engine has done and how long it took, as plain numbers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from inference.adapters.figures import PoolFigures
from inference.request import Finish

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of the buckets of times; the last bucket has none."""

TENANTS = 256
"""So many tenants are told apart; the tokens of all others are counted together."""

OTHERS = "(others)"


class Times:
    """A histogram of seconds: `counts` per bucket, not cumulative."""

    __slots__ = ("count", "counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum = 0.0
        self.count = 0

    def add(self, seconds: float) -> None:
        """Count one time."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds
        self.count += 1


class Recorder:
    """Counters since the start; written by the engine's thread, read by any.

    Attributes:
        first_token: seconds from a request's arrival to its first id.
        between_tokens: seconds between two ids of a request.
        prompt_tokens, cached_tokens, output_tokens: of admitted requests; the cached ones are
            prompt positions that were not computed.
        finished: answers by how they ended.
        failed: requests whose adapter could not be had.
        served: output ids per tenant.
    """

    def __init__(self) -> None:
        self.first_token = Times()
        self.between_tokens = Times()
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.output_tokens = 0
        self.steps = 0
        self.finished = dict.fromkeys(Finish, 0)
        self.failed = 0
        self.served: dict[str, int] = {}

    def drew(self, tenant: str, seconds: float, *, first: bool) -> None:
        """Count an output id, and the seconds since the one before or since the arrival."""
        (self.first_token if first else self.between_tokens).add(seconds)
        self.output_tokens += 1
        if tenant not in self.served and len(self.served) >= TENANTS:
            tenant = OTHERS
        self.served[tenant] = self.served.get(tenant, 0) + 1


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """The present state beside the counters.

    Attributes:
        running, waiting: numbers of requests.
        preempted: how often a sequence lost its pages and was computed again.
        pages: of memory; `pages_free` are untouched, `pages_held` hold running sequences,
            `pages_cached` prefixes that nobody uses now; adapters have the rest.
        adapters: adapters on the device.
        pool: loads, hits, evictions and bytes of adapters; None without a store.
        recorder: the counters, which go on counting.
    """

    running: int
    waiting: int
    preempted: int
    pages: int
    pages_free: int
    pages_held: int
    pages_cached: int
    adapters: int
    pool: PoolFigures | None
    recorder: Recorder

    @property
    def served(self) -> Mapping[str, int]:
        """Output ids per tenant."""
        return self.recorder.served
