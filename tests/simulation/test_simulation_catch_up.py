"""Who was away, is new, lost its log or got an old disk: it comes back, and harms nobody."""

from __future__ import annotations

from dataclasses import replace

from consensus.core.messages import Message, Vote
from tests.simulation.links import Quality
from tests.simulation.node import Hardware, Node
from tests.simulation.scenario import PACE, Scenario, build, check_end, launch, progressed
from tests.simulation.world import World

STEADY = Quality(10, 10)


def _world(scenario: Scenario) -> World:
    return launch(build(scenario), scenario)


def _steady(
    stakes: tuple[int, ...] = (1, 1, 1, 1), length: int = 4, outsiders: int = 0
) -> Scenario:
    return Scenario(
        seed=3,
        stakes=stakes,
        length=length,
        outsiders=outsiders,
        rough=STEADY,
        smooth=STEADY,
        hardware=(Hardware(listen=2 * PACE.leader),) * len(stakes),
    )


def _height(world: World) -> int:
    return max(len(node.ledger.final) for node in world.nodes) - 1


def _votes(world: World, node: Node, epoch: int | None = None) -> int:
    """Count the votes that a node has ever signed, of all epochs or of one."""
    public = node.key.public if node.key is not None else b""
    return sum(
        public == signer
        for (e, _), tally in world.oracle._tallies.items()
        if epoch in (None, e)
        for signer, _, _ in tally.seen
    )


def _follows(world: World, scenario: Scenario, nodes: list[Node], blocks: int = 4) -> None:
    goal = _height(world) + blocks
    assert world.run(world.now + 60_000, progressed(world, nodes, goal))
    check_end(world, scenario)


def test_a_validator_that_was_down_for_many_epochs_comes_back_and_votes() -> None:
    scenario = _steady()
    world = _world(scenario)
    world.run(1_000)
    world.nodes[2].crash()
    world.run(20_000)
    assert len(world.nodes[0].ledger.boundaries) > 20
    world.nodes[2].start()
    _follows(world, scenario, world.nodes)
    before = _votes(world, world.nodes[2])
    _follows(world, scenario, world.nodes, 12)
    assert _votes(world, world.nodes[2]) > before


def test_a_new_full_node_follows_over_more_epochs_than_one_answer_holds() -> None:
    scenario = _steady((1, 1, 1, 1, 0), length=3, outsiders=1)
    scenario.late[4] = 20_000
    world = _world(scenario)
    world.run(20_000)
    assert len(world.nodes[0].ledger.boundaries) > 32
    _follows(world, scenario, world.nodes)
    assert world.nodes[4].participant.signing is False


def test_a_new_full_node_follows_within_one_long_epoch() -> None:
    scenario = _steady((1, 1, 1, 1, 0), length=10_000, outsiders=1)
    scenario.late[4] = 80_000
    world = _world(scenario)
    world.run(80_000)
    assert _height(world) > 600
    _follows(world, scenario, world.nodes)


def test_a_validator_without_its_log_observes_until_the_next_epoch() -> None:
    scenario = _steady(length=60)
    world = _world(scenario)
    world.run(2_000)
    lost = world.nodes[1]
    lost.crash()
    lost.lose_logs()
    voted = _votes(world, lost)
    lost.start()
    _follows(world, scenario, world.nodes)
    assert lost.participant.status().epoch == 0
    assert _votes(world, lost) == voted
    assert world.run(40_000, lambda: bool(_votes(world, lost, epoch=1)))


def test_an_older_copy_of_a_disk_signs_nothing_in_that_epoch() -> None:
    scenario = _steady(length=100)
    world = _world(scenario)
    world.run(1_500)
    node = world.nodes[3]
    copy = node.copy_disk()
    world.run(4_000)
    voted = _votes(world, node)
    node.crash()
    node.restore(copy)
    node.start()
    _follows(world, scenario, world.nodes)
    assert node.participant.status().epoch == 0
    assert node.doubled
    assert _votes(world, node) == voted


def test_a_copy_of_a_disk_from_an_epoch_before_signs_nothing_in_this_one() -> None:
    scenario = _steady(length=30)
    world = _world(scenario)
    world.run(1_000)
    node = world.nodes[3]
    copy = node.copy_disk()
    assert world.run(20_000, lambda: bool(_votes(world, node, epoch=1)))
    world.run(world.now + 300)
    voted = _votes(world, node, epoch=1)
    node.crash()
    node.restore(copy)
    node.start()
    _follows(world, scenario, world.nodes)
    assert node.participant.status().epoch == 1
    assert _votes(world, node, epoch=1) == voted


def test_two_processes_with_one_disk_copy_are_noticed_by_each_other() -> None:
    scenario = _steady((1, 1, 1, 1, 1, 1, 1), length=1_000)
    world = _world(scenario)
    world.run(1_500)
    original = world.nodes[6]
    double = Node(world, 7, original.key, scenario.pace, scenario.hardware[6])
    world.nodes.append(double)
    double.restore(original.copy_disk())
    original.may_double = True
    world.run(2_500)
    double.start()
    _follows(world, scenario, world.nodes[:6])
    assert double.doubled


def test_all_validators_restart_at_once_and_go_on() -> None:
    scenario = _steady()
    world = _world(scenario)
    for when in range(1_000, 5_000, 230):
        world.run(when)
        for node in world.nodes:
            node.crash()
        for node in world.nodes:
            node.start(listen=0)
    _follows(world, scenario, world.nodes)


def test_a_chain_of_one_validator_survives_a_crash_after_every_action() -> None:
    scenario = replace(_steady((1,), length=2), hardware=(Hardware(listen=0),))
    world = _world(scenario)
    for actions in range(60):
        world.run(200 * (actions + 1))
        node = world.nodes[0]
        node.crash_in = actions % 30
        world.run(200 * (actions + 1) + 150)
        node.crash()
        node.start(listen=0)
    _follows(world, scenario, world.nodes)
    assert _height(world) > 10


def test_a_node_without_a_key_never_votes() -> None:
    scenario = _steady((1, 1, 1, 1, 0), outsiders=1)
    world = _world(scenario)
    seen: set[str] = set()

    def note(source: Node, _: Node, message: Message) -> bool:
        if isinstance(message, Vote):
            seen.add(source.name)
        return True

    world.filter = note
    world.run(3_000)
    assert seen == {"n0", "n1", "n2", "n3"}


def test_who_missed_a_boundary_replaces_a_validator_that_falls_silent_in_the_new_epoch() -> None:
    scenario = _steady(length=40)
    world = _world(scenario)
    assert world.run(20_000, lambda: _height(world) >= 36)
    late, silent = world.nodes[0], world.nodes[3]
    late.crash()
    assert world.run(20_000, lambda: _height(world) >= 43)
    late.start()
    assert world.run(20_000, lambda: len(late.ledger.final) - 1 >= 43)
    silent.crash()
    goal = _height(world) + 4
    assert world.run(world.now + 60_000, progressed(world, world.nodes[:3], goal))
    assert _votes(world, late, epoch=1)


def test_an_old_copy_that_comes_to_a_later_epoch_signs_nothing_that_contradicts_its_own() -> None:
    scenario = _steady(length=40)
    world = _world(scenario)
    assert world.run(20_000, lambda: _height(world) >= 38)
    node = world.nodes[3]
    copy = node.copy_disk()
    assert world.run(20_000, lambda: _height(world) >= 50)
    node.crash()
    node.restore(copy)
    voted = _votes(world, node, epoch=1)
    assert voted
    node.start()
    _follows(world, scenario, world.nodes)
    assert _votes(world, node, epoch=1) == voted
