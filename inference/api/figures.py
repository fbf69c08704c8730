"""Figures of requests with local keys, in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from inference.request import Answer

_FIRST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WHOLE = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class ApiFigures:
    """Counts what happens; reads the rest when it is asked."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        """Name, help and reader of each figure that is read on demand."""
        self._requests = Counter(
            "openledger_api_requests",
            "Requests by tenant and outcome: answered, left, or the name of what refused them",
            ("tenant", "outcome"),
            registry=self.registry,
        )
        self._tokens = Counter(
            "openledger_api_tokens",
            "Tokens by tenant: prompt, cached (of the prompt), completion",
            ("tenant", "kind"),
            registry=self.registry,
        )
        self._first = Histogram(
            "openledger_api_first_token_seconds",
            "From the request to its first token",
            buckets=_FIRST,
            registry=self.registry,
        )
        self._seconds = Histogram(
            "openledger_api_answer_seconds",
            "From the request to the end of its answers",
            buckets=_WHOLE,
            registry=self.registry,
        )
        self.registry.register(self)

    def first_token(self, seconds: float) -> None:
        """Count how long a request waited."""
        self._first.observe(seconds)

    def answered(self, tenant: str, seconds: float) -> None:
        """Count a request whose answers are whole."""
        self._requests.labels(tenant, "answered").inc()
        self._seconds.observe(seconds)

    def tokens(self, tenant: str, answer: Answer) -> None:
        """Count the tokens of one answer."""
        self._tokens.labels(tenant, "prompt").inc(answer.prompt_tokens)
        self._tokens.labels(tenant, "cached").inc(answer.cached_tokens)
        self._tokens.labels(tenant, "completion").inc(len(answer.output_ids))

    def failed(self, tenant: str, outcome: str) -> None:
        """Count a request that was not answered."""
        self._requests.labels(tenant, outcome.lower()).inc()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield what is read at the moment of the question."""
        for name, (text, read) in self.gauges.items():
            yield GaugeMetricFamily(name, text, value=read())

    def text(self) -> bytes:
        """Return all figures."""
        return generate_latest(self.registry)
