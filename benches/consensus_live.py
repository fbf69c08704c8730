"""Four validators as processes: how long finality takes, what it sends, and under which load.

A block's own time is the leader's clock when it begins to build. Finality is there when a node
writes `block finalised` to its log, which it does after the synced write of the block. All clocks
are that of one machine.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.consensus_chain import SENDERS, genesis_hash, senders, spec_with, transfers
from benches.consensus_network import Network, Node, running, validators

NODES = 4
WARM_UP = 20
"""Blocks that are not counted."""
UNPACED_MS = 100
LOAD = 200
PATIENCE_PER_BLOCK = 2.0
"""Seconds."""
SLICES = 10
"""A second's transfers come in so many parts."""


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 95th percentile."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) * 95 // 100, len(ordered) - 1)]


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted between two moments, over all nodes."""

    blocks: int
    payload: float
    tcp: int
    messages: dict[str, float]
    seconds: float
    processor: float
    rss: tuple[float, float]


class Watch:
    """Counts from its making until `close`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._before = network.traffic()
        self._tcp = network.sent_over_tcp()
        self._started = time.monotonic()
        self.first = network.nodes[0].final()

    def close(self) -> Window:
        """Return what happened since."""
        after = self._network.traffic()
        gone = {name: after[name] - self._before.get(name, 0.0) for name in after}
        count = len(self._network.nodes)
        mib = count * (1 << 20)
        resident = "substrate_process_resident_memory_bytes"
        prefix = "openledger_network_messages_total "
        return Window(
            blocks=round(gone["substrate_block_height finalized"] / count),
            payload=gone["substrate_sub_libp2p_network_bytes_total out"],
            tcp=self._network.sent_over_tcp() - self._tcp,
            messages={
                name.removeprefix(prefix).removesuffix(" out"): value
                for name, value in gone.items()
                if name.startswith(prefix) and name.endswith(" out") and value
            },
            seconds=time.monotonic() - self._started,
            processor=gone["substrate_process_cpu_seconds_total"],
            rss=(self._before[resident] / mib, after[resident] / mib),
        )


def _finality(
    network: Network, blocks: dict[int, tuple[int, tuple[bytes, ...]]], first: int
) -> list[float]:
    """Return milliseconds from each block's own time until a node had stored it, for all nodes."""
    return [
        1000 * when - blocks[number][0]
        for node in network.nodes
        for number, when in node.times().items()
        if number > first and number in blocks
    ]


def _intervals(blocks: dict[int, tuple[int, tuple[bytes, ...]]], first: int) -> list[float]:
    return [
        float(blocks[number + 1][0] - blocks[number][0])
        for number in blocks
        if number > first and number + 1 in blocks
    ]


def _told(window: Window) -> Iterator[str]:
    blocks = window.blocks
    yield (
        f"sent per block by all nodes: messages {window.payload / blocks:,.0f} bytes, "
        f"TCP {window.tcp / blocks:,.0f} bytes"
    )
    parts = ", ".join(f"{name} {count / blocks:.1f}" for name, count in window.messages.items())
    yield f"messages per block by all nodes: {parts}"
    yield (
        f"processor time per block and node: {1000 * window.processor / blocks / NODES:.1f} ms; "
        f"{window.processor / window.seconds:.2f} cores of 2 busy with the nodes"
    )
    yield f"memory of a node: {window.rss[0]:.0f} MiB before, {window.rss[1]:.0f} MiB after"


def unpaced_rows(folder: Path, blocks: int) -> Iterator[str]:
    """Tell of blocks as fast as a chain may make them."""
    spec = spec_with(NODES, [], block_interval_ms=UNPACED_MS)
    with running(folder, spec, validators(folder, NODES)) as network:
        network.wait(WARM_UP)
        watch = Watch(network)
        network.wait(watch.first + blocks, PATIENCE_PER_BLOCK * blocks + 60)
        window = watch.close()
    made = network.nodes[0].blocks(spec)
    made = {n: b for n, b in made.items() if n <= watch.first + window.blocks}
    median, late = percentiles(_finality(network, made, watch.first))
    between = percentiles(_intervals(made, watch.first))
    yield f"{window.blocks} blocks, interval at least {UNPACED_MS} ms, no transfers"
    yield f"block interval, p50 / p95                  {between[0]:7.0f} / {between[1]:.0f} ms"
    yield f"proposal to finality, p50 / p95            {median:7.0f} / {late:.0f} ms"
    yield "target p50                                     250 ms"
    yield from _told(window)


# --- under load ---------------------------------------------------------------------------


class Loader(threading.Thread):
    """Submits transfers to one node at a fixed rate, in batches."""

    def __init__(self, node: Node, given: Sequence[bytes], rate: float) -> None:
        super().__init__(daemon=True)
        self._url = f"http://{node.member.host}:{node.member.ports.rpc}"
        self._given = given
        self._rate = rate
        self.sent: dict[bytes, float] = {}
        self.refused: list[str] = []

    def run(self) -> None:
        """Submit everything."""
        each = round(self._rate / SLICES)
        due = time.monotonic()
        for start in range(0, len(self._given), each):
            time.sleep(max(0.0, due - time.monotonic()))
            due += each / self._rate
            self._submit(self._given[start : start + each])

    def _submit(self, batch: Sequence[bytes]) -> None:
        body = [
            {
                "jsonrpc": "2.0",
                "id": index,
                "method": "author_submitExtrinsic",
                "params": [f"0x{extrinsic.hex()}"],
            }
            for index, extrinsic in enumerate(batch)
        ]
        now = time.time()
        request = urllib.request.Request(
            self._url, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answers = json.load(response)
        self.refused += [str(answer["error"]) for answer in answers if "error" in answer]
        self.sent.update(dict.fromkeys(batch, now))


def loaded_rows(folder: Path, seconds: int, rate: int = LOAD) -> Iterator[str]:
    """Tell of blocks of a second each under transfers that come to all nodes."""
    pairs = senders(SENDERS)
    spec = spec_with(NODES, pairs, block_interval_ms=1000)
    given = list(transfers(pairs, -(-rate * seconds // SENDERS), genesis_hash(spec)))
    parts: list[list[bytes]] = [[] for _ in range(NODES)]
    for index, transfer in enumerate(given[: rate * seconds]):
        parts[index % SENDERS % NODES].append(transfer)
    with running(folder, spec, validators(folder, NODES), "--log", "info,chain=debug") as network:
        network.wait(5)
        loaders = [
            Loader(node, part, rate / NODES)
            for node, part in zip(network.nodes, parts, strict=True)
        ]
        watch = Watch(network)
        for loader in loaders:
            loader.start()
        for loader in loaders:
            loader.join()
        window = watch.close()
        network.wait(watch.first + window.blocks + 6)
    made = network.nodes[0].blocks(spec)
    counted = {n: b for n, b in made.items() if n <= watch.first + window.blocks}
    yield f"{window.blocks} blocks of a second, {rate} transfers per second to {NODES} nodes"
    yield from _loaded(network, loaders, made)
    median, late = percentiles(_finality(network, counted, watch.first + 1))
    between = percentiles(_intervals(counted, watch.first + 1))
    yield f"block interval, p50 / p95                  {between[0]:7.0f} / {between[1]:.0f} ms"
    yield f"proposal to finality, p50 / p95            {median:7.0f} / {late:.0f} ms"
    yield "target p95                                    1500 ms"
    yield from _told(window)


def _loaded(
    network: Network,
    loaders: Sequence[Loader],
    made: dict[int, tuple[int, tuple[bytes, ...]]],
) -> Iterator[str]:
    """Tell how long transfers waited at the node that they were given to."""
    included = {extrinsic: number for number, (_, body) in made.items() for extrinsic in body}
    first, final = [], []
    lost = 0
    for node, loader in zip(network.nodes, loaders, strict=True):
        executed, stored = node.executed(), node.times()
        for extrinsic, when in loader.sent.items():
            number = included.get(extrinsic)
            if number is None:
                lost += 1
                continue
            first.append(1000 * (executed[number] - when))
            final.append(1000 * (stored[number] - when))
    refused = sum(len(loader.refused) for loader in loaders)
    sizes = [len(body) - 1 for _, body in made.values() if len(body) > 1]
    yield (
        f"{sum(len(loader.sent) for loader in loaders)} transfers submitted, {refused} refused, "
        f"{lost} in no block"
    )
    median = statistics.median(sizes)
    yield f"transfers per block that has any, p50 / most {median:5.0f} / {max(sizes)}"
    for name, values in (("in a block executed", first), ("in a final block", final)):
        median, late = percentiles(values)
        yield f"submitted to {name:<22} p50 / p95 {median:6.0f} / {late:.0f} ms"
