"""Figures of a running worker in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from inference.worker.book_rows import Answered

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Figures:
    """Counts what happens; reads the rest when it is asked."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        """Name, help and reader of each figure that is read on demand."""
        self._requests = Counter(
            "openledger_worker_requests",
            "Requests by outcome: answered, or the name of what refused them",
            ("outcome",),
            registry=self.registry,
        )
        self._tokens = Counter(
            "openledger_worker_tokens", "Tokens served", ("kind",), registry=self.registry
        )
        self._duties = Counter(
            "openledger_worker_duties",
            "Duties done on chain",
            ("duty",),
            registry=self.registry,
        )
        self._material = Counter(
            "openledger_worker_material",
            "Evidence of drawn receipts: handed_out, refused or failed; received or missing",
            ("outcome",),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "openledger_worker_answer_seconds",
            "From the voucher to the receipt",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.registry.register(self)

    def answered(self, answered: Answered, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels("answered").inc()
        self._tokens.labels("prompt").inc(answered.signed.receipt.prompt_tokens)
        self._tokens.labels("completion").inc(answered.signed.receipt.completion_tokens)
        self._seconds.observe(seconds)

    def failed(self, name: str) -> None:
        """Count a request that was not answered."""
        self._requests.labels(name.lower()).inc()

    def duty(self, name: str) -> None:
        """Count a duty that the chain took."""
        self._duties.labels(name).inc()

    def material(self, outcome: str) -> None:
        """Count evidence that a committee's member asked for."""
        self._material.labels(outcome).inc()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield what is read at the moment of the question."""
        for name, (text, read) in self.gauges.items():
            yield GaugeMetricFamily(name, text, value=read())

    def text(self) -> bytes:
        """Return all figures."""
        return generate_latest(self.registry)
