"""Measure a validator that makes blocks while many clients are subscribed to everything.

    python -m benches.rpc_clients [--clients 500] [--minutes 10] [--processes 2]

Every client follows new and final heads; one half watches storage under four keys, the other half
follows the chain's head, reads each block's header and a value, and unpins; one in ten reads in
between. Transfers trickle in. Blocks' times are those of the node's log, in unix seconds of the
same clock as the clients'; the clients share the machine with the node.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benches.consensus_chain import genesis_hash, senders, spec_with, transfers
from benches.consensus_network import Node, running, validators
from benches.rpc_client_load import Heard, Load, Receipts, serve
from runtime.construct import storage_key

INTERVAL_MS = 1000
SENDERS = 20
TRANSFERS_PER_SECOND = 2
SETTLE_SECONDS = 5.0
SAMPLE_SECONDS = 5.0
MIB = 1 << 20
_LAG = "openledger_loop_lag_seconds"
_KEYS = (("Timestamp", "Now"), ("System", "Number"), ("System", "Events"), ("Session", "Author"))


@dataclass(frozen=True, slots=True)
class Sample:
    """The node at one moment: unix seconds, bytes, seconds of processor time."""

    when: float
    rss: float
    processor: float


@dataclass
class Run:
    """What was measured, times in unix seconds."""

    began: float = 0.0
    ended: float = 0.0
    rss: dict[str, float] = field(default_factory=dict)
    """Bytes without clients, with idle ones, with subscribed ones."""
    samples: list[Sample] = field(default_factory=list)
    lag: dict[float, float] = field(default_factory=dict)
    """How often the event loop was later than so many seconds at most, cumulative."""
    heard: list[Heard] = field(default_factory=list)
    executed: dict[int, float] = field(default_factory=dict)
    final: dict[int, float] = field(default_factory=dict)
    proposed: dict[int, float] = field(default_factory=dict)
    """When the validator began to build a block."""
    numbers: dict[str, int] = field(default_factory=dict)
    """Of the blocks, by their hash."""

    def within(self, times: Mapping[int, float]) -> dict[int, float]:
        """Return the blocks of the measured time."""
        return {n: when for n, when in times.items() if self.began <= when <= self.ended}


class Clients:
    """Processes full of clients, which do what they are told together."""

    def __init__(self, loads: Sequence[Load]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for load in loads:
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(load, theirs), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    def answers(self) -> list[object]:
        """Wait for a word of each process."""
        return [pipe.recv() for pipe in self._pipes]

    def order(self, word: object = "go on") -> list[object]:
        """Have all go on, and wait for their next word."""
        for pipe in self._pipes:
            pipe.send(word)
        return self.answers()

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()
            process.join()


def measure(
    clients: int,
    seconds: float,
    processes: int,
    folder: Path,
    settle: float = SETTLE_SECONDS,
    blocks: int = 0,
) -> Run:
    """Run a node and the clients for some seconds, and until so many blocks became final.

    settle: seconds of rest before memory is looked at.
    """
    pairs = senders(SENDERS)
    spec = spec_with(1, pairs, block_interval_ms=INTERVAL_MS)
    rounds = int(seconds * TRANSFERS_PER_SECOND / SENDERS) + 1
    signed = list(transfers(pairs, rounds, genesis_hash(spec)))
    keys = tuple("0x" + storage_key(*item).hex() for item in _KEYS)
    run = Run()
    with running(folder, spec, validators(folder, 1), "-l", "info,chain=debug") as network:
        network.wait(3)
        (node,) = network.nodes
        port = node.member.ports.rpc
        loads = [
            Load(
                port,
                clients // processes + (index < clients % processes),
                keys,
                signed if index == 0 else (),
                seconds,
            )
            for index in range(processes)
        ]
        with ExitStack() as stack:
            time.sleep(settle)
            run.rss["nobody"] = sample(node).rss
            crowd = Clients(loads)
            stack.callback(crowd.close)
            crowd.answers()
            time.sleep(settle)
            run.rss["idle"] = sample(node).rss
            crowd.order()
            time.sleep(settle)
            run.rss["subscribed"] = sample(node).rss
            _watch(run, node, seconds, blocks)
            number = node.final()
            (block_hash,) = _numbers(port, number, number)
            told = crowd.order((number, block_hash))
            run.heard = [heard for heard in told if isinstance(heard, Heard)]
            run.numbers = _numbers(port, node.final())
        time.sleep(1.0)
        run.executed, run.final = node.executed(), node.times()
    found = node.blocks(spec)
    run.proposed = {number: ms / 1000 for number, (ms, _) in found.items()}
    return run


def _numbers(port: int, last: int, first: int = 0) -> dict[str, int]:
    calls = [
        {"jsonrpc": "2.0", "id": number, "method": "chain_getBlockHash", "params": [number]}
        for number in range(first, last + 1)
    ]
    found: dict[str, int] = {}
    for start in range(0, len(calls), 500):
        sent = urllib.request.Request(
            f"http://127.0.0.1:{port}",
            json.dumps(calls[start : start + 500]).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(sent, timeout=30) as response:
            found |= {told["result"]: told["id"] for told in json.load(response)}
    return found


def sample(node: Node) -> Sample:
    """Read the node's memory and processor time."""
    told = node.metrics()
    return Sample(
        time.time(),
        told["substrate_process_resident_memory_bytes"],
        told["substrate_process_cpu_seconds_total"],
    )


def _watch(run: Run, node: Node, seconds: float, blocks: int) -> None:
    before, first = _lags(node), node.final()
    run.began = time.time()
    while (left := run.began + seconds - time.time()) > 0 or node.final() < first + blocks:
        run.samples.append(sample(node))
        time.sleep(min(max(left, 0.1), SAMPLE_SECONDS))
    run.ended = time.time()
    run.samples.append(sample(node))
    run.lag = {bound: count - before.get(bound, 0) for bound, count in _lags(node).items()}


def _lags(node: Node) -> dict[float, float]:
    told, start = node.metrics(), f"{_LAG}_bucket "
    return {float(n.removeprefix(start)): v for n, v in told.items() if n.startswith(start)}


# --- what is told of it --------------------------------------------------------------------


def quantiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Return median, 99th percentile and greatest; zeros of nothing."""
    ordered = sorted(values) or [0.0]
    return statistics.median(ordered), ordered[len(ordered) * 99 // 100], ordered[-1]


def lags(receipts: Sequence[Receipts], since: Mapping[Any, float]) -> list[float]:
    """Return how long after a block's moment each client heard of it."""
    return [
        heard - since[number]
        for part in receipts
        for number, times in part.items()
        if number in since
        for heard in times
    ]


def lag_bound(cumulative: Mapping[float, float], share: float) -> float:
    """Return the histogram's bound below which this share of all values lies."""
    bounds = sorted(cumulative)
    return next((b for b in bounds if cumulative[b] >= share * cumulative[bounds[-1]]), 0.0)


def report(run: Run, clients: int) -> Iterable[str]:
    """Yield the lines of the table."""
    final, executed = run.within(run.final), run.within(run.executed)
    times = sorted(final.values())
    intervals = [later - earlier for earlier, later in pairwise(times)]
    yield _row("block interval (final)", quantiles(intervals))
    late = [interval - INTERVAL_MS / 1000 for interval in intervals]
    yield _row("  beyond the configured one", quantiles(late))
    yield _row("proposal to finality", quantiles(final[n] - run.proposed[n] for n in final))
    yield _row("new head to a client", quantiles(lags([h.new for h in run.heard], executed)))
    yield _row("final head to a client", quantiles(lags([h.final for h in run.heard], final)))
    followed = {h: final[n] for h, n in run.numbers.items() if n in final}
    yield _row(
        "final block to a follower", quantiles(lags([h.followed for h in run.heard], followed))
    )
    yield _row("a read among it", quantiles(r for h in run.heard for r in h.reads))
    bounds = [lag_bound(run.lag, share) for share in (0.5, 0.99, 1.0)]
    yield "event loop later than asked, p50/p99/max at most " + " / ".join(
        f"{bound * 1000:g} ms" for bound in bounds
    )
    first, last = run.samples[0], run.samples[-1]
    share = (last.processor - first.processor) / (last.when - first.when)
    told = sum(len(t) for h in run.heard for part in (h.new, h.final) for t in part.values())
    told += sum(h.stored for h in run.heard)
    yield f"blocks {len(final)}, heads and storage told {told}, reads " + str(
        sum(len(h.reads) for h in run.heard)
    )
    yield f"processor time of the node: {share:.0%} of one core"
    yield "memory of the node, MiB: " + ", ".join(
        f"{name} {size / MIB:.1f}" for name, size in run.rss.items()
    )
    idle = (run.rss["idle"] - run.rss["nobody"]) / clients / 1024
    more = (run.rss["subscribed"] - run.rss["idle"]) / clients / 1024
    yield f"memory of a connection: {idle:.1f} KiB idle, {more:.1f} KiB more when subscribed"
    points = [run.samples[len(run.samples) * part // 5] for part in range(5)] + [last]
    yield "memory over time, MiB: " + " ".join(f"{point.rss / MIB:.1f}" for point in points)
    failures = [failure for heard in run.heard for failure in heard.failures]
    yield f"clients that failed: {len(failures)} {failures[:3] or ''}"


def _row(name: str, values: tuple[float, float, float]) -> str:
    return f"{name:<30}" + "".join(f"{value * 1000:>10.1f}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="rpc-clients-") as folder:
        run = measure(args.clients, args.minutes * 60, args.processes, Path(folder))
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, ",
        end="",
    )
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, load {load:.1f} before, ", end="")
    print(f"{os.getloadavg()[0]:.1f} at the end")
    print(f"{args.clients} clients in {args.processes} processes, {args.minutes:g} minutes")
    print(f"{'ms':<30}{'p50':>10}{'p99':>10}{'max':>10}")
    for line in report(run, args.clients):
        print(line)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
