"""The signing gate: no two votes that contradict each other, whoever asks, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from log_records import (
    DOMAIN,
    KEY,
    OTHERS,
    A,
    B,
    F,
    N,
    S,
    enter,
    epoch_of,
    folder_at,
    gate_at,
    own_vote,
    proof,
    seen,
    subject,
)

from consensus.core.evidence import conflict
from consensus.core.records import Floor
from consensus.core.votes import Subject, VoteKind, vote_bytes
from consensus.engine.gate import SigningGate
from consensus.engine.refusals import SigningReason, SigningRefused
from runtime.primitives.keys import verify_ed25519

R = SigningReason


def refused(gate: SigningGate, what: Subject) -> SigningReason:
    before = gate.size(what.epoch)
    with pytest.raises(SigningRefused) as caught:
        gate.sign(what)
    assert gate.size(what.epoch) == before, "a refusal writes nothing"
    return caught.value.reason


def test_a_vote_is_signed_by_the_key_and_stands_in_the_log(tmp_path: Path) -> None:
    gate, folder = gate_at(tmp_path)
    vote = gate.sign(subject(N, 1))
    assert verify_ed25519(KEY.public, vote_bytes(DOMAIN, subject(N, 1)), vote.signature)
    gate.sync()
    gate.close()
    assert enter(folder).records[1:] == (own_vote(subject(N, 1)),)


def test_the_same_vote_again_is_the_same_and_makes_no_record(tmp_path: Path) -> None:
    gate, _ = gate_at(tmp_path)
    first = gate.sign(subject(S, 1))
    size = gate.size(0)
    assert gate.sign(subject(S, 1)) == first
    assert gate.size(0) == size


@pytest.mark.parametrize(
    ("earlier", "asked", "reason"),
    [
        ([subject(N, 5, A)], subject(N, 5, B), R.NOTARIZED),
        ([subject(N, 5, A, 4)], subject(N, 5, A, 3), R.NOTARIZED),
        ([subject(N, 5, A), subject(F, 5, A)], subject(F, 5, B), R.FINALIZED),
        ([subject(N, 5, A, 4), subject(F, 5, A, 4)], subject(F, 5, A, 3), R.FINALIZED),
        ([subject(N, 5, A), subject(F, 5, A)], subject(S, 5), R.FINALIZED),
        ([subject(N, 5, A), subject(S, 5)], subject(F, 5, A), R.NULLIFIED),
        ([subject(N, 5, A)], subject(F, 5, B), R.NOT_NOTARIZED),
        ([subject(N, 5, A, 4)], subject(F, 5, A, 3), R.NOT_NOTARIZED),
        ([], subject(F, 5, A), R.NOT_NOTARIZED),
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_what_would_be_evidence_is_refused(
    tmp_path: Path,
    earlier: list[Subject],
    asked: Subject,
    reason: SigningReason,
    restarted: bool,
) -> None:
    gate, folder = gate_at(tmp_path)
    for block, parent in ((A, 0), (A, 3), (A, 4), (B, 0)):
        if subject(N, 5, block, parent) in earlier or not earlier:
            gate.log(0, seen(subject(N, 5, block, parent)))
    for what in earlier:
        gate.sign(what)
    if restarted:
        gate.sync()
        gate.close()
        gate = SigningGate(KEY, DOMAIN)
        gate.enter(enter(folder))
    assert refused(gate, asked) is reason


def test_nullify_and_notarize_go_together_in_either_order(tmp_path: Path) -> None:
    gate, _ = gate_at(tmp_path)
    gate.sign(subject(S, 1))
    gate.sign(subject(N, 1))
    gate.sign(subject(N, 2))
    gate.sign(subject(S, 2))


def test_a_finalize_vote_needs_the_notarization_in_the_log(tmp_path: Path) -> None:
    gate, _ = gate_at(tmp_path)
    gate.sign(subject(N, 1))
    assert refused(gate, subject(F, 1)) is R.NO_CERTIFICATE
    gate.log(0, seen(subject(N, 1)))
    gate.sign(subject(F, 1))


def test_a_nullify_vote_with_a_block_in_it_is_refused(tmp_path: Path) -> None:
    gate, _ = gate_at(tmp_path)
    assert refused(gate, Subject(VoteKind.NULLIFY, 0, 1, 0, 0, A)) is R.NULLIFIED


def test_nothing_is_signed_up_to_the_floor_and_the_floor_never_moves_back(tmp_path: Path) -> None:
    gate, folder = gate_at(tmp_path)
    assert refused(gate, subject(N, 0)) is R.BELOW_FLOOR
    gate.log(0, seen(subject(F, 7)))
    gate.log(0, seen(subject(F, 4)))
    assert gate.floor(0) == 7
    gate.compact(proof(subject(F, 5)))
    assert gate.floor(0) == 7
    gate.sync()
    gate.close()
    gate = SigningGate(KEY, DOMAIN)
    gate.enter(enter(folder))
    assert gate.floor(0) == 7
    for kind in (N, S, F):
        assert refused(gate, subject(kind, 7)) is R.BELOW_FLOOR
    gate.compact(proof(subject(F, 7)))
    gate.log(0, Floor(proof(subject(F, 2))))
    assert gate.floor(0) == 7
    gate.sign(subject(N, 8))


def test_compaction_forgets_no_flag_above_the_floor(tmp_path: Path) -> None:
    gate, folder = gate_at(tmp_path)
    gate.sign(subject(S, 2))
    gate.sign(subject(N, 3))
    gate.log(0, seen(subject(F, 1)))
    gate.compact(proof(subject(F, 1)))
    for _ in range(2):
        assert refused(gate, subject(N, 3, B)) is R.NOTARIZED
        gate.log(0, seen(subject(N, 2)))
        gate.sign(subject(N, 2))
        assert refused(gate, subject(F, 2)) is R.NULLIFIED
        gate.sync()
        gate.close()
        gate = SigningGate(KEY, DOMAIN)
        gate.enter(enter(folder))


def test_the_database_raises_the_floor_of_a_fresh_log(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    gate = SigningGate(KEY, DOMAIN)
    gate.enter(enter(folder), final_view=9)
    assert refused(gate, subject(N, 9)) is R.BELOW_FLOOR


def test_a_log_that_is_older_than_the_database_is_not_signed_with(tmp_path: Path) -> None:
    gate, folder = gate_at(tmp_path)
    gate.sign(subject(N, 3))
    gate.sync()
    gate.close()
    gate = SigningGate(KEY, DOMAIN)
    gate.enter(enter(folder), final_view=3)
    gate.close()
    with pytest.raises(SigningRefused, match="old copy") as caught:
        SigningGate(KEY, DOMAIN).enter(enter(folder), final_view=4)
    assert caught.value.reason is R.BEHIND


def test_an_epoch_without_a_log_is_not_signed_in(tmp_path: Path) -> None:
    gate, _ = gate_at(tmp_path)
    assert refused(gate, subject(N, 1, epoch=1)) is R.NO_LOG


def test_when_an_epoch_has_begun_the_one_before_gets_no_new_vote(tmp_path: Path) -> None:
    gate, folder = gate_at(tmp_path)
    old = gate.sign(subject(N, 1))
    gate.enter(enter(folder, 1))
    assert refused(gate, subject(N, 2)) is R.EPOCH_OVER
    assert gate.sign(subject(N, 1)) == old
    gate.sign(subject(N, 1, B, epoch=1))
    gate.pass_over(2)
    assert refused(gate, subject(N, 2, epoch=1)) is R.EPOCH_OVER


def test_nothing_is_signed_while_it_listens_or_after_it_was_stopped(tmp_path: Path) -> None:
    gate, folder = gate_at(tmp_path)
    gate.sign(subject(N, 1))
    gate.listening = True
    assert refused(gate, subject(N, 1)) is R.LISTENING
    gate.listening = False
    gate.stop(0, "a double")
    assert refused(gate, subject(N, 1)) is R.STOPPED
    gate.enter(enter(folder, 1))
    gate.sign(subject(N, 1, epoch=1))


def test_a_log_of_another_key_is_refused(tmp_path: Path) -> None:
    gate, folder = gate_at(tmp_path)
    gate.sign(subject(N, 1))
    gate.sync()
    gate.close()
    for key in (OTHERS[0], type(KEY)(b"\x55" * 32)):
        with pytest.raises(SigningRefused) as caught:
            SigningGate(key, DOMAIN).enter(enter(folder))
        assert caught.value.reason is R.OTHER_KEY


def test_a_vote_of_this_key_that_the_log_lacks_is_foreign(tmp_path: Path) -> None:
    gate, _ = gate_at(tmp_path)
    own = gate.sign(subject(N, 2))
    foreign = own_vote(subject(N, 3)).vote
    forged = own_vote(subject(N, 3), OTHERS[0]).vote
    others = own_vote(subject(N, 3), OTHERS[0], 1).vote
    found = [gate.is_foreign(vote) for vote in (own, foreign, forged, others)]
    assert found == [False, True, False, False]
    gate.compact(proof(subject(F, 3)))
    assert not gate.is_foreign(foreign), "the log may have forgotten it"


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["sign", "see", "sync", "crash", "compact"]),
        st.sampled_from(list(VoteKind)),
        st.integers(1, 4),
        st.sampled_from([A, B]),
        st.integers(0, 1),
    ),
    max_size=40,
)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=ACTS)
def test_no_history_of_requests_and_crashes_yields_evidence(
    tmp_path_factory: pytest.TempPathFactory,
    acts: list[tuple[str, VoteKind, int, bytes, int]],
) -> None:
    gate, folder = gate_at(tmp_path_factory.mktemp("gate"))
    shown: set[Subject] = set()
    pending: set[Subject] = set()
    for act, kind, view, block, parent in acts:
        what = subject(kind, view, block, parent if kind is not S else 0)
        if act == "sign":
            try:
                gate.sign(what)
            except SigningRefused:
                continue
            pending.add(what)
        elif act == "see":
            gate.log(0, seen(what))
        elif act == "sync":
            gate.sync()
            shown |= pending
            pending.clear()
        elif act == "compact":
            shown |= pending
            pending.clear()
            gate.sync()
            gate.compact(proof(subject(F, view, block, parent)))
        else:
            pending.clear()
            gate.close()
            gate = SigningGate(KEY, DOMAIN)
            gate.enter(folder.enter(epoch_of(), None, live=False))
    gate.close()
    folder.close()
    assert not [(a, b) for a in shown for b in shown if conflict(a, b) is not None]
