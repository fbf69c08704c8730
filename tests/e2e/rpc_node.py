"""A throw-away node for strangers, and what its process and its log tell of how it bears them."""

from __future__ import annotations

import os
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
from tests.clients.conftest import ROOT, Node, free_port

BLOCK_MS = 250
STATES = 8
"""Final blocks whose state is kept."""
PATIENCE = 10 if "PYTEST_XDIST_WORKER" in os.environ else 1
"""How much longer things may take beside other tests, which want the same cores."""
HEALTH_SECONDS = 1.0 * PATIENCE
_FINAL = re.compile(r"^(\S+ \S+) INFO .* block finalised number=(\d+) ")
_SETTLED_SECONDS = 20.0


@dataclass(frozen=True)
class Figures:
    """What a process holds."""

    rss: int
    files: int
    threads: int
    connections: int


@dataclass
class Fuzzed:
    """The node, its process and its log."""

    node: Node
    process: psutil.Process
    log: Path
    metrics: int
    health: list[float] = field(default_factory=list)
    """How long each `system_health` took."""

    def figures(self) -> Figures:
        return Figures(
            self.process.memory_info().rss,
            self.process.num_fds(),
            self.process.num_threads(),
            int(self.metric("substrate_rpc_connections")),
        )

    def metric(self, name: str) -> float:
        url = f"http://127.0.0.1:{self.metrics}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            text = response.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name:
                    return float(sample.value)
        raise KeyError(name)

    def finalised(self) -> dict[int, float]:
        """Return when which block became final, from the log (unix seconds)."""
        found: dict[int, float] = {}
        for line in self.log.read_text(errors="replace").splitlines():
            match = _FINAL.match(line)
            if match:
                when = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S.%f").astimezone()
                found[int(match[2])] = when.timestamp()
        return found

    def reaches(self, number: int, seconds: float = 60.0) -> None:
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

    def settled(self, before: Figures, most_growth: int) -> Figures:
        """Wait until the process holds what it held before, and at most so much more memory."""
        deadline = time.monotonic() + _SETTLED_SECONDS
        while True:
            now = self.figures()
            alike = (now.files, now.connections) <= (before.files, before.connections)
            if alike and now.rss <= before.rss + most_growth:
                return now
            if time.monotonic() > deadline:
                raise AssertionError(f"the node held {before}, and after it all {now}")
            time.sleep(0.25)

    @contextmanager
    def on_time(self) -> Iterator[None]:
        """Check that it answers and finalises in time, whatever happens inside."""
        stop = threading.Event()
        prober = threading.Thread(target=self._probe, args=(stop,), daemon=True)
        started = time.time()
        prober.start()
        try:
            yield
        finally:
            stop.set()
            prober.join(30)
        assert self.health, "no probe was answered"
        assert max(self.health) <= HEALTH_SECONDS, sorted(self.health)[-5:]
        times = [when for when in self.finalised().values() if when >= started]
        gaps = sorted(later - earlier for earlier, later in pairwise(times))
        expected = (time.time() - started) * 1000 / BLOCK_MS
        least = 0.7 * expected / PATIENCE - 2
        assert len(times) >= least, f"{len(times)} blocks instead of {expected:.0f}"
        longest = gaps[-1] if gaps else 0.0
        assert longest <= 2.0 * PATIENCE, f"once no block became final for {longest:.1f} s"

    def _probe(self, stop: threading.Event) -> None:
        while not stop.wait(0.1):
            begun = time.monotonic()
            try:
                answered = self.node.call("system_health")["isSyncing"] is False
            except OSError:
                answered = False
            self.health.append(time.monotonic() - begun if answered else 99.0)


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
            status = process.wait(20)
    assert status == 0, log.read_text()
