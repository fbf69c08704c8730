"""Validators with real keys, what they sign, and strategies for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from hypothesis import strategies as st
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from consensus.core.messages import Vote, vote_of
from consensus.core.validators import ValidatorSet
from consensus.core.votes import Certificate, Subject, VoteDomain, VoteKind, certificate, vote_bytes
from runtime.primitives.digest import Authority

DOMAIN = VoteDomain(bytes.fromhex("0102030405060708") * 4, 3)
HASH = bytes(range(32))
OTHER = bytes(range(1, 33))

NOTARIZED = Subject(VoteKind.NOTARIZE, 2, 7, 5, 40, HASH)
NULLIFIED = Subject(VoteKind.NULLIFY, 2, 7)
FINALIZED = Subject(VoteKind.FINALIZE, 2, 7, 5, 40, HASH)


@cache
def secret(position: int) -> bytes:
    """Return the 64-byte secret key of a position."""
    return crypto_sign_seed_keypair(position.to_bytes(32, "little"))[1]


def public(position: int) -> bytes:
    return secret(position)[32:]


def sign(position: int, subject: Subject, domain: VoteDomain = DOMAIN) -> bytes:
    return crypto_sign(vote_bytes(domain, subject), secret(position))[:64]


def cast(position: int, subject: Subject, domain: VoteDomain = DOMAIN) -> Vote:
    return vote_of(subject, position, sign(position, subject, domain))


def members(weights: Sequence[int]) -> ValidatorSet:
    return ValidatorSet(tuple(Authority(public(i), weight) for i, weight in enumerate(weights)))


def certify(subject: Subject, signers: Iterable[int], validators: int) -> Certificate:
    return certificate(subject, {i: sign(i, subject) for i in signers}, validators)


views = st.integers(0, 2**64 - 1)
hashes = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)


@st.composite
def subjects(draw: st.DrawFn, near: bool = False) -> Subject:
    """Return a statement; near: from so few that two of them often meet."""
    kind = draw(st.sampled_from(VoteKind))
    small = st.integers(1, 2)
    epoch, view = draw(small if near else views), draw(small if near else views)
    if kind is VoteKind.NULLIFY:
        return Subject(kind, epoch, view)
    return Subject(
        kind,
        epoch,
        view,
        draw(st.integers(0, 1) if near else views),
        draw(small if near else st.integers(0, 2**32 - 1)),
        draw(st.sampled_from([HASH, OTHER]) if near else hashes),
    )


@st.composite
def certificates(draw: st.DrawFn) -> Certificate:
    """Return a certificate with any signatures, by up to 20 validators."""
    size = draw(st.integers(1, 20))
    signed = draw(st.dictionaries(st.integers(0, size - 1), signatures, max_size=size))
    return certificate(draw(subjects()), signed, size)


weights = st.lists(st.integers(1, 10**6), min_size=1, max_size=12)
