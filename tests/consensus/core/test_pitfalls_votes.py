"""What brought other implementations of this protocol down, each as a scene with the real core.

Evidence, leaders, traffic, waiting, and votes that are cast once.
"""

from __future__ import annotations

import pytest
from scripted_chain import BROKEN
from scripted_proposals import alone, certify, craft, finalized, nullified
from scripted_world import (
    DOMAIN,
    LATENCY,
    PACE,
    World,
    everything,
    nothing,
    proposals,
    without,
)

from consensus.core.events import Timer, TimerFired, TimerKind
from consensus.core.evidence import EvidenceKind, check_evidence
from consensus.core.messages import (
    CertificateNotice,
    encode_message,
)
from consensus.core.repeating import STANDSTILL_BYTES
from consensus.core.votes import Subject, VoteKind
from runtime.primitives.keys import verify_ed25519

NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE
ME = 0


def cast(world: World, kind: VoteKind) -> list[int]:
    """List the views for which the first validator cast such a vote."""
    return [subject.view for subject in world.nodes[ME].votes(kind)]


# --- P11: certificates hold their signers to account --------------------------------------------


def test_p11_two_certificates_give_evidence_that_a_stranger_can_check() -> None:
    world = alone(1, 2)
    node = world.nodes[ME]
    one, other = craft(world, 1), craft(world, 1, more=(b"\x04\x01",))
    world.send(1, ME, CertificateNotice(certify(world, one.subject(), (1, 2, 3))))
    world.send(1, ME, CertificateNotice(certify(world, other.subject(), (1, 2, 3))))
    final = finalized(one.subject())
    world.send(1, ME, CertificateNotice(certify(world, final, (1, 2, 3))))
    world.send(1, ME, CertificateNotice(nullified(world, 1, (1, 2, 3))))
    validators = world.first.validators
    found = {
        (check_evidence(e, DOMAIN, validators, verify_ed25519), EvidenceKind(e.kind).name)
        for e in node.reports
    }
    kinds = ("CONFLICTING_NOTARIZE", "NULLIFY_FINALIZE")
    assert found >= {(signer, kind) for signer in (1, 2, 3) for kind in kinds}
    assert {signer for signer, _ in found} == {1, 2, 3}


# --- P12: who leads follows from the view -------------------------------------------------------


@pytest.mark.parametrize("claims", [1, 2])
def test_p12_a_proposal_by_another_than_the_leader_gets_no_vote(claims: int) -> None:
    world = alone(1, 2)
    node = world.nodes[ME]
    world.send(2, ME, craft(world, 1, signer=2, leader=claims))
    world.run(LATENCY)
    assert node.executed == [] and node.votes() == []
    assert [penalty.fault.name for penalty in node.penalties] == ["BAD_SIGNATURE"]
    world.send(1, ME, craft(world, 1))
    world.run(LATENCY)
    assert cast(world, NOTARIZE) == [1]


def test_p12_a_header_that_names_another_leader_gets_no_vote() -> None:
    world = alone(1, 2)
    world.send(1, ME, craft(world, 1, leader=2, prover=1))
    world.run(LATENCY)
    assert cast(world, NOTARIZE) == []
    assert cast(world, NULLIFY) == [1]


# --- P13: a standstill is quiet -----------------------------------------------------------------


def test_p13_standstill_traffic_is_bounded_by_bytes() -> None:
    world = World()
    for node in world.nodes:
        node.more = (b"\x02\x71\x02\x00"[:4] + bytes(40_000),)
    world.passes = without(FINALIZE)
    world.start()
    assert world.run(60_000, lambda: all(n.replica.view > 24 for n in world.nodes))
    node = world.nodes[ME]
    undecided = sum(len(encode_message(p)) for n in world.nodes for p in proposals(n.sent)[::3])
    assert undecided > 2 * STANDSTILL_BYTES
    world.passes = nothing
    world.run(PACE.certificate + PACE.standstill)
    before, periods = node.bytes_sent, 50
    proposed = {p.view for p in proposals(node.sent)}
    del node.sent[:]
    world.run(periods * PACE.standstill)
    peers, largest = 3, 50_000
    each = STANDSTILL_BYTES + largest + 50_000  # R7's repetitions and the status are small
    assert node.bytes_sent - before <= periods * peers * each
    again = {p.view for p in proposals(node.sent)}
    own_undecided = {view for view in proposed if view > node.replica.final.view}
    assert again >= own_undecided  # the bound delays, it does not starve


def test_p13_a_stalled_validator_sends_at_a_steady_rate() -> None:
    world = World()
    world.start(0, 1)
    world.run(20 * PACE.standstill)
    node = world.nodes[ME]
    sent = []
    for _ in range(2):
        before = node.bytes_sent
        world.run(100 * PACE.standstill)
        sent.append(node.bytes_sent - before)
    assert sent[1] <= sent[0] * 11 // 10
    assert max(sent) < 100 * 20_000
    assert world.height(0, 1) == 0


# --- P14: waiting grows until something is final ------------------------------------------------


def test_p14_views_without_skips_do_not_reset_the_backoff() -> None:
    world = World()
    world.passes = without(FINALIZE)
    world.start()
    node = world.nodes[ME]
    waits: dict[int, int] = {}

    def note() -> bool:
        timer = Timer(TimerKind.CERTIFICATE, 0, node.replica.view)
        if timer in node.timers:
            waits.setdefault(node.replica.view, node.timers[timer] - world.now)
        return node.replica.view > 12

    assert world.run(60_000, note)
    assert node.votes(NULLIFY) == []
    assert [waits[v] for v in range(1, 13)] == [
        PACE.backed_off(PACE.certificate, view) for view in range(1, 13)
    ]
    assert waits[12] > 5 * waits[1]
    world.passes = everything
    assert world.run(20_000, lambda: world.height() > 12)
    waits.clear()
    world.run(1000, lambda: note() and len(waits) > 2)
    assert max(waits.values()) <= PACE.backed_off(PACE.certificate, 3)


# --- P15: invalid is not missing ----------------------------------------------------------------


def test_p15_an_invalid_block_is_answered_at_once() -> None:
    world = alone(1, 2)
    world.send(1, ME, craft(world, 1, more=(BROKEN,)))
    world.run(LATENCY)
    assert cast(world, NULLIFY) == [1]
    assert cast(world, NOTARIZE) == []


def test_p15_missing_data_is_waited_for() -> None:
    world = alone(1, 2)
    node = world.nodes[ME]
    first = craft(world, 1)
    notarized = certify(world, first.subject(), (1, 2, 3))
    second = craft(world, 2, parent=first.block, proof=notarized)
    world.send(2, ME, second)
    assert node.replica.view == 2
    world.run(PACE.leader)
    assert node.votes() == []
    world.send(1, ME, first)
    world.run(LATENCY)
    assert cast(world, NOTARIZE) == [1, 2]
    assert cast(world, NULLIFY) == []


# --- P16: a vote is cast once -------------------------------------------------------------------


def test_p16_a_view_is_given_up_once_whatever_speaks_against_it() -> None:
    world = alone(1, 2)
    node = world.nodes[ME]
    for kind in (TimerKind.LEADER, TimerKind.CERTIFICATE, TimerKind.LEADER):
        world.feed(node, TimerFired(Timer(kind, 0, 1)))
    world.send(1, ME, world.sign(1, Subject(NULLIFY, 0, 1)))
    world.send(1, ME, craft(world, 1, more=(BROKEN,)))
    world.run(LATENCY)
    world.crash(ME)
    world.restart(ME)
    for kind in (TimerKind.LEADER, TimerKind.CERTIFICATE, TimerKind.RETRY):
        world.feed(node, TimerFired(Timer(kind, 0, 1)))
    world.run(5 * PACE.standstill)
    assert cast(world, NULLIFY) == [1]


def test_p16_a_vote_that_comes_often_counts_once() -> None:
    world = alone(1, 2)
    node = world.nodes[ME]
    vote = world.sign(2, Subject(NULLIFY, 0, 1))
    for _ in range(5):
        world.send(2, ME, vote)
        world.send(3, ME, vote)
    assert node.replica.view == 1
    assert node.penalties == [] and node.reports == []
    world.send(3, ME, world.sign(3, Subject(NULLIFY, 0, 1)))
    world.send(1, ME, world.sign(1, Subject(NULLIFY, 0, 1)))
    assert node.replica.view == 2


def test_p16_an_own_vote_is_counted_again_after_a_restart_and_logged_once() -> None:
    world = alone(1, 2)
    node = world.nodes[ME]
    world.run(PACE.leader)
    world.crash(ME)
    world.restart(ME)
    for sender in (2, 3):
        world.send(sender, ME, world.sign(sender, Subject(NULLIFY, 0, 1)))
    assert node.replica.view == 2
    assert cast(world, NULLIFY) == [1]
