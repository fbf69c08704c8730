"""What a validator does not vote for, and what it does not believe."""

from __future__ import annotations

import dataclasses

import pytest
from scripted_proposals import certify, craft, nullified, seed_where
from scripted_world import LATENCY, PACE, START, World

from consensus.core.evidence import EvidenceKind
from consensus.core.messages import CertificateNotice, Message
from consensus.core.state import LOOKAHEAD
from consensus.core.votes import Subject, VoteKind

ME = 0
NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE


def nothing(sender: int, receiver: int, message: Message) -> bool:
    return False


@pytest.fixture
def world() -> World:
    """Return a world where the first validator runs alone; 1 and 2 lead the first views."""
    made = World(seed=seed_where((1, 1, 1, 1), (1, 2, 3)))
    made.passes = nothing
    made.start(ME)
    return made


def cast(world: World, kind: VoteKind) -> list[int]:
    return [subject.view for subject in world.nodes[ME].votes(kind)]


def test_a_proof_of_randomness_by_another_key_gives_the_view_up(world: World) -> None:
    world.send(1, ME, craft(world, 1, prover=2))
    world.run(LATENCY)
    assert (cast(world, NOTARIZE), cast(world, NULLIFY)) == ([], [1])


@pytest.mark.parametrize("credited", [b"", b"\x0f", b"\x06"])
def test_a_header_that_credits_others_than_the_certificate_gives_the_view_up(
    world: World, credited: bytes
) -> None:
    first = craft(world, 1)
    world.send(1, ME, first)
    world.run(LATENCY)
    proof = certify(world, first.subject(), (0, 1, 2))
    world.send(2, ME, craft(world, 2, parent=first.block, proof=proof, credited=credited))
    world.run(LATENCY)
    assert (cast(world, NOTARIZE), cast(world, NULLIFY)) == ([1], [2])


def test_a_block_from_the_future_waits_for_its_time(world: World) -> None:
    early = PACE.precision + 150
    world.send(1, ME, craft(world, 1, time=START + early))
    world.run(140)
    assert cast(world, NOTARIZE) == []
    world.run(20)
    assert cast(world, NOTARIZE) == [1]


@pytest.mark.parametrize(("age", "voted"), [(0, [1]), (4500, [1]), (4501, [])])
def test_a_block_that_comes_too_late_gets_no_vote(world: World, age: int, voted: list[int]) -> None:
    assert PACE.latest_arrival(START, 0) == START + 4500
    world.send(1, ME, craft(world, 1, time=START - age))
    world.run(LATENCY)
    assert cast(world, NOTARIZE) == voted
    assert cast(world, NULLIFY) == []


def test_a_late_block_that_a_quorum_took_is_voted_for(world: World) -> None:
    late = craft(world, 1, time=START - 60_000)
    world.send(1, ME, late)
    world.run(LATENCY)
    assert cast(world, NOTARIZE) == []
    world.send(1, ME, CertificateNotice(certify(world, late.subject(), (1, 2, 3))))
    world.run(LATENCY)
    assert cast(world, NOTARIZE) == [1]
    assert cast(world, FINALIZE) == [1]


def test_a_vote_whose_signature_does_not_hold_counts_for_nobody(world: World) -> None:
    node = world.nodes[ME]
    for signer in (1, 2, 3):
        vote = world.sign(signer, Subject(NULLIFY, 0, 1))
        for forged in (
            dataclasses.replace(vote, signature=bytes(64)),
            dataclasses.replace(vote, signer=signer % 3 + 1),
            dataclasses.replace(vote, view=2),
            dataclasses.replace(vote, number=7),  # nobody signed that, so nobody may add it
        ):
            world.send(3, ME, forged)
    assert node.replica.view == 1
    assert {(p.peer, p.fault.name) for p in node.penalties} == {("3", "BAD_SIGNATURE")}
    assert node.replica.pool.of_signer(1) == ()
    for signer in (1, 2, 3):
        world.send(signer, ME, world.sign(signer, Subject(NULLIFY, 0, 1)))
    assert node.replica.view == 2


def test_votes_of_strangers_and_of_unknown_kinds_are_passed_over(world: World) -> None:
    vote = world.sign(1, Subject(NULLIFY, 0, 1))
    for odd in (dataclasses.replace(vote, signer=4), dataclasses.replace(vote, kind=3)):
        world.send(1, ME, odd)
    assert world.nodes[ME].replica.pool.of_signer(1) == ()


def test_votes_far_ahead_are_not_kept(world: World) -> None:
    pool = world.nodes[ME].replica.pool
    for view in (1 + LOOKAHEAD, 2 + LOOKAHEAD, 2**60):
        world.send(1, ME, world.sign(1, Subject(NULLIFY, 0, view)))
    assert [vote.view for vote in pool.of_signer(1)] == [1 + LOOKAHEAD]


def test_a_certificate_far_ahead_moves_the_view(world: World) -> None:
    world.send(1, ME, CertificateNotice(nullified(world, 500, (1, 2, 3))))
    assert world.nodes[ME].replica.view == 501


@pytest.mark.parametrize("signers", [(1, 2), (1,), ()])
def test_a_certificate_below_a_quorum_moves_nothing(world: World, signers: tuple[int, ...]) -> None:
    node = world.nodes[ME]
    world.send(1, ME, CertificateNotice(nullified(world, 1, signers)))
    assert node.replica.view == 1
    assert [p.fault.name for p in node.penalties] == ["BAD_CERTIFICATE"]


def test_a_leader_that_proposes_twice_is_reported_and_its_view_given_up(world: World) -> None:
    node = world.nodes[ME]
    one, other = craft(world, 1), craft(world, 1, more=(b"\x04\x01",))
    world.send(1, ME, one)
    world.send(3, ME, other)
    world.run(LATENCY)
    assert [e.kind for e in node.reports] == [EvidenceKind.CONFLICTING_NOTARIZE]
    assert len(cast(world, NOTARIZE)) <= 1
    assert cast(world, NULLIFY) == [1]


def test_when_the_leader_gives_its_view_up_so_does_everybody(world: World) -> None:
    world.send(1, ME, world.sign(1, Subject(NULLIFY, 0, 1)))
    assert cast(world, NULLIFY) == [1]
    world.send(2, ME, world.sign(2, Subject(NULLIFY, 0, 2)))
    assert cast(world, NULLIFY) == [1]  # not a view that has not come


def test_a_vote_of_this_key_that_the_log_lacks_silences_it(world: World) -> None:
    node = world.nodes[ME]
    world.send(1, ME, CertificateNotice(nullified(world, 1, (0, 1, 2))))
    assert len(node.stops) == 1
    world.send(2, ME, craft(world, 2, skipped=[nullified(world, 1, (0, 1, 2))]))
    world.run(20 * PACE.standstill)
    assert node.votes() == []


def test_without_its_log_a_validator_follows_and_signs_nothing() -> None:
    world = World()
    world.nodes[3].signs = False
    world.start()
    assert world.run(20_000, lambda: world.height() >= 5)
    assert world.nodes[3].votes() == []
    world.check()


@pytest.mark.parametrize("weights", [(1,), (1, 1, 1, 1), (5, 3, 1, 1), (1,) * 7])
def test_a_block_is_final_three_delays_after_its_proposal(weights: tuple[int, ...]) -> None:
    world = World(weights)
    world.start()
    assert world.run(20_000, lambda: world.height() >= 5)
    assert all(node.votes(NULLIFY) == [] for node in world.nodes)
    # Five blocks, each an interval after the one before; the last is final two votes later.
    assert world.now - START <= 5 * PACE.block_interval + 4 * LATENCY
    world.check()
