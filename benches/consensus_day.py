"""What four validators keep over a simulated day at a block a second.

The participants are real, links lose five messages of a thousand, an epoch takes twenty minutes.
The tiny chain below and the watching oracle are cut back on the way, so that memory shows the core.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from sys import getsizeof

from consensus.core.pace import Pace
from consensus.engine.wal import MAGIC, frame
from tests.simulation.figures import held
from tests.simulation.links import Quality
from tests.simulation.node import Hardware, Node
from tests.simulation.scenario import Scenario, build, launch
from tests.simulation.world import World

HOUR = 3_600_000
STEP = HOUR // 12
PACE = Pace(block_interval=1_000, delta=250, execution=500)
EPOCH = 1_200
KEPT = 256
"""Blocks of the tiny chain that stay."""
REPORTED = (1, 6, 12, 24)


@dataclass(frozen=True, slots=True)
class Hour:
    """The largest node's entries and log bytes; memory of the whole process (MiB).

    harness: what the watching world keeps of every block for ever, in MiB.
    """

    hour: int
    block: int
    entries: int
    log_bytes: int
    rss: float
    harness: float


def day(reported: tuple[int, ...] = REPORTED) -> Iterator[Hour]:
    """Play the hours up to the last one reported; yield each at its end."""
    links = Quality(30, 30, loss=5)
    scenario = Scenario(
        seed=24,
        stakes=(1, 1, 1, 1),
        length=EPOCH,
        pace=PACE,
        rough=links,
        smooth=links,
        hardware=(Hardware(listen=0),) * 4,
    )
    world = launch(build(scenario), scenario)
    most = 0
    for until in range(STEP, max(reported) * HOUR + 1, STEP):
        world.run(until)
        most = max(most, max(_log_bytes(node) for node in world.nodes))
        _cut(world)
        hour, rest = divmod(until, HOUR)
        if not rest and hour in reported:
            gc.collect()
            block = len(world.nodes[0].ledger.final) - 1
            entries = max(map(held, world.nodes))
            yield Hour(hour, block, entries, most, resident(), _kept_for_ever(world))
            most = 0


def _log_bytes(node: Node) -> int:
    """Return the bytes of a node's logs, as the engine writes them."""
    return sum(
        len(MAGIC) + sum(len(frame(record)) for record in log.records) for log in node.logs.values()
    )


def _cut(world: World) -> None:
    """Forget the old blocks of the tiny chain, and what the oracle knows of old epochs."""
    world.oracle.forget()
    chain, ends = world.chain, set(world.chain.epochs)
    final = world.nodes[0].ledger.final
    horizon = min(len(node.ledger.final) for node in world.nodes) - KEPT
    old = {h for h in chain.headers if h not in ends and chain.headers[h].number < horizon}
    old -= set(final[:1])
    for known in (chain.states, chain.headers, chain.claims):
        for block_hash in old & known.keys():
            del known[block_hash]
    epoch = min(node.participant.status().epoch for node in world.nodes)
    for node in world.nodes:
        for kept in (node.ledger.blocks, node.ledger.proofs):
            for block_hash in old & kept.keys():
                del kept[block_hash]
        node._votes_on_disk = {v for v in node._votes_on_disk if v[0] >= epoch - 1}
    oracle = world.oracle
    oracle._tallies = {k: v for k, v in oracle._tallies.items() if k[0] >= epoch - 1}
    oracle._own = {k: v for k, v in oracle._own.items() if k[1] >= epoch - 1}
    oracle.first_vote_at = {k: v for k, v in oracle.first_vote_at.items() if k[0] >= epoch - 1}


def _kept_for_ever(world: World) -> float:
    """Return MiB of the hashes and times of all final blocks, which the oracle compares."""
    oracle = world.oracle
    held = [oracle.final, oracle.first_final_at, *(node.ledger.final for node in world.nodes)]
    total = sum(map(getsizeof, held))
    total += sum(map(getsizeof, oracle.final)) + sum(map(getsizeof, oracle.final.values()))
    total += sum(map(getsizeof, oracle.first_final_at.values()))
    return total / (1 << 20)


def resident() -> float:
    """Return the memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def rows(reported: tuple[int, ...] = REPORTED) -> Iterator[str]:
    """Tell of each hour reported."""
    yield "hour    blocks   entries   largest log KiB   process MiB   of it the harness MiB"
    started = time.process_time()
    for found in day(reported):
        yield (
            f"{found.hour:>4} {found.block:>9} {found.entries:>9} "
            f"{found.log_bytes / 1024:>17,.0f} {found.rss:>13.1f} {found.harness:>23.1f}"
        )
    yield f"(played in {time.process_time() - started:,.0f} s of processor time)"
