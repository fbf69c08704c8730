"""What brought other implementations of this protocol down, each as a scene with the real core.

Floors and the ends of epochs.
"""

from __future__ import annotations

import pytest
from scripted_proposals import EQUAL, certify, craft, nullified, seed_where
from scripted_world import (
    LATENCY,
    PACE,
    Node,
    World,
    everything,
    nothing,
    proposals,
    without,
)

from consensus.core.events import Responded
from consensus.core.messages import (
    CertificateNotice,
    EpochProof,
    EpochProofs,
    EpochProofsRequest,
    Proposal,
)
from consensus.core.records import OwnVote
from consensus.core.votes import Subject, VoteKind

NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE
ME = 0


def cast(world: World, kind: VoteKind) -> list[int]:
    """List the views for which the first validator cast such a vote."""
    return [subject.view for subject in world.nodes[ME].votes(kind)]


# --- P8: the floor never moves back, and views belong to their epoch ----------------------------


def test_p08_nothing_is_signed_at_or_below_the_floor_after_a_restart() -> None:
    world = World(seed=seed_where(EQUAL, (1, 2, 3, 1)))
    world.start()
    assert world.run(5000, lambda: world.height() >= 4)
    world.passes = nothing
    world.crash(ME)
    node = world.nodes[ME]
    floor = world.nodes[ME].replica.final.view
    node.logs[0] = node.logs[0][:1]  # compacted: the votes below the floor are gone
    world.restart(ME)
    assert node.replica.final.view == floor
    assert node.replica.view == floor + 1
    for view in range(1, floor + 1):
        skips = [nullified(world, v, (1, 2, 3)) for v in range(1, view)]
        world.send(1, ME, craft(world, view, skipped=skips))
        world.send(1, ME, world.sign(world.leads(view), Subject(NULLIFY, 0, view)))
    world.run(PACE.leader - 1)
    assert min((s.view for s in node.votes()), default=floor + 1) > floor


def test_p08_views_start_again_in_each_epoch_and_old_votes_do_not_move_them() -> None:
    world = World(ends=(6,))
    world.start()
    assert world.run(20_000, lambda: world.nodes[ME].replica.epoch.number == 1)
    node = world.nodes[ME]
    assert node.replica.view <= 2
    for view in (node.replica.view, 9, 40):
        for sender in (1, 2, 3):
            world.send(sender, ME, world.sign(sender, Subject(NULLIFY, 0, view)))
        world.send(1, ME, CertificateNotice(nullified(world, view, (1, 2, 3))))
    assert node.replica.epoch.number == 1
    assert node.replica.view <= 2
    assert not any(node.replica.certificates.nullified(view) for view in range(1, 64))


# --- P9, P17: the last block of an epoch --------------------------------------------------------


def test_p09_above_a_notarized_last_block_only_that_block_is_proposed() -> None:
    world = World(ends=(2,))
    world.passes = without(FINALIZE)
    world.start()
    assert world.run(20_000, lambda: all(n.replica.view > 8 for n in world.nodes))
    shown = {p.view: p for n in world.nodes for p in proposals(n.sent) if p.epoch == 0}
    last = shown[2].block
    assert all(shown[view].block == last for view in range(2, 9))
    assert [shown[view].parent_view for view in range(3, 9)] == list(range(2, 8))
    world.passes = everything
    assert world.run(20_000, lambda: all(n.replica.epoch.number == 1 for n in world.nodes))
    assert all(node.chain.final[2] == last.header.hash() for node in world.nodes)
    assert all(s.number <= 2 for n in world.nodes for s in n.votes() if s.epoch == 0)
    world.check()


def test_p09_something_else_on_a_notarized_last_block_gets_no_vote() -> None:
    world = World(ends=(1,), seed=seed_where(EQUAL, (1, 2)))
    world.passes = nothing
    world.start(ME)
    last = craft(world, 1)
    world.send(1, ME, last)
    world.run(LATENCY)
    notarized = certify(world, last.subject(), (0, 1, 2))
    child = craft(world, 2, parent=last.block, proof=notarized)
    world.send(2, ME, child)
    world.run(LATENCY)
    assert cast(world, NOTARIZE) == [1]
    assert cast(world, NULLIFY) == [2]


def test_p09_an_epochs_log_is_not_replayed_into_the_next() -> None:
    world = World(ends=(3,))
    world.start()
    assert world.run(20_000, lambda: world.height() == 3 and ready(world, 1))
    world.crash()
    for node in world.nodes:
        assert {r.vote.epoch for r in node.logs[1] if isinstance(r, OwnVote)} <= {1}
    world.restart()
    assert all(node.replica.epoch.number == 1 for node in world.nodes)
    assert world.run(20_000, lambda: world.height() >= 6)
    assert all(not node.refused and not node.stops for node in world.nodes)
    world.check()


def ready(world: World, epoch: int) -> bool:
    return all(node.replica.epoch.number == epoch for node in world.nodes)


def test_p09_a_finalization_of_another_block_does_not_end_an_epoch() -> None:
    world = World(ends=(3,))
    world.start(1, 2, 3)
    assert world.run(20_000, lambda: world.height(1, 2, 3) >= 3)
    chain = world.nodes[1].chain
    world.passes = nothing
    world.start(ME)
    node = world.nodes[ME]
    last, before = (chain.known[chain.final[n]].header for n in (3, 2))
    proof = world.nodes[1].core.previous or world.nodes[1].replica
    ended = proof.ended
    assert ended is not None
    wrong = certify(world, Subject(FINALIZE, 0, 2, 1, before.number, before.hash()), (1, 2, 3))
    for lie in (EpochProof(last, wrong), EpochProof(before, wrong), EpochProof(before, ended)):
        event = Responded(EpochProofsRequest(0, 16), "1", EpochProofs((lie,)))
        world.feed(node, event)
        assert node.replica.final.number == 0
    assert len(node.penalties) == 3
    world.feed(
        node, Responded(EpochProofsRequest(0, 16), "1", EpochProofs((EpochProof(last, ended),)))
    )
    assert node.replica.final.number == 3


@pytest.mark.parametrize("crash_in_between", [False, True])
def test_p17_the_same_block_by_different_leaders_is_one_block(crash_in_between: bool) -> None:
    world = World(ends=(1,), seed=seed_where(EQUAL, (1, 2, 3, 0)))
    world.passes = without(FINALIZE)
    world.start()
    assert world.run(20_000, lambda: all(n.replica.view > 4 for n in world.nodes))
    shown = {p.view: p for n in world.nodes for p in proposals(n.sent)}
    assert len({world.leads(view) for view in range(1, 5)}) == 4
    assert len({shown[view].block.header.hash() for view in range(1, 5)}) == 1
    assert all(len(node.executed) <= 1 for node in world.nodes)
    if crash_in_between:
        world.crash()
    world.passes = everything
    if crash_in_between:
        world.restart()
    assert world.run(20_000, lambda: world.height() >= 3)
    assert all(node.reports == [] and node.stops == [] for node in world.nodes)
    world.check()


def old_votes(node: Node) -> list[Subject]:
    return [subject for subject in node.votes() if subject.epoch == 0]


# --- P10: an epoch serves until the next one has something final --------------------------------


def test_p10_the_old_epoch_serves_until_something_is_final_in_the_new_one() -> None:
    world = World(ends=(2,))
    late = 3
    world.passes = lambda sender, receiver, message: (
        late not in (sender, receiver) and not (isinstance(message, Proposal) and message.epoch)
    )
    world.start()
    assert world.run(20_000, lambda: all(n.replica.epoch.number == 1 for n in world.nodes[:3]))
    voted = [len(old_votes(node)) for node in world.nodes]
    world.run(5 * PACE.standstill)
    assert [len(old_votes(node)) for node in world.nodes] == voted
    assert all(0 in node.logs for node in world.nodes[:3])
    assert all(node.core.previous is not None for node in world.nodes[:3])
    held = world.nodes[ME].core.certificates(0, 1, 64)
    assert any(c.kind == FINALIZE and c.number == 2 for c in held)
    world.passes = lambda sender, receiver, message: (
        not (isinstance(message, Proposal) and message.epoch)
    )
    assert world.run(20 * PACE.status, lambda: world.nodes[late].replica.epoch.number == 1)
    assert world.height() == 2
    world.passes = everything
    assert world.run(
        20_000, lambda: world.height() >= 3 and all(0 not in n.logs for n in world.nodes)
    )
    world.check()
