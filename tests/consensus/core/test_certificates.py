"""A certificate is the signatures of distinct members with a quorum of the weight, in one form."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vote_samples import (
    DOMAIN,
    FINALIZED,
    NOTARIZED,
    NULLIFIED,
    OTHER,
    cast,
    certificates,
    certify,
    members,
    public,
    sign,
    subjects,
    weights,
)

from consensus.core.certificates import CertificateStore, holds
from consensus.core.pool import VotePool
from consensus.core.validators import Epoch, ValidatorSet
from consensus.core.votes import (
    Certificate,
    InvalidFinalityProof,
    ProofReason,
    Subject,
    VoteKind,
    certificate,
    check_certificate,
    check_finality,
    encode_certificate,
)
from runtime.primitives.keys import verify_ed25519
from runtime.primitives.leaders import quorum


class RealCrypto:
    """The product's checks, counted."""

    def __init__(self) -> None:
        self.checked = 0

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        self.checked += 1
        return verify_ed25519(public, message, signature)

    def vrf(self, public: bytes, alpha: bytes, proof: bytes) -> bytes | None:
        return None


def epoch_of(validators: ValidatorSet, number: int = 2) -> Epoch:
    return Epoch(number, validators, bytes(32), bytes(32), 0)


def reason(proof: Certificate, validators: ValidatorSet) -> ProofReason | None:
    """Check in both ways, which must agree."""
    held = holds(proof, DOMAIN, epoch_of(validators), RealCrypto())
    try:
        check_certificate(proof, DOMAIN, [(m.public, m.weight) for m in validators.members])
    except InvalidFinalityProof as refusal:
        assert not held
        return refusal.reason
    assert held
    return None


@given(weights.flatmap(lambda w: st.tuples(st.just(w), st.sets(st.integers(0, len(w) - 1)))))
def test_a_certificate_holds_exactly_from_a_quorum_of_the_weight_on(
    case: tuple[list[int], set[int]],
) -> None:
    shares, signers = case
    proof = certify(FINALIZED, signers, len(shares))
    weight = sum(shares[i] for i in signers)
    enough = 3 * weight > 2 * sum(shares)
    assert reason(proof, members(shares)) is (None if enough else ProofReason.NO_QUORUM)


def test_many_heads_with_little_weight_are_no_quorum() -> None:
    validators = members((10, 1, 1, 1, 1, 1, 1))
    assert reason(certify(FINALIZED, range(1, 7), 7), validators) is ProofReason.NO_QUORUM
    assert reason(certify(FINALIZED, (0, 6), 7), validators) is None


def test_signatures_stand_by_ascending_position() -> None:
    made = certificate(NOTARIZED, {9: b"\x09" * 64, 0: bytes(64), 4: b"\x04" * 64}, 11)
    assert made.bitmap == bytes((0b0001_0001, 0b10))
    assert made.signers() == [0, 4, 9]
    assert made.signatures == (bytes(64), b"\x04" * 64, b"\x09" * 64)


GOOD = certify(FINALIZED, (0, 1, 2), 4)


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"signatures": GOOD.signatures[::-1]}, ProofReason.BAD_SIGNATURE),
        ({"signatures": GOOD.signatures[:2]}, ProofReason.WRONG_SIGNERS),
        ({"signatures": (*GOOD.signatures, GOOD.signatures[0])}, ProofReason.WRONG_SIGNERS),
        ({"signatures": (GOOD.signatures[0],) * 3}, ProofReason.BAD_SIGNATURE),
        ({"bitmap": b"\x0f"}, ProofReason.WRONG_SIGNERS),
        ({"bitmap": b"\x0e"}, ProofReason.BAD_SIGNATURE),
        ({"bitmap": b"\x13"}, ProofReason.WRONG_SIGNERS),
        ({"bitmap": b"\x07\x00"}, ProofReason.WRONG_SIGNERS),
        ({"bitmap": b""}, ProofReason.WRONG_SIGNERS),
        ({"bitmap": b"\x03", "signatures": GOOD.signatures[:2]}, ProofReason.NO_QUORUM),
        ({"bitmap": b"\x00", "signatures": ()}, ProofReason.NO_QUORUM),
        ({"view": 8}, ProofReason.BAD_SIGNATURE),
        ({"number": 41}, ProofReason.BAD_SIGNATURE),
        ({"parent_view": 4}, ProofReason.BAD_SIGNATURE),
        ({"block_hash": OTHER}, ProofReason.BAD_SIGNATURE),
        ({"kind": VoteKind.NOTARIZE}, ProofReason.BAD_SIGNATURE),
        ({"kind": VoteKind.NULLIFY}, ProofReason.MALFORMED),
    ],
)
def test_a_certificate_that_was_tampered_with_is_refused(
    changed: dict[str, Any], refused: ProofReason
) -> None:
    assert reason(GOOD, members((1, 1, 1, 1))) is None
    assert reason(dataclasses.replace(GOOD, **changed), members((1, 1, 1, 1))) is refused


def test_one_signature_never_counts_for_two() -> None:
    twice = ValidatorSet(members((1, 1, 1, 1)).members[:1] * 4)
    copied = certificate(FINALIZED, dict.fromkeys(range(3), sign(0, FINALIZED)), 4)
    assert reason(copied, members((1, 1, 1, 1))) is ProofReason.BAD_SIGNATURE
    assert reason(copied, twice) is None  # a set that names a key thrice gives it three votes


@pytest.mark.parametrize(
    "changed",
    [{"epoch": 3}, {"kind": 3}, {"view": 0}, {"kind": 255}],
    ids=str,
)
def test_a_certificate_of_another_epoch_or_kind_does_not_hold(changed: dict[str, Any]) -> None:
    proof = dataclasses.replace(GOOD, **changed)
    assert not holds(proof, DOMAIN, epoch_of(members((1, 1, 1, 1))), RealCrypto())


@pytest.mark.parametrize(
    "changed", [{"parent_view": 1}, {"number": 1}, {"block_hash": OTHER}], ids=str
)
def test_a_nullification_has_no_block_though_nobody_signed_that(
    changed: dict[str, Any],
) -> None:
    proof = certify(NULLIFIED, (0, 1, 2), 4)
    epoch = epoch_of(members((1, 1, 1, 1)))
    assert holds(proof, DOMAIN, epoch, RealCrypto())
    assert not holds(dataclasses.replace(proof, **changed), DOMAIN, epoch, RealCrypto())


def test_what_the_pool_has_verified_is_not_verified_again() -> None:
    validators = members((1, 1, 1, 1))
    pool = VotePool(validators)
    for position in (0, 1):
        assert list(pool.add(cast(position, FINALIZED))) == []
    crypto = RealCrypto()
    assert holds(GOOD, DOMAIN, epoch_of(validators), crypto, pool)
    assert crypto.checked == 1
    forged = dataclasses.replace(GOOD, signatures=(bytes(64), *GOOD.signatures[1:]))
    assert not holds(forged, DOMAIN, epoch_of(validators), crypto, pool)


@given(subjects(), certificates())
def test_a_finality_proof_is_of_one_kind_and_one_block(
    subject: Subject, proof: Certificate
) -> None:
    keys = [(public(i), 1) for i in range(4)]
    good = encode_certificate(certify(subject, range(3), 4))
    about = subject.block_hash, subject.number
    if subject.kind is VoteKind.FINALIZE:
        assert check_finality(good, *about, DOMAIN, keys).subject() == subject
        for other in ((OTHER[::-1], about[1]), (about[0], about[1] ^ 1)):
            with pytest.raises(InvalidFinalityProof) as refused:
                check_finality(good, *other, DOMAIN, keys)
            assert refused.value.reason is ProofReason.WRONG_BLOCK
    else:
        with pytest.raises(InvalidFinalityProof) as refused:
            check_finality(good, *about, DOMAIN, keys)
        assert refused.value.reason is ProofReason.WRONG_KIND
    with pytest.raises(InvalidFinalityProof):
        check_finality(encode_certificate(proof), proof.block_hash, proof.number, DOMAIN, keys)


def test_the_store_keeps_one_certificate_of_a_kind_and_view() -> None:
    store = CertificateStore()
    nullified = certify(NULLIFIED, (0, 1, 2), 4)
    assert store.add(nullified)
    assert not store.add(certify(NULLIFIED, (1, 2, 3), 4))
    assert store.add(GOOD)
    assert store.get(VoteKind.NULLIFY, 7) == nullified
    assert store.proof_of(7) == store.highest_final == GOOD
    assert store.between(1, 9) == [nullified, GOOD]
    store.prune(8)
    assert store.get(VoteKind.FINALIZE, 7) is None
    assert store.highest_final == GOOD


@given(st.lists(st.integers(1, 50), min_size=1, max_size=7))
def test_a_pool_certifies_as_soon_as_the_votes_weigh_a_quorum(shares: list[int]) -> None:
    validators = members(shares)
    pool = VotePool(validators)
    weight = 0
    for position, share in enumerate(shares):
        assert (pool.certificate(NOTARIZED) is not None) is (weight >= quorum(sum(shares)))
        list(pool.add(cast(position, NOTARIZED)))
        list(pool.add(cast(position, NOTARIZED)))  # again changes nothing
        weight += share
    made = pool.certificate(NOTARIZED)
    assert made == certify(NOTARIZED, range(len(shares)), len(shares))
