"""What the protocol costs in units of a message's delay, and whether it stays small for long."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from consensus.core.messages import Message, Proposal, encode_message
from consensus.core.pace import Pace
from tests.simulation.links import Quality
from tests.simulation.node import Hardware, Node
from tests.simulation.scenario import PACE, Scenario, build, launch
from tests.simulation.world import World

DELTA = 100
"""Milliseconds that every message takes here."""


@dataclass(frozen=True, slots=True)
class Latency:
    """interval, finality: mean of the happy path, in delays; both per view: of all nodes."""

    validators: int
    interval: float
    finality: float
    messages_per_view: float
    bytes_per_view: float


def unpaced(validators: int, blocks: int = 12, length: int = 1_000) -> Latency:
    """Measure an unpaced happy path with a fixed delay and nothing else that takes time."""
    instant = Hardware(build=0, execute=0, store=0, listen=0)
    scenario = Scenario(
        seed=validators,
        stakes=(1,) * validators,
        length=length,
        pace=Pace(block_interval=0, delta=10 * DELTA),
        rough=Quality(DELTA, 0),
        smooth=Quality(DELTA, 0),
        hardware=(instant,) * validators,
    )
    world = launch(build(scenario), scenario)
    meter = Meter(world)
    world.measure = meter.note
    world.run(10_000_000, lambda: len(world.oracle.final) > blocks)
    final_at = world.oracle.first_final_at
    numbers = sorted(final_at)
    gaps = [final_at[b] - final_at[a] for a, b in pairwise(numbers)]
    waits = [final_at[n] - meter.proposed[world.oracle.final[n]] for n in numbers]
    return Latency(
        validators,
        sum(gaps) / len(gaps) / DELTA,
        sum(waits) / len(waits) / DELTA,
        meter.messages / len(numbers),
        meter.bytes / len(numbers),
    )


class Meter:
    """Counts what goes over the links, and when which block was first shown."""

    def __init__(self, world: World) -> None:
        self.messages = 0
        self.bytes = 0
        self.by_node: dict[int, int] = {}
        self.proposed: dict[bytes, int] = {}
        self._world = world
        self._last: Message | None = None
        self._length = 0

    def note(self, index: int, message: Message) -> None:
        if message is not self._last:
            self._last, self._length = message, len(encode_message(message))
            if isinstance(message, Proposal):
                self.proposed.setdefault(message.block.header.hash(), self._world.now)
        self.messages += 1
        self.bytes += self._length
        self.by_node[index] = self.by_node.get(index, 0) + self._length


# --- how much is kept ---------------------------------------------------------------------


def held(node: Node) -> int:
    """Count the entries of all collections in a node's participant; the ledger is not its own."""
    skip = {id(node.ledger), id(node.world.ring), id(node.participant.config)}
    seen: set[int] = set(skip)
    waiting: deque[object] = deque([node.participant])
    total = 0
    while waiting:
        thing = waiting.popleft()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, dict):
            total += len(thing)
            waiting.extend(thing.values())
        elif isinstance(thing, list | set | deque | tuple):
            total += len(thing)
            waiting.extend(thing)
        elif type(thing).__module__.startswith(("consensus", "runtime")):
            waiting.extend(_parts(thing))
    return total


def _parts(thing: object) -> Iterator[object]:
    if isinstance(thing, type):
        return
    yield from vars(thing).values() if hasattr(thing, "__dict__") else ()
    for kind in type(thing).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(thing, name):
                yield getattr(thing, name)


def logged(node: Node) -> int:
    """Count the records in all logs of a node."""
    return sum(len(log.records) for log in node.logs.values())


@dataclass(frozen=True, slots=True)
class Sample:
    """What the largest node keeps at some time, and how far the chain is."""

    hour: float
    block: int
    entries: int
    records: int


def soak(hours: float, samples: int = 8, interval: int = 2_000, length: int = 600) -> list[Sample]:
    """Run four validators over simulated hours with some loss, and look at what they keep.

    Old blocks of the tiny chain are dropped on the way, so that memory shows the core alone.
    """
    scenario = Scenario(
        seed=24,
        stakes=(3, 2, 2, 2),
        length=length,
        pace=replace(PACE, block_interval=interval, delta=1_000, longest=60_000),
        rough=Quality(30, 30, loss=5),
        smooth=Quality(30, 30, loss=5),
        hardware=(Hardware(listen=0),) * 4,
    )
    world = launch(build(scenario), scenario)
    found = []
    for step in range(1, samples + 1):
        until = int(hours * 3_600_000 * step / samples)
        world.run(until)
        world.oracle.forget()
        found.append(
            Sample(
                until / 3_600_000,
                len(world.oracle.final) - 1,
                max(held(node) for node in world.nodes),
                max(logged(node) for node in world.nodes),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Stall:
    """What stalled validators send per second, and keep at its middle and its end."""

    bytes_per_second: float
    entries_in_the_middle: int
    entries_at_the_end: int


def stalled(seconds: int = 600, validators: int = 4) -> Stall:
    """Take a third away after some blocks, and watch the others try."""
    scenario = Scenario(
        seed=5, stakes=(1,) * validators, rough=Quality(20, 10), smooth=Quality(20, 10)
    )
    world = launch(build(scenario), scenario)
    world.run(2_000)
    gone = -(-validators // 3)
    for node in world.nodes[:gone]:
        node.crash()
    left = world.nodes[gone:]
    meter = Meter(world)
    world.measure = meter.note
    world.run(2_000 + seconds * 500)
    middle = max(held(node) for node in left)
    world.oracle.forget()
    world.run(2_000 + seconds * 1_000)
    most = max(meter.by_node.values()) / seconds
    return Stall(most, middle, max(held(node) for node in left))
