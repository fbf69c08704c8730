"""The engines that the benches of many adapters ask: one model, its stores, memory of a size."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benches.openlora_adapters import fill_store, random_adapter
from benches.openlora_clock import ProcessorClock, WallClock
from benches.openlora_serve import Outcome, serve
from benches.openlora_trace import SEED, Ask, synthetic
from inference.adapters.packed_image import pack_image
from inference.adapters.store import AdapterStore
from inference.backbone.batch import shape_of_cache
from inference.backbone.model import Backbone
from inference.cpu_executor import PACKING, CpuExecutor
from inference.engine import Engine, open_engine
from inference.request import Limits

RANK, MIXED = (8,), (4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        counts: numbers of adapters of one rank; `mixed` adapters have unlike ranks.
        scarce: adapters that fit beside the cache in a row of its own, with as many as the largest
            of `counts`; in the other rows all do.
        tight: the same for adapters in turn, `in_turn` of them with so many `turns` requests.
        wall: time is the wall's, not the processor's.
        burst: requests that come at once, to find the rate of one adapter.
        seconds, overload: how long requests come at `loads` of that rate, and at twice the rate.
        peers: requests for PEFT, for `peer_adapters` adapters, `peer_repetitions` times.
    """

    counts: tuple[int, ...] = (1, 100, 1000, 5000)
    mixed: int = 1000
    scarce: int = 2300
    in_turn: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512, 1024)
    tight: int = 64
    turns: int = 48
    repetitions: int = 6
    burst: int = 100
    seconds: float = 20.0
    overload: float = 5.0
    peers: int = 60
    peer_adapters: int = 100
    peer_repetitions: int = 2
    running: int = Limits().running
    threads: int = 1
    loads: tuple[float, ...] = (0.3, 0.6)
    wall: bool = False


QUICK = Plan(
    counts=(1, 20),
    mixed=8,
    scarce=6,
    in_turn=(4, 8),
    tight=4,
    turns=8,
    repetitions=1,
    burst=12,
    seconds=1.0,
    overload=0.5,
    peers=0,
    running=4,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: an engine and which adapters it is asked for."""

    name: str
    engine: Engine
    hashes: Sequence[bytes]


class Facts:
    """Looks at every answer: it is complete, and equal requests have equal ones, bit for bit."""

    def __init__(self) -> None:
        self._seen: dict[tuple[bytes, tuple[int, ...], int], bytes] = {}
        self.answers = 0
        self.tokens = 0
        self.compared = 0
        self.evictions = 0

    def take(self, row: Row, outcome: Outcome) -> Outcome:
        """Compare with what was seen; raises AssertionError."""
        for one in outcome.served:
            if len(one.tokens) != one.ask.output:
                raise AssertionError(f"{len(one.tokens)} of {one.ask.output} tokens")
            key = row.hashes[one.ask.adapter], one.ask.prompt, one.ask.output
            if key in self._seen:
                self.compared += 1
                if self._seen[key] != one.digest:
                    raise AssertionError("the same request had another answer")
            self._seen[key] = one.digest
        self.answers += len(outcome.served)
        self.tokens += outcome.tokens
        self.evictions += 0 if outcome.pool is None else outcome.pool.evictions
        return outcome


class World:
    """The model, and real adapters in stores on the disk, for the length of a run."""

    def __init__(self, plan: Plan, folder: Path, backbone: Backbone) -> None:
        """Write the adapters, which takes a while."""
        self.plan = plan
        self.folder = folder
        self.backbone = backbone
        self.facts = Facts()
        self.page = shape_of_cache(backbone.config)
        sample = random_adapter(backbone, RANK[0], 0)
        self.image = pack_image(sample, backbone.config, PACKING).size_bytes
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        self.store = AdapterStore(folder / "store", backbone)
        self.hashes = fill_store(self.store, folder / "store.txt", backbone, RANK, max(plan.counts))
        self.mixed_store = AdapterStore(folder / "mixed", backbone)
        self.mixed = fill_store(self.mixed_store, folder / "mixed.txt", backbone, MIXED, plan.mixed)
        self.filling = time.perf_counter() - started

    def memory(self, room: int) -> int:
        """Bytes in which so many adapters fit beside all running sequences and kept prefixes."""
        positions = min(256, self.backbone.config.max_position_embeddings)
        pages = self.plan.running * -(-positions // self.page.positions)
        # A quarter of the memory may be prefixes that are kept.
        return (room * self.image + pages * self.page.page_bytes) * 4 // 3

    @asynccontextmanager
    async def engine(self, store: AdapterStore, room: int) -> AsyncIterator[Engine]:
        """Run an engine with room for so many adapters of `image` bytes."""
        plan = self.plan
        limits = Limits(running=plan.running, waiting=10**6, waiting_per_tenant=10**6)
        pages = self.memory(room) // self.page.page_bytes
        executor = CpuExecutor(self.backbone, pages, plan.threads)
        async with open_engine(executor, store=store, limits=limits) as engine:
            yield engine

    async def serve(self, row: Row, asks: Sequence[Ask]) -> Outcome:
        """Run a trace and look at its answers; tells on stderr what is under way."""
        print(f"{row.name}: {len(asks)} requests", file=sys.stderr, flush=True)
        clock = WallClock if self.plan.wall else ProcessorClock
        return self.facts.take(row, await serve(row.engine, row.hashes, asks, clock))

    def trace(self, adapters: int, rate: float, seconds: float, repetition: int) -> list[Ask]:
        """Draw a trace; each repetition has its own."""
        vocabulary = self.backbone.config.vocab_size
        return synthetic(adapters, rate, seconds, vocabulary, seed=SEED + repetition)
