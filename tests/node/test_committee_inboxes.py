"""An inbox opens for the holder of a registered worker's key, and for nobody else."""

from __future__ import annotations

from collections import Counter

import pytest

from node.client.material import MaterialReason, MaterialRefusal, inbox_bytes
from node.client.signing import KeyPair
from node.committee_gate import CommitteeGate
from node.committee_inboxes import CHALLENGE_SECONDS, MOST_PER_WORKER, Challenges, Inboxes
from runtime.primitives.scale import encode
from runtime.primitives.types import MultiSignature
from tests.node.committee_world import EXECUTOR, GENESIS, STRANGER, JudgedChain


@pytest.fixture
def inboxes() -> Inboxes:
    return Inboxes(CommitteeGate(JudgedChain()), Counter())


def proof(challenge: bytes, key: KeyPair = EXECUTOR, genesis: bytes = GENESIS) -> bytes:
    return encode(MultiSignature, key.sign(inbox_bytes(genesis, challenge, key.account_id)))


def refused(inboxes: Inboxes, worker: bytes, challenge: bytes, signature: bytes) -> MaterialReason:
    with pytest.raises(MaterialRefusal) as refusal:
        inboxes.prove(worker, challenge, signature)
    return refusal.value.reason


def test_a_worker_proves_its_key_once_per_challenge(inboxes: Inboxes) -> None:
    challenge = inboxes.challenges.issue()
    signature = proof(challenge)
    inboxes.prove(EXECUTOR.account_id, challenge, signature)
    bad = MaterialReason.BAD_SIGNATURE
    assert refused(inboxes, EXECUTOR.account_id, challenge, signature) is bad


def test_nobody_else_proves_it(inboxes: Inboxes) -> None:
    challenge = inboxes.challenges.issue()
    own, bad = EXECUTOR.account_id, MaterialReason.BAD_SIGNATURE
    stranger = proof(challenge, STRANGER)
    assert refused(inboxes, own, challenge, stranger) is bad
    assert refused(inboxes, own, challenge, proof(challenge, genesis=bytes(32))) is bad
    assert refused(inboxes, own, challenge, b"\x01") is MaterialReason.MALFORMED
    reason = refused(inboxes, STRANGER.account_id, challenge, stranger)
    assert reason is MaterialReason.NOT_A_MEMBER
    inboxes.prove(own, challenge, proof(challenge))


def test_a_challenge_is_this_nodes_and_ends(
    inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Challenges().issue()
    bad = MaterialReason.BAD_SIGNATURE
    assert refused(inboxes, EXECUTOR.account_id, other, proof(other)) is bad
    assert refused(inboxes, EXECUTOR.account_id, b"", proof(b"")) is bad
    challenge = inboxes.challenges.issue()
    now = int.from_bytes(challenge[:8], "big")
    monkeypatch.setattr("time.monotonic", lambda: float(now + 1))
    assert refused(inboxes, EXECUTOR.account_id, challenge, proof(challenge)) is bad
    monkeypatch.setattr("time.monotonic", lambda: float(now - CHALLENGE_SECONDS))
    inboxes.prove(EXECUTOR.account_id, challenge, proof(challenge))


def test_inboxes_are_few_and_close_one_by_one(inboxes: Inboxes) -> None:
    key = EXECUTOR.account_id
    close = [inboxes.open(key, lambda number, data: None) for _ in range(MOST_PER_WORKER)]
    with pytest.raises(MaterialRefusal) as refusal:
        inboxes.open(key, lambda number, data: None)
    assert refusal.value.reason is MaterialReason.BUSY
    for left, end in enumerate(reversed(close)):
        assert len(inboxes) == MOST_PER_WORKER - left
        end()
    assert len(inboxes) == 0
