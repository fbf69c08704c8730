"""A world from a scenario: who takes part, what goes wrong until it heals, what must follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from consensus.core.pace import Pace
from runtime.primitives.digest import Authority
from tests.simulation.actors import ACTORS
from tests.simulation.chain import Chain, Schedule
from tests.simulation.crypto import FastRing, KeyRing, RealRing
from tests.simulation.links import Cut, Links, Quality
from tests.simulation.node import Hardware, Node
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.world import World

PACE = Pace(block_interval=100, delta=100, execution=50, skip=3_000, longest=2_000)


@dataclass(frozen=True, slots=True)
class Fault:
    """A crash: the process ends `actions` actions after `at`, and starts again after `down` ms.

    forgets: its logs are gone then.
    """

    at: int
    node: int
    actions: int
    down: int
    forgets: bool = False


@dataclass(slots=True)
class Scenario:
    """Everything that makes a world; times in milliseconds.

    stakes: by node; outsiders: so many of the last nodes have no key; absent: members per epoch
    that rest, so that sets change; byzantine: actor by node; finals: blocks that every node that
    takes part has to see final after `heal`, within `bound`.
    """

    seed: int
    stakes: tuple[int, ...]
    length: int = 6
    pace: Pace = PACE
    outsiders: int = 0
    rotating: bool = False
    byzantine: dict[int, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    heal: int = 0
    rough: Quality = field(default_factory=Quality)
    smooth: Quality = field(default_factory=Quality)
    cuts: tuple[Cut, ...] = ()
    hardware: tuple[Hardware, ...] = ()
    late: dict[int, int] = field(default_factory=dict)
    """When nodes start for the first time; 0 for those not named."""
    entropy: bytes | None = None
    """The seed of epoch 0; from `seed` if None."""
    real_keys: bool = False
    wire: bool = False
    finals: int = 3
    bound: int = 240_000

    def honest(self) -> list[int]:
        return [i for i in range(len(self.stakes)) if i not in self.byzantine]

    def unreliable(self) -> list[int]:
        """List the members that may not vote in an epoch: less than a third may be such."""
        forgetful = {fault.node for fault in self.faults if fault.forgets}
        members = range(len(self.stakes) - self.outsiders)
        return [i for i in members if i in self.byzantine or i in self.late or i in forgetful]


def schedule_of(scenario: Scenario, ring: KeyRing) -> Schedule:
    """Return the members by epoch: all with a stake, or all but some of them in turn."""
    members = len(scenario.stakes) - scenario.outsiders
    everybody = tuple(Authority(ring.key(i).public, scenario.stakes[i]) for i in range(members))
    known: dict[int, tuple[Authority, ...]] = {}

    def schedule(epoch: int) -> tuple[Authority, ...]:
        if epoch not in known:
            known[epoch] = _members(scenario, everybody, epoch)
        return known[epoch]

    return schedule


def _members(
    scenario: Scenario, everybody: tuple[Authority, ...], epoch: int
) -> tuple[Authority, ...]:
    if not scenario.rotating or epoch == 0:
        return everybody
    rng = Random(f"members {scenario.seed} {epoch}")
    weak = {everybody[i].public for i in scenario.unreliable()}
    members = rng.sample(everybody, len(everybody))
    for _ in range(rng.randint(0, len(everybody) // 3)):
        fewer = members[:-1]
        evil = sum(a.weight for a in fewer if a.public in weak)
        if 3 * evil >= sum(a.weight for a in fewer):
            break
        members = fewer
    return tuple(members)


def build(scenario: Scenario) -> World:
    """Put a world together; nothing has started yet."""
    ring: KeyRing = RealRing() if scenario.real_keys else FastRing()
    seed = scenario.entropy or scenario.seed.to_bytes(32, "little")
    chain = Chain(schedule_of(scenario, ring), scenario.length, seed)
    bad = {ring.key(i).public for i in scenario.byzantine}
    oracle = Oracle(chain, bad)
    links = Links(
        Random(f"links {scenario.seed}"),
        scenario.heal,
        scenario.rough,
        scenario.smooth,
        scenario.cuts,
    )
    world = World(scenario.seed, chain, ring, links, oracle)
    oracle.now = lambda: world.now
    members = len(scenario.stakes) - scenario.outsiders
    for index in range(len(scenario.stakes)):
        kind = ACTORS[scenario.byzantine[index]] if index in scenario.byzantine else Node
        hardware = scenario.hardware[index] if scenario.hardware else Hardware()
        key = ring.key(index) if index < members else None
        world.nodes.append(kind(world, index, key, scenario.pace, hardware))
        world.nodes[-1].wire = scenario.wire
    for fault in scenario.faults:
        _plan(world, fault)
    return world


def launch(world: World, scenario: Scenario) -> World:
    """Have all nodes start at their time; those that come late come without a log."""
    for node in world.nodes:
        when = scenario.late.get(node.index, 0)
        world.at(when, partial(node.start, init_log=not when, listen=0))
    return world


def _plan(world: World, fault: Fault) -> None:
    def arm() -> None:
        node = world.nodes[fault.node]
        if node.alive:
            node.crash_in = fault.actions

    def restart() -> None:
        node = world.nodes[fault.node]
        node.crash()
        if fault.forgets:
            node.lose_logs()
        node.start()

    world.at(fault.at, arm)
    world.at(fault.at + fault.down, restart)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a scenario went: `problem` is None where everything held."""

    seed: int
    problem: str | None
    digest: str
    events: int
    blocks: int
    epochs: int
    took: int
    """Virtual milliseconds from the heal to the last block that was asked for."""


def progressed(world: World, nodes: list[Node], goal: int) -> Callable[[], bool]:
    """Return the question whether all nodes have so many final blocks."""
    return lambda: all(node.alive and len(node.ledger.final) > goal for node in nodes)


def play(scenario: Scenario, trace: Callable[[str], None] | None = None) -> Outcome:
    """Run a scenario to its end, and judge it."""
    world = launch(build(scenario), scenario)
    world.trace = trace
    problem = conclude(world, scenario)
    final = max((len(world.nodes[i].ledger.final) for i in scenario.honest()), default=1)
    epochs = max((len(world.nodes[i].ledger.boundaries) for i in scenario.honest()), default=0)
    return Outcome(
        scenario.seed,
        problem,
        world.digest(),
        world.events,
        final - 1,
        epochs,
        world.now - scenario.heal,
    )


def conclude(world: World, scenario: Scenario) -> str | None:
    """Let a world heal, wait for its progress, and look at it as a whole; return what broke."""
    try:
        world.run(scenario.heal)
        _heal(world, scenario)
        problem = _await_progress(world, scenario)
        if problem is None:
            check_end(world, scenario)
    except Violation as violation:
        return str(violation)
    return problem


def _heal(world: World, scenario: Scenario) -> None:
    for node in world.nodes:
        node.crash_in = None
        if not node.alive and scenario.late.get(node.index, 0) <= world.now:
            node.start()


def _await_progress(world: World, scenario: Scenario) -> str | None:
    """L1: after the heal every honest node gets on."""
    nodes = [world.nodes[i] for i in scenario.honest()]
    goal = max(len(node.ledger.final) for node in nodes) - 1 + scenario.finals
    if world.run(scenario.heal + scenario.bound, progressed(world, nodes, goal)):
        return None
    behind = [
        f"{n.name} at {len(n.ledger.final) - 1}" for n in nodes if len(n.ledger.final) <= goal
    ]
    return f"L1 no block {goal} within {scenario.bound} ms: {', '.join(behind)}"


def check_end(world: World, scenario: Scenario) -> None:
    """I1 once more over what the disks say, I10 and I12."""
    if not scenario.byzantine:
        world.oracle.check_happy_views(scenario.heal + 1_000)
    longest: list[bytes] = max((world.nodes[i].ledger.final for i in scenario.honest()), key=len)
    for index in scenario.honest():
        node = world.nodes[index]
        if node.ledger.final != longest[: len(node.ledger.final)]:
            raise Violation(f"I1 {node.name} has another chain")
        for number, hash_ in enumerate(node.ledger.final):
            state, header = world.chain.states[hash_], world.chain.headers[hash_]
            if header.number != number:
                raise Violation(f"I10 {node.name} has block {header.number} in place {number}")
            if state is None or state.root != header.state_root:
                raise Violation(f"I12 {node.name} has another state of block {number}")
