"""Figures of a running node for Prometheus, under Substrate's names where it has one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import trio
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from node.chain import Chain
from node.chain_events import Finalized
from node.pool import Pool

LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
LAG_PERIOD = 0.1
STALLED_SECONDS = 60.0


class Metrics:
    """Reads the chain and the pool when asked; measures the loop's lag and finality's age."""

    def __init__(self, chain: Chain, pool: Pool, *, name: str, chain_id: str, version: str) -> None:
        self._chain = chain
        self._pool = pool
        self._finalized_at = time.monotonic()
        self.sources: list[Callable[[], Iterator[Metric]]] = []
        """Figures of other parts, read when they are asked for."""
        self.registry = CollectorRegistry()
        self._lag = Histogram(
            "openledger_loop_lag_seconds",
            "How much later than asked the event loop woke a task",
            buckets=LAG_BUCKETS,
            registry=self.registry,
        )
        build = Gauge(
            "substrate_build_info",
            "1, with the node's name, version and chain",
            ("name", "version", "chain"),
            registry=self.registry,
        )
        build.labels(name, version, chain_id).set(1)
        ProcessCollector(namespace="substrate", registry=self.registry)
        self.registry.register(self)

    @property
    def finality_age(self) -> float:
        """Seconds since a block became final, or since the start."""
        return time.monotonic() - self._finalized_at

    def collect(self) -> Iterator[Metric]:
        """Yield what is read at the moment of the question."""
        for source in self.sources:
            yield from source()
        chain, pool = self._chain, self._pool
        height = GaugeMetricFamily("substrate_block_height", "Block height", labels=["status"])
        height.add_metric(["best"], chain.best().number)
        height.add_metric(["finalized"], chain.finalized().number)
        yield height
        for name, text, value in (
            ("substrate_number_leaves", "Leaves of the block tree", len(chain.leaves())),
            (
                "substrate_ready_transactions_number",
                "Extrinsics ready for a block",
                pool.ready_count,
            ),
            ("substrate_sub_txpool_future", "Extrinsics waiting", pool.future_count),
            ("substrate_sub_txpool_bytes", "Bytes in the pool", pool.size_bytes),
            ("openledger_finality_age_seconds", "Age of the last finality", self.finality_age),
        ):
            yield GaugeMetricFamily(name, text, value=value)

    def health(self) -> tuple[int, bytes]:
        """Return an HTTP status and a JSON body: 503 where finality stands still."""
        age, final = self.finality_age, self._chain.finalized().number
        text = f'{{"finalized":{final},"finalityAgeSeconds":{age:.1f}}}'
        return (200 if age < STALLED_SECONDS else 503), text.encode()

    def text(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        return generate_latest(self.registry)

    async def run(self) -> None:
        """Measure until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_lag)
            nursery.start_soon(self._watch_finality)

    async def _watch_lag(self) -> None:
        while True:
            due = trio.current_time() + LAG_PERIOD
            await trio.sleep_until(due)
            self._lag.observe(trio.current_time() - due)

    async def _watch_finality(self) -> None:
        while True:
            async for event in self._chain.subscribe():
                if isinstance(event, Finalized):
                    self._finalized_at = time.monotonic()
            await trio.sleep(1)
