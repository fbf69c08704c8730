"""Twins: two nodes with one key, and in the first views a script of who hears whom.

After Bano and others, "Twins: BFT Systems Made Robust" (arXiv 2004.10617): an honest program run
twice under one key makes most of what byzantine validators can do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import count
from random import Random

from consensus.core.messages import CertificateNotice, Message, Proposal, Vote
from runtime.primitives.leaders import leader_of
from tests.simulation.actors.actor import Actor
from tests.simulation.links import Quality
from tests.simulation.node import Hardware, Node
from tests.simulation.oracle import Violation
from tests.simulation.scenario import Outcome, Scenario, build, check_end, launch, progressed
from tests.simulation.world import World

SCRIPTED_MS = 4_000


@dataclass(frozen=True, slots=True)
class Script:
    """leaders: of views 1, 2, ...; sides: for each of those views, to which sides each node
    belongs, as bits; two nodes hear each other where they share one. The last node is the twin of
    `doubled`."""

    seed: int
    stakes: tuple[int, ...]
    doubled: int
    leaders: tuple[int, ...]
    sides: tuple[tuple[int, ...], ...]


def draw_script(seed: int, size: int = 4) -> Script:
    """Draw a script: each side has a twin, and every other node one, the other, both or none."""
    rng = Random(f"twins {seed}")
    views = rng.randint(3, 5)
    doubled = rng.randrange(size)
    leaders = tuple(doubled if rng.random() < 0.6 else rng.randrange(size) for _ in range(views))
    sustained = rng.random() < 0.3
    first = _sides(rng, size, doubled)
    sides = tuple(first if sustained else _sides(rng, size, doubled) for _ in range(views))
    return Script(seed, (1,) * size, doubled, leaders, sides)


def _sides(rng: Random, size: int, doubled: int) -> tuple[int, ...]:
    """Return the bits of each node, the twin's last; the first twin is of side 1."""
    bits = [rng.choice((0, 1, 1, 2, 2, 3, 3)) for _ in range(size)]
    bits[doubled] = 1
    return (*bits, 2)


def entropy_for(leaders: tuple[int, ...], stakes: tuple[int, ...]) -> bytes:
    """Find a seed under which the first views are led as wanted."""
    for number in count():
        seed = number.to_bytes(32, "little")
        if all(leader_of(seed, v, stakes) == who for v, who in enumerate(leaders, 1)):
            return seed
    raise AssertionError("the search has no end")


class Twin(Actor):
    """An honest program that does not know of its double."""


def build_twins(script: Script) -> World:
    """Put the world of a script together."""
    scenario = Scenario(
        seed=script.seed,
        stakes=script.stakes,
        length=8,
        byzantine={script.doubled: "silent"},
        rough=Quality(10, 5),
        smooth=Quality(10, 5),
        entropy=entropy_for(script.leaders, script.stakes),
    )
    world = build(scenario)
    key = world.ring.key(script.doubled)
    one = Twin(world, script.doubled, key, scenario.pace)
    # With another clock its blocks are other blocks.
    other = Twin(world, len(script.stakes), key, scenario.pace, Hardware(skew=7))
    world.nodes[script.doubled] = one
    world.nodes.append(other)
    launch(world, scenario)
    world.filter = partial(_passes, world, script)
    return world


def _passes(world: World, script: Script, source: Node, target: Node, message: Message) -> bool:
    if world.now >= SCRIPTED_MS:
        return True
    view = _view_of(message)
    if view is None or view > len(script.sides):
        return True
    sides = script.sides[view - 1]
    return bool(sides[source.index] & sides[target.index])


def _view_of(message: Message) -> int | None:
    if isinstance(message, Vote | Proposal):
        return message.view if message.epoch == 0 else None
    if isinstance(message, CertificateNotice):
        certificate = message.certificate
        return certificate.view if certificate.epoch == 0 else None
    return None


def play_twins(script: Script, finals: int = 3, bound: int = 240_000) -> Outcome:
    """Run a script, then let all hear all; the honest ones have to go on together."""
    world = build_twins(script)
    honest = [node for node in world.nodes if not node.byzantine]
    problem: str | None = None
    try:
        world.run(SCRIPTED_MS)
        goal = max(len(node.ledger.final) for node in honest) - 1 + finals
        if not world.run(SCRIPTED_MS + bound, progressed(world, honest, goal)):
            problem = f"L1 no block {goal}"
        scenario = Scenario(script.seed, script.stakes, byzantine={script.doubled: "silent"})
        check_end(world, scenario)
    except Violation as violation:
        problem = str(violation)
    blocks = max(len(node.ledger.final) for node in honest) - 1
    return Outcome(script.seed, problem, world.digest(), world.events, blocks, 0, world.now)
