"""Figures of the engine behind a port, read when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from inference.adapters.figures import PoolFigures
from inference.figures import SECONDS, EngineFigures, Recorder, Times

_GAUGES = {
    "running": "Answers that are computed",
    "waiting": "Answers in the queue",
    "adapters": "Adapters on the device",
}
_COUNTERS = {
    "prompt_tokens": "Prompt tokens of admitted requests",
    "cached_tokens": "Prompt tokens that were found in the prefix cache",
    "output_tokens": "Tokens drawn",
    "steps": "Batches computed",
}
_TIMES = {
    "first_token": "From a request's arrival in the engine to its first token",
    "between_tokens": "Between two tokens of an answer",
}


class EngineCollector(Collector):
    """Collects from the engine that runs now; an engine that took over begins at zero."""

    def __init__(self, figures: Callable[[], EngineFigures | None]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield everything; nothing while no engine runs."""
        figures = self._figures()
        if figures is None:
            return
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"openledger_engine_{name}", text, getattr(figures, name))
        yield _pages(figures)
        yield _counter("preemptions", "Answers that gave up their pages", figures.preempted)
        yield from _recorded(figures.recorder)
        if figures.pool is not None:
            yield from _pool(figures.pool)


def _recorded(recorder: Recorder) -> Iterator[Metric]:
    for name, text in _COUNTERS.items():
        yield _counter(name, text, getattr(recorder, name))
    drawn = CounterMetricFamily(
        "openledger_engine_drawn_tokens", "Tokens drawn for each tenant", labels=("tenant",)
    )
    for tenant, count in tuple(recorder.served.items()):
        drawn.add_metric((tenant,), count)
    yield drawn
    for name, text in _TIMES.items():
        yield _histogram(f"openledger_engine_{name}_seconds", text, getattr(recorder, name))


def _pool(pool: PoolFigures) -> Iterator[Metric]:
    loads = CounterMetricFamily(
        "openledger_engine_adapter_loads",
        "Adapters asked for, by the nearest place that had them: device, host, disk, network",
        labels=("origin",),
    )
    seconds = CounterMetricFamily(
        "openledger_engine_adapter_load_seconds",
        "Seconds of work until they were on the device",
        labels=("origin",),
    )
    for origin, load in pool.loads.items():
        loads.add_metric((origin.value,), load.count)
        seconds.add_metric((origin.value,), load.seconds)
    yield loads
    yield seconds
    yield _counter("adapter_evictions", "Adapters that left the device", pool.evictions)
    yield _counter("adapter_failures", "Adapters that could not be loaded", pool.failures)
    held = GaugeMetricFamily(
        "openledger_engine_adapter_bytes", "Memory of adapters", labels=("place",)
    )
    held.add_metric(("device",), pool.device_bytes)
    held.add_metric(("host",), pool.host_bytes)
    yield held


def _pages(figures: EngineFigures) -> Metric:
    """Tell what the device's pages hold; those of adapters are what is left."""
    free, held, cached = figures.pages_free, figures.pages_held, figures.pages_cached
    pages = GaugeMetricFamily("openledger_engine_pages", "Pages of memory", labels=("holds",))
    for name, count in (("nothing", free), ("answers", held), ("prefixes", cached)):
        pages.add_metric((name,), count)
    pages.add_metric(("adapters",), figures.pages - free - held - cached)
    return pages


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"openledger_engine_{name}", text, value)


def _histogram(name: str, text: str, times: Times) -> Metric:
    ends = [*map(str, SECONDS), "+Inf"]
    buckets = list(zip(ends, accumulate(times.counts), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=times.sum)
