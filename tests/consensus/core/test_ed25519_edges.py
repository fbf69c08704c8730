"""Signatures that some libraries take and others do not: here there is one answer, for votes too.

A disagreement between two nodes would split them, and a signature that fits several messages
would let a validator deny what it signed.
"""

from __future__ import annotations

from itertools import product

import pytest
from nacl.bindings import crypto_core_ed25519_add, crypto_core_ed25519_is_valid_point
from vote_samples import DOMAIN, FINALIZED, NOTARIZED, NULLIFIED, cast, public, sign

from consensus.core.evidence import Evidence, EvidenceKind, InvalidEvidence, check_evidence
from consensus.core.messages import vote_of
from consensus.core.validators import ValidatorSet
from consensus.core.votes import (
    InvalidFinalityProof,
    ProofReason,
    Subject,
    VoteKind,
    certificate,
    check_certificate,
    vote_bytes,
)
from runtime.primitives.digest import Authority
from runtime.primitives.keys import verify_ed25519

ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19
NEUTRAL = (1).to_bytes(32, "little")
# All encodings of the points of small order, canonical and not.
SMALL_ORDER = [
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
]
MESSAGE = vote_bytes(DOMAIN, FINALIZED)


@pytest.mark.parametrize("key", SMALL_ORDER, ids=lambda key: key.hex()[:4] + key.hex()[-2:])
def test_a_key_of_small_order_signs_nothing(key: bytes) -> None:
    """With such a key, R = neutral and S = 0 fit one message in eight, or every message."""
    messages = [vote_bytes(DOMAIN, Subject(VoteKind.NULLIFY, 2, view)) for view in range(16)]
    for point, message in product((NEUTRAL, key), messages):
        assert not verify_ed25519(key, message, point + bytes(32))


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda key: key.hex()[:4] + key.hex()[-2:])
def test_a_signature_with_a_commitment_of_small_order_is_refused(point: bytes) -> None:
    assert not verify_ed25519(public(1), MESSAGE, point + bytes(32))
    assert not verify_ed25519(public(1), MESSAGE, point + sign(1, FINALIZED)[32:])


@pytest.mark.parametrize("multiple", [1, 2, 7, 15])
def test_a_scalar_beyond_the_order_is_refused(multiple: int) -> None:
    signature = sign(1, FINALIZED)
    scalar = int.from_bytes(signature[32:], "little") + multiple * ORDER
    assert verify_ed25519(public(1), MESSAGE, signature)
    if scalar < 2**256:
        assert not verify_ed25519(
            public(1), MESSAGE, signature[:32] + scalar.to_bytes(32, "little")
        )


def test_a_scalar_just_beyond_the_order_is_refused() -> None:
    signature = sign(1, FINALIZED)
    for scalar in (ORDER, ORDER + 1, 2**253, 2**256 - 1):
        assert not verify_ed25519(
            public(1), MESSAGE, signature[:32] + scalar.to_bytes(32, "little")
        )


def test_a_key_with_a_part_of_small_order_is_no_twin_of_its_key() -> None:
    """Adding a point of order 8 to the key gives another valid-looking key for some messages."""
    order_8 = SMALL_ORDER[6]
    twin = crypto_core_ed25519_add(public(1), order_8)
    assert not crypto_core_ed25519_is_valid_point(twin)
    for view in range(32):
        subject = Subject(VoteKind.NULLIFY, 2, view)
        assert not verify_ed25519(twin, vote_bytes(DOMAIN, subject), sign(1, subject))


def test_a_key_that_is_not_reduced_is_refused() -> None:
    for y in range(19):
        for sign_bit in (0, 1 << 255):
            key = (PRIME + y | sign_bit).to_bytes(32, "little")
            assert not verify_ed25519(key, MESSAGE, NEUTRAL + bytes(32))


@pytest.mark.parametrize("bit", range(0, 512, 7))
def test_no_bit_of_a_signature_is_free(bit: int) -> None:
    changed = int.from_bytes(sign(1, FINALIZED), "little") ^ 1 << bit
    assert not verify_ed25519(public(1), MESSAGE, changed.to_bytes(64, "little"))


@pytest.mark.parametrize(("key", "length"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_other_lengths_are_refused(key: int, length: int) -> None:
    assert not verify_ed25519(bytes(key), MESSAGE, bytes(length))


def test_signing_is_deterministic() -> None:
    assert sign(1, FINALIZED) == sign(1, FINALIZED)


@pytest.mark.parametrize("key", SMALL_ORDER[:6], ids=lambda key: key.hex()[:4] + key.hex()[-2:])
def test_a_universal_signature_makes_neither_certificates_nor_evidence(key: bytes) -> None:
    universal = NEUTRAL + bytes(32)
    keys = [(public(0), 1), (key, 100)]
    forged = certificate(FINALIZED, {1: universal}, 2)
    with pytest.raises(InvalidFinalityProof) as refused:
        check_certificate(forged, DOMAIN, keys)
    assert refused.value.reason is ProofReason.BAD_SIGNATURE
    validators = ValidatorSet(tuple(Authority(*member) for member in keys))
    votes = vote_of(NULLIFIED, 1, universal), vote_of(FINALIZED, 1, universal)
    with pytest.raises(InvalidEvidence, match="signature"):
        check_evidence(
            Evidence(EvidenceKind.NULLIFY_FINALIZE, *votes), DOMAIN, validators, verify_ed25519
        )


def test_a_second_signature_of_one_statement_is_no_fault() -> None:
    """Ed25519 has many signatures of a message; what is said counts, not how it is signed."""
    vote = cast(0, NOTARIZED)
    other = vote_of(NOTARIZED, 0, bytes(64))
    validators = ValidatorSet((Authority(public(0), 1),))
    for kind in EvidenceKind:
        with pytest.raises(InvalidEvidence, match="do not conflict"):
            check_evidence(Evidence(kind, vote, other), DOMAIN, validators, verify_ed25519)
