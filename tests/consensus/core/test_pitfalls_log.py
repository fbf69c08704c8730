"""The pitfalls that the signing gate and its log guard against, on a real disk.

The core is not asked: whatever it wants signed, and by whichever way, has to pass here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted_chain import GENESIS_HASH
from scripted_proposals import certify
from scripted_world import DOMAIN, World

from consensus.core.evidence import conflict
from consensus.core.records import OwnVote, SeenCertificate
from consensus.core.votes import Subject, VoteKind
from consensus.engine.folder import LogFolder, OpenedLog
from consensus.engine.gate import SigningGate
from consensus.engine.refusals import LogDamaged, SigningReason, SigningRefused

NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE


def block(kind: VoteKind, view: int) -> Subject:
    return Subject(kind, 0, view, view - 1, view, bytes((view,)) * 32)


def opened(folder: LogFolder, world: World) -> OpenedLog:
    return folder.enter(world.first, None, live=False)


def gate_on(opened_log: OpenedLog, world: World, final_view: int = 0) -> SigningGate:
    gate = SigningGate(world.keys[0], DOMAIN)
    gate.enter(opened_log, final_view)
    return gate


@pytest.fixture
def world() -> World:
    return World()


def test_p02_no_way_leads_from_a_nullify_vote_to_a_finalize_vote(
    tmp_path: Path, world: World
) -> None:
    folder = LogFolder.open(tmp_path, DOMAIN, init_log=True)
    gate = gate_on(opened(folder, world), world)
    for view in range(1, 6):
        gate.sign(block(NOTARIZE, view))
        gate.sign(Subject(NULLIFY, 0, view))
        notarized = certify(world, block(NOTARIZE, view), (0, 1, 2))
        gate.log(0, SeenCertificate(notarized))
    gate.sync()
    asked_again = [gate]
    gate.compact(certify(world, block(FINALIZE, 2), (1, 2, 3)))
    gate.close()
    asked_again.append(gate_on(opened(folder, world), world))
    for _ in range(2):
        again = asked_again[-1]
        for view in range(1, 6):
            with pytest.raises(SigningRefused) as refused:
                again.sign(block(FINALIZE, view))
            below = view <= 2
            wanted = SigningReason.BELOW_FLOOR if below else SigningReason.NULLIFIED
            assert refused.value.reason is wanted
    asked_again[-1].close()
    folder.close()


def test_p06_a_log_that_ends_before_the_chain_is_not_signed_with(
    tmp_path: Path, world: World
) -> None:
    folder = LogFolder.open(tmp_path, DOMAIN, init_log=True)
    gate = gate_on(opened(folder, world), world)
    gate.sign(block(NOTARIZE, 1))
    gate.sync()
    gate.close()
    with pytest.raises(SigningRefused) as refused:
        gate_on(opened(folder, world), world, final_view=9)
    assert refused.value.reason is SigningReason.BEHIND
    ahead = gate_on(opened(folder, world), world, final_view=1)
    with pytest.raises(SigningRefused) as refused:
        ahead.sign(Subject(NULLIFY, 0, 1))
    assert refused.value.reason is SigningReason.BELOW_FLOOR
    ahead.sign(Subject(NULLIFY, 0, 2))
    ahead.close()
    folder.close()


def test_p06_wherever_a_crash_tears_the_log_no_vote_that_was_shown_is_contradicted(
    tmp_path: Path, world: World
) -> None:
    folder = LogFolder.open(tmp_path, DOMAIN, init_log=True)
    log = opened(folder, world)
    gate = gate_on(log, world)
    shown, marks = [], []
    for view in (1, 2, 3):
        shown.append(gate.sign(block(NOTARIZE, view)))
        gate.sync()
        marks.append(gate.size(0))
    gate.close()
    path = folder.log_path(0)
    whole = path.read_bytes()
    assert len(whole) == marks[-1]
    for end in range(marks[0], len(whole) + 1, 7):
        path.write_bytes(whole[:end])
        again = gate_on(opened(folder, world), world)
        for vote, mark in zip(shown, marks, strict=True):
            other = Subject(NOTARIZE, 0, vote.view, 0, 1, GENESIS_HASH)
            if mark <= end:  # it may have been shown
                assert conflict(vote.subject(), other) is not None
                with pytest.raises(SigningRefused):
                    again.sign(other)
                assert again.sign(vote.subject()) == vote
        again.close()
    folder.close()


def test_p06_a_log_with_a_hole_is_not_signed_with(tmp_path: Path, world: World) -> None:
    folder = LogFolder.open(tmp_path, DOMAIN, init_log=True)
    gate = gate_on(opened(folder, world), world)
    first = gate.size(0)
    for view in (1, 2, 3):
        gate.sign(block(NOTARIZE, view))
    gate.sync()
    gate.close()
    path = folder.log_path(0)
    whole = path.read_bytes()
    for at in range(first, first + 60, 9):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
        with pytest.raises(LogDamaged):
            opened(folder, world)
    path.write_bytes(whole)
    records = opened(folder, world).records
    assert [r.vote.view for r in records if isinstance(r, OwnVote)] == [1, 2, 3]
    folder.close()
