"""A throw-away node for strangers, and what its process and its log tell of how it bears them."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families

from genesis.presets import development
from tests.clients.conftest import ROOT, Node
from tests.patience import PATIENCE
from tests.ports import free_port

BLOCK_MS = 250
STATES = 8
"""Final blocks whose state is kept."""
HEALTH_SECONDS = 1.0
GAP_SECONDS = 2.0
"""So long may the node itself compute until it answers a probe, or between two final blocks."""
_FINAL = re.compile(r"^(\S+ \S+) INFO .* block finalised number=(\d+) ")
_SETTLED_SECONDS = 60.0


@dataclass(frozen=True)
class Figures:
    """What a process holds."""

    rss: int
    files: int
    threads: int
    connections: int


@dataclass(frozen=True)
class Probe:
    """A `system_health` that was answered; when: unix seconds; at: the node's processor time."""

    when: tuple[float, float]
    at: tuple[float, float]

    @property
    def took(self) -> float:
        """Return how long the node let it wait: what others took of the machine is not counted."""
        return min(self.when[1] - self.when[0], self.at[1] - self.at[0])


@dataclass
class Fuzzed:
    """The node, its process and its log."""

    node: Node
    process: psutil.Process
    log: Path
    metrics: int
    probes: list[Probe] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)

    def figures(self) -> Figures:
        return Figures(
            self.process.memory_info().rss,
            self.process.num_fds(),
            self.process.num_threads(),
            int(self.metric("substrate_rpc_connections")),
        )

    def metric(self, name: str) -> float:
        url = f"http://127.0.0.1:{self.metrics}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            text = response.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name:
                    return float(sample.value)
        raise KeyError(name)

    def computed(self) -> float:
        """Return the processor time that the node has used (seconds)."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def finalised(self) -> dict[int, float]:
        """Return when which block became final, from the log (unix seconds)."""
        found: dict[int, float] = {}
        for line in self.log.read_text(errors="replace").splitlines():
            match = _FINAL.match(line)
            if match:
                when = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S.%f").astimezone()
                found[int(match[2])] = when.timestamp()
        return found

    def reaches(self, number: int, seconds: float = 180.0) -> None:
        """Wait until a block is final; raises AssertionError."""
        deadline = time.monotonic() + seconds
        while max(self.finalised(), default=0) < number:
            assert time.monotonic() < deadline, f"no block {number}:\n{self.log.read_text()}"
            assert self.process.is_running(), self.log.read_text()
            time.sleep(0.1)

    def told_no_fault(self) -> None:
        """Check that the log tells of no error and no traceback."""
        text = self.log.read_text(errors="replace")
        for sign in ("Traceback", "ERROR", "internal error"):
            assert sign not in text, f"{sign} in the log:\n{text[max(0, text.find(sign) - 3000) :]}"

    def quiet(self) -> Figures:
        """Wait until every connection is gone, and what it had subscribed to."""
        deadline = time.monotonic() + _SETTLED_SECONDS
        names = ("substrate_rpc_connections", "openledger_rpc_subscriptions")
        while any(left := [self.metric(name) for name in names]):
            assert time.monotonic() < deadline, f"connections and subscriptions: {left}"
            time.sleep(0.1)
        return self.figures()

    def settled(self, before: Figures, most_growth: int) -> Figures:
        """Wait until the process holds what it held before, and at most so much more memory."""
        deadline = time.monotonic() + _SETTLED_SECONDS
        while True:
            now = self.figures()
            alike = now.files <= before.files and now.connections <= before.connections
            if alike and now.rss <= before.rss + most_growth:
                return now
            if time.monotonic() > deadline:
                raise AssertionError(f"the node held {before}, and after it all {now}")
            time.sleep(0.25)

    @contextmanager
    def on_time(self) -> Iterator[None]:
        """Check that it answers and finalises in time, whatever happens inside.

        Time is the node's own: a machine that is busy with something else gives it less of it.
        """
        stop = threading.Event()
        prober = threading.Thread(target=self._probe, args=(stop,), daemon=True)
        started, computed = time.time(), self.computed()
        prober.start()
        try:
            yield
        finally:
            stop.set()
            prober.join(PATIENCE)
        assert not prober.is_alive(), "a probe was not answered"
        assert not self.unanswered, self.unanswered[:5]
        assert self.probes, "no probe was answered"
        slowest = sorted(probe.took for probe in self.probes)[-5:]
        assert slowest[-1] <= HEALTH_SECONDS, slowest
        seconds = min(time.time() - started, self.computed() - computed)
        times = [when for when in self.finalised().values() if when >= started]
        expected = seconds * 1000 / BLOCK_MS
        assert len(times) >= 0.7 * expected - 2, f"{len(times)} blocks instead of {expected:.0f}"
        longest = max((self._busy(*gap) for gap in pairwise(times)), default=0.0)
        assert longest <= GAP_SECONDS, f"once no block became final for {longest:.1f} s"

    def _busy(self, earlier: float, later: float) -> float:
        """Return how much the node computed between two moments, at least, by the probes."""
        ends = [end for probe in self.probes for end in zip(probe.when, probe.at, strict=True)]
        within = [at for when, at in ends if earlier <= when <= later]
        return min(max(within, default=0.0) - min(within, default=0.0), later - earlier)

    def _probe(self, stop: threading.Event) -> None:
        while not stop.wait(0.1):
            begun = time.time(), self.computed()
            try:
                answer = self.node.call("system_health")
                assert answer["isSyncing"] is False, answer
            except (OSError, AssertionError) as error:
                self.unanswered.append(repr(error))
                continue
            when, at = zip(begun, (time.time(), self.computed()), strict=True)
            self.probes.append(Probe(when, at))


@contextmanager
def fuzzed_node(folder: Path) -> Iterator[Fuzzed]:
    """Run a node with a keystore, few states and four blocks a second; it has to stop in order."""
    spec = development()
    consensus = spec.consensus.model_copy(update={"block_interval_ms": BLOCK_MS})
    chain, password, log = folder / "chain.json", folder / "password", folder / "log"
    chain.write_text(spec.model_copy(update={"consensus": consensus}).to_json())
    password.write_text("a password for strangers\n")
    node, metrics = Node(free_port()), free_port()
    program = Path(sys.executable).with_name("openledger")
    options = ("--dev", "--tmp", "--chain", chain, "--state-pruning", STATES)
    doors = ("--rpc-port", node.port, "--prometheus-port", metrics)
    command = [program, "node", *options, *doors, "--password-filename", password]
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)), stdout=output, stderr=subprocess.STDOUT, cwd=ROOT
        )
        try:
            fuzzed = Fuzzed(node, psutil.Process(process.pid), log, metrics)
            fuzzed.reaches(2 * STATES + 4)
            yield fuzzed
        finally:
            process.terminate()
            status = process.wait(60)
    assert status == 0, log.read_text()
