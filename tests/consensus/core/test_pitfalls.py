"""What brought other implementations of this protocol down, each as a scene with the real core.

Proof, crashes and splits: what must not be voted for, and what must not stop the chain.
"""

from __future__ import annotations

import pytest
from scripted_proposals import EQUAL, alone, certify, craft, finalized, nullified, seed_where
from scripted_world import (
    LATENCY,
    PACE,
    World,
    everything,
    is_vote,
    nothing,
    without,
)

from consensus.core.events import Responded
from consensus.core.messages import (
    Blocks,
    BlocksRequest,
    CertificateNotice,
    CertificatesRequest,
    Message,
    Proposal,
    Vote,
)
from consensus.core.records import SeenCertificate
from consensus.core.votes import Subject, VoteKind

NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE
ME = 0


def cast(world: World, kind: VoteKind) -> list[int]:
    """List the views for which the first validator cast such a vote."""
    return [subject.view for subject in world.nodes[ME].votes(kind)]


# --- P1: a view is skipped only with proof ---------------------------------------------------


def test_p01_a_proposal_that_skips_a_view_without_proof_gets_no_vote() -> None:
    world = alone(1, 2)
    first = craft(world, 1)
    world.send(1, ME, first)
    world.run(LATENCY)
    world.send(1, ME, CertificateNotice(certify(world, first.subject(), (0, 1, 2))))
    assert cast(world, FINALIZE) == [1]
    unproven = craft(world, 2)  # on the genesis block, as if view 1 had failed
    world.send(2, ME, unproven)
    world.run(PACE.certificate)
    assert cast(world, NOTARIZE) == [1]
    assert cast(world, NULLIFY) == [2]


def test_p01_a_hash_of_a_nullification_that_nobody_shows_is_no_proof() -> None:
    world = World(seed=bytes(32))
    world.passes = nothing
    world.start(ME)
    view = next(v for v in range(18, 60) if world.leads(v) != ME)
    skips = [nullified(world, v, (1, 2, 3)) for v in range(1, view)]
    shown = skips[-16:]
    hidden = [b"\x07" * 32] * (len(skips) - 16)
    world.send(1, ME, craft(world, view, skipped=shown, hidden=hidden))
    world.run(LATENCY)
    assert cast(world, NOTARIZE) == []
    gap = CertificatesRequest(0, 1, view - 17)
    assert gap in world.nodes[ME].asked


# --- P2: no way around the guard --------------------------------------------------------------


def test_p02_saying_things_again_never_finalizes_a_view_that_was_given_up() -> None:
    world = alone(1, 2)
    node = world.nodes[ME]
    first = craft(world, 1)
    world.send(1, ME, first)
    world.run(PACE.certificate)
    assert (cast(world, NOTARIZE), cast(world, NULLIFY)) == ([1], [1])
    world.send(1, ME, CertificateNotice(certify(world, first.subject(), (0, 1, 2))))
    world.run(20 * PACE.standstill)
    world.crash(ME)
    world.restart(ME)
    world.run(20 * PACE.standstill)
    assert 1 not in cast(world, FINALIZE)
    assert node.refused == []  # the core did not even ask


# --- P3: everybody crashes behind a vote that nobody saw ---------------------------------------


@pytest.mark.parametrize("weights", [EQUAL, (5, 3, 1, 1), (1,)])
def test_p03_after_all_crash_with_a_nullify_vote_logged_and_unsent_they_go_on(
    weights: tuple[int, ...],
) -> None:
    world = World(weights)
    world.passes = nothing
    for node in world.nodes:
        node.builds = False
    world.start()

    def all_gave_up() -> bool:
        return all(node.votes(NULLIFY) for node in world.nodes)

    world.unsaid = NULLIFY
    assert world.run(5 * PACE.certificate, all_gave_up)
    world.crash()
    world.passes, world.unsaid = everything, None
    for node in world.nodes:
        node.builds = True
    world.restart()
    assert world.run(100 * PACE.certificate, lambda: world.height() >= 3)
    world.check()


def test_p03_what_was_logged_is_shown_at_once_after_a_restart() -> None:
    world = alone(1, 2)
    node = world.nodes[ME]
    world.run(PACE.leader)
    world.crash(ME)
    del node.sent[:]
    world.restart(ME)
    assert world.sign(ME, Subject(NULLIFY, 0, 1)) in node.sent


def test_p03_in_a_view_that_was_given_up_the_own_votes_and_its_entry_are_repeated() -> None:
    world = alone(1, 2)
    node = world.nodes[ME]
    world.send(1, ME, CertificateNotice(nullified(world, 1, (1, 2, 3))))
    world.send(2, ME, craft(world, 2, skipped=[nullified(world, 1, (1, 2, 3))]))
    world.run(PACE.certificate)
    wanted: list[Message] = [world.sign(ME, subject) for subject in node.votes()]
    assert {vote.kind for vote in wanted if isinstance(vote, Vote)} == {NOTARIZE, NULLIFY}
    wanted.append(CertificateNotice(nullified(world, 1, (1, 2, 3))))
    for _ in range(3):
        del node.sent[:]
        world.run(PACE.retry)
        assert all(message in node.sent for message in wanted)


# --- P4: one part holds a notarization of a view, another its nullification --------------------


@pytest.mark.parametrize("leaders", [(2, 1, 2, 3), (2, 2, 1, 3), (1, 3, 2, 1), (3, 1, 1, 2)])
@pytest.mark.parametrize("only_by_proposals", [False, True])
def test_p04_a_certified_split_heals(leaders: tuple[int, ...], only_by_proposals: bool) -> None:
    """Validator 0 is byzantine: it helps both certificates of view 1, then falls silent."""
    world = World(seed=seed_where(EQUAL, leaders))
    world.passes = lambda sender, receiver, message: (
        isinstance(message, Proposal)
        or (receiver == 1 and is_vote(message, NOTARIZE))
        or (receiver != 1 and is_vote(message, NULLIFY))
    )
    world.start(1, 2, 3)
    assert world.run(PACE.leader, lambda: all(n.votes(NOTARIZE) for n in world.nodes[1:3]))
    notarized = world.nodes[1].votes(NOTARIZE)[0]
    world.send(0, 1, world.sign(0, notarized))
    for receiver in (2, 3):
        world.send(0, receiver, world.sign(0, Subject(NULLIFY, 0, 1)))
    world.passes = lambda sender, receiver, message: receiver != 1 and is_vote(message, NULLIFY)
    world.send(0, 1, certify_notice(world, notarized))
    one, *others = (node.replica.certificates for node in world.nodes[1:])
    split = lambda: all(other.nullified(1) for other in others)  # noqa: E731
    # Two honest nullify votes and the byzantine one: only who did not finalize can give view 1 up.
    assert world.run(2 * PACE.certificate, split)
    assert one.get(NOTARIZE, 1) is not None and not one.nullified(1)
    world.passes = lambda sender, receiver, message: (
        not (only_by_proposals and isinstance(message, CertificateNotice))
    )
    assert world.run(200 * PACE.certificate, lambda: world.height(1, 2, 3) >= 3)
    world.check()


def certify_notice(world: World, subject: Subject) -> CertificateNotice:
    voters = [n.position for n in world.nodes[1:] if subject in n.votes()]
    return CertificateNotice(certify(world, subject, (0, *voters)))


# --- P5: a nullification does not unmake a notarization ----------------------------------------


def test_p05_a_block_notarized_in_a_view_that_was_given_up_is_executed_and_voted_for() -> None:
    world = alone(1, 2)
    node = world.nodes[ME]
    first = craft(world, 1)
    world.run(PACE.leader)
    assert cast(world, NULLIFY) == [1]
    world.send(1, ME, CertificateNotice(nullified(world, 1, (1, 2, 3))))
    assert node.replica.view == 2
    world.send(2, ME, CertificateNotice(certify(world, first.subject(), (1, 2, 3))))
    world.send(1, ME, first)
    world.run(LATENCY)
    assert first.block.header.hash() in node.executed
    assert cast(world, NOTARIZE) == [1]
    assert cast(world, FINALIZE) == []
    child = craft(world, 2, parent=first.block, proof=certify(world, first.subject(), (1, 2, 3)))
    world.send(2, ME, child)
    world.run(LATENCY)
    assert cast(world, NOTARIZE) == [1, 2]


def test_p05_a_notarized_block_is_fetched_though_its_view_was_given_up() -> None:
    world = World(seed=seed_where(EQUAL, (1, 2)))
    world.passes = nothing
    world.start(ME)
    first = craft(world, 1)
    world.send(1, ME, CertificateNotice(nullified(world, 1, (1, 2, 3))))
    world.send(2, ME, CertificateNotice(certify(world, first.subject(), (1, 2, 3))))
    asked = BlocksRequest((first.block.header.hash(),))
    assert asked in world.nodes[ME].asked
    world.feed(world.nodes[ME], Responded(asked, "1", Blocks((first.block,))))
    world.run(LATENCY)
    assert world.nodes[ME].chain.executed(first.block.header.hash())


# --- P6: the chain is ahead of the log ----------------------------------------------------------


def test_p06_a_chain_ahead_of_the_log_does_not_stall() -> None:
    world = World()
    world.start()
    assert world.run(5000, lambda: world.height() >= 5)
    world.crash()
    for node in world.nodes:  # only votes reached the log, and of these all that were shown
        log = node.logs[0]
        node.logs[0] = [r for r in log if not isinstance(r, SeenCertificate)]
    reached = world.height(*range(4))
    world.restart()
    assert world.run(20_000, lambda: world.height() >= reached + 3)
    world.check()


# --- P7: what comes late still counts -----------------------------------------------------------


def test_p07_finalize_votes_for_a_view_long_left_make_it_final() -> None:
    world = World()
    world.passes = without(FINALIZE)
    world.start()
    assert world.run(20_000, lambda: all(n.replica.view > 10 for n in world.nodes))
    assert world.height() == 0
    kept = [s for s in world.nodes[1].votes(FINALIZE) if s.view == 2]
    world.passes = nothing
    for sender in (1, 2, 3):
        world.send(sender, ME, world.sign(sender, kept[0]))
    world.run(LATENCY)
    assert world.height(ME) == 2


def test_p07_a_notarization_completed_by_late_votes_is_used() -> None:
    world = alone(1, 2, 3)
    first = craft(world, 1)
    world.send(1, ME, first)
    world.run(LATENCY)
    world.send(1, ME, CertificateNotice(nullified(world, 1, (1, 2, 3))))
    assert world.nodes[ME].replica.view == 2
    for sender in (2, 3):
        world.send(sender, ME, world.sign(sender, first.subject()))
    assert cast(world, FINALIZE) == [1]  # it did not give view 1 up itself


def test_p07_a_finalized_block_is_fetched_where_the_leader_showed_another() -> None:
    world = World(seed=seed_where(EQUAL, (1, 2)))
    world.passes = nothing
    world.start(0, 2)
    shown, final = craft(world, 1), craft(world, 1, more=(b"\x04\x01",))
    world.send(1, ME, shown)
    world.send(1, 2, final)
    world.run(LATENCY)
    world.passes = lambda sender, receiver, message: not isinstance(message, Vote)
    world.send(2, ME, CertificateNotice(certify(world, finalized(final.subject()), (1, 2, 3))))
    assert world.run(10 * PACE.retry, lambda: world.height(ME) == 1)
    assert world.nodes[ME].chain.final[1] == final.block.header.hash()
    assert cast(world, NOTARIZE) == [1]
