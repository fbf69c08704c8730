"""What brought other implementations of this protocol down, each as a scene with the real core."""

from __future__ import annotations

import pytest
from scripted_chain import BROKEN
from scripted_proposals import certify, craft, finalized, nullified, seed_where
from scripted_world import DOMAIN, LATENCY, PACE, Node, World, proposals

from consensus.core.events import Responded, Timer, TimerFired, TimerKind, VoteSigned
from consensus.core.evidence import EvidenceKind, check_evidence
from consensus.core.messages import (
    CertificateNotice,
    CertificatesRequest,
    EpochProof,
    EpochProofs,
    EpochProofsRequest,
    Message,
    Proposal,
    Vote,
    encode_message,
)
from consensus.core.records import OwnVote, SeenCertificate
from consensus.core.replica import STANDSTILL_BYTES
from consensus.core.votes import Subject, VoteKind
from runtime.primitives.keys import verify_ed25519

NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE
EQUAL = (1, 1, 1, 1)
ME = 0


def nothing(sender: int, receiver: int, message: Message) -> bool:
    return False


def is_vote(message: Message, kind: VoteKind) -> bool:
    """Tell whether a message carries votes of a kind, a certificate included."""
    if isinstance(message, CertificateNotice):
        return message.certificate.kind == kind
    return isinstance(message, Vote) and message.kind == kind


def without(kind: VoteKind) -> object:
    return lambda sender, receiver, message: not is_vote(message, kind)


def alone(*leaders: int) -> World:
    """Make a world where only the first validator runs, and no message passes by itself."""
    world = World(seed=seed_where(EQUAL, leaders))
    world.passes = nothing
    world.start(ME)
    return world


def cast(world: World, kind: VoteKind) -> list[int]:
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
    leaders = [1] * 18
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
    assert len(leaders) == 18


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

    stop_before_showing(world)
    assert world.run(5 * PACE.certificate, all_gave_up)
    world.crash()
    world.passes = lambda *_: True
    for node in world.nodes:
        node.builds = True
    world.restart()
    assert world.run(100 * PACE.certificate, lambda: world.height() >= 3)
    world.check()


def stop_before_showing(world: World) -> None:
    """Let every driver die between the disk and the network: a signed vote is not told on."""
    later = world.later

    def dying(node: Node, event: object, delay: int = 0) -> None:
        if not (isinstance(event, VoteSigned) and event.vote.kind == NULLIFY):
            later(node, event, delay)  # type: ignore[arg-type]

    world.later = dying  # type: ignore[method-assign, assignment]
    restart = world.restart

    def healed(*positions: int) -> None:
        world.later = later  # type: ignore[method-assign]
        restart(*positions)

    world.restart = healed  # type: ignore[method-assign]


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
    world.passes = without(FINALIZE)  # type: ignore[assignment]
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
    world.passes = without(FINALIZE)  # type: ignore[assignment]
    world.start()
    assert world.run(20_000, lambda: all(n.replica.view > 8 for n in world.nodes))
    shown = {p.view: p for n in world.nodes for p in proposals(n.sent) if p.epoch == 0}
    last = shown[2].block
    assert all(shown[view].block == last for view in range(2, 9))
    assert [shown[view].parent_view for view in range(3, 9)] == list(range(2, 8))
    world.passes = lambda *_: True
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
    world.passes = without(FINALIZE)  # type: ignore[assignment]
    world.start()
    assert world.run(20_000, lambda: all(n.replica.view > 4 for n in world.nodes))
    shown = {p.view: p for n in world.nodes for p in proposals(n.sent)}
    assert len({world.leads(view) for view in range(1, 5)}) == 4
    assert len({shown[view].block.header.hash() for view in range(1, 5)}) == 1
    assert all(len(node.executed) <= 1 for node in world.nodes)
    if crash_in_between:
        world.crash()
    world.passes = lambda *_: True
    if crash_in_between:
        world.restart()
    assert world.run(20_000, lambda: world.height() >= 3)
    assert all(node.reports == [] and node.stops == [] for node in world.nodes)
    world.check()


# --- P10: an epoch serves until the next one has something final --------------------------------


def test_p10_the_old_epoch_serves_until_something_is_final_in_the_new_one() -> None:
    world = World(ends=(2,))
    late = 3
    world.passes = lambda sender, receiver, message: (
        late not in (sender, receiver) and not (isinstance(message, Proposal) and message.epoch)
    )
    world.start()
    assert world.run(20_000, lambda: all(n.replica.epoch.number == 1 for n in world.nodes[:3]))
    world.run(5 * PACE.standstill)
    assert all(0 in node.logs for node in world.nodes[:3])
    assert all(node.core.previous is not None for node in world.nodes[:3])
    held = world.nodes[ME].core.certificates(0, 1, 64)
    assert any(c.kind == FINALIZE and c.number == 2 for c in held)
    world.passes = lambda sender, receiver, message: (
        not (isinstance(message, Proposal) and message.epoch)
    )
    assert world.run(20 * PACE.status, lambda: world.nodes[late].replica.epoch.number == 1)
    assert world.height() == 2
    world.passes = lambda *_: True
    assert world.run(
        20_000, lambda: world.height() >= 3 and all(0 not in n.logs for n in world.nodes)
    )
    world.check()


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
    world.send(1, ME, craft(world, 1, leader=2))
    world.run(LATENCY)
    assert cast(world, NOTARIZE) == []


# --- P13: a standstill is quiet -----------------------------------------------------------------


def test_p13_standstill_traffic_is_bounded_by_bytes() -> None:
    world = World()
    for node in world.nodes:
        node.more = (b"\x02\x71\x02\x00"[:4] + bytes(40_000),)
    world.passes = without(FINALIZE)  # type: ignore[assignment]
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
    world.passes = without(FINALIZE)  # type: ignore[assignment]
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
    world.passes = lambda *_: True
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
