"""What a vote signs and how it travels, byte by byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from vote_samples import DOMAIN, FINALIZED, HASH, NOTARIZED, NULLIFIED, cast, public, subjects

from consensus.core.messages import decode_message, encode_message, vote_of
from consensus.core.votes import Subject, VoteDomain, VoteKind, vote_bytes
from runtime.primitives.keys import verify_ed25519
from runtime.primitives.scale import DecodeError

HEAD = b"open-simplex-vote-v1" + DOMAIN.genesis_hash + b"\x03\x00\x00\x00"
EPOCH_AND_VIEW = b"\x02" + bytes(7) + b"\x07" + bytes(7)
BLOCK = b"\x05" + bytes(7) + b"\x28\x00\x00\x00" + HASH


@pytest.mark.parametrize(
    ("subject", "signed"),
    [
        (NOTARIZED, HEAD + b"\x00" + EPOCH_AND_VIEW + BLOCK),
        (NULLIFIED, HEAD + b"\x01" + EPOCH_AND_VIEW),
        (FINALIZED, HEAD + b"\x02" + EPOCH_AND_VIEW + BLOCK),
    ],
)
def test_the_signed_bytes_are_these(subject: Subject, signed: bytes) -> None:
    assert vote_bytes(DOMAIN, subject) == signed
    assert len(signed) == (73 if subject.kind is VoteKind.NULLIFY else 117)


@given(subjects(), subjects())
def test_two_statements_never_have_the_same_signed_bytes(one: Subject, other: Subject) -> None:
    same = vote_bytes(DOMAIN, one) == vote_bytes(DOMAIN, other)
    assert same is (one == other)


@given(subjects())
def test_the_signed_bytes_are_the_fields_at_their_places(subject: Subject) -> None:
    data = vote_bytes(DOMAIN, subject)
    kind, epoch, view = struct.unpack_from("<BQQ", data, 56)
    assert (kind, epoch, view) == (subject.kind, subject.epoch, subject.view)
    if subject.kind is not VoteKind.NULLIFY:
        assert struct.unpack_from("<QI32s", data, 73) == (
            subject.parent_view,
            subject.number,
            subject.block_hash,
        )


@pytest.mark.parametrize(
    "foreign", [VoteDomain(HASH, DOMAIN.fork_id), VoteDomain(DOMAIN.genesis_hash, 4)]
)
def test_a_vote_of_another_chain_or_fork_does_not_verify(foreign: VoteDomain) -> None:
    vote = cast(1, NOTARIZED)
    assert verify_ed25519(public(1), vote_bytes(DOMAIN, NOTARIZED), vote.signature)
    assert not verify_ed25519(public(1), vote_bytes(foreign, NOTARIZED), vote.signature)


@pytest.mark.parametrize(
    "said_otherwise",
    [
        Subject(VoteKind.FINALIZE, 2, 7, 5, 40, HASH),
        Subject(VoteKind.NOTARIZE, 3, 7, 5, 40, HASH),
        Subject(VoteKind.NOTARIZE, 2, 8, 5, 40, HASH),
        Subject(VoteKind.NOTARIZE, 2, 7, 6, 40, HASH),
        Subject(VoteKind.NOTARIZE, 2, 7, 5, 41, HASH),
        Subject(VoteKind.NOTARIZE, 2, 7, 5, 40, bytes(32)),
    ],
)
def test_no_field_can_be_changed_under_a_signature(said_otherwise: Subject) -> None:
    signature = cast(1, NOTARIZED).signature
    assert not verify_ed25519(public(1), vote_bytes(DOMAIN, said_otherwise), signature)


def test_a_vote_on_the_wire_is_a_tag_and_127_bytes() -> None:
    vote = cast(0x0102, NOTARIZED)
    assert encode_message(vote) == (
        b"\x00" + b"\x00" + EPOCH_AND_VIEW + BLOCK + b"\x02\x01" + vote.signature
    )
    for subject in (NOTARIZED, NULLIFIED, FINALIZED):
        assert len(encode_message(cast(3, subject))) == 1 + 127


@given(subjects())
def test_a_vote_comes_back_from_the_wire(subject: Subject) -> None:
    vote = vote_of(subject, 9, bytes(range(64)))
    again = decode_message(encode_message(vote))
    assert again == vote
    assert vote.subject() == subject


@pytest.mark.parametrize("length", [0, 1, 127, 129])
def test_a_vote_of_another_length_is_refused(length: int) -> None:
    data = encode_message(cast(3, NOTARIZED)) + b"\x00"
    with pytest.raises(DecodeError):
        decode_message(data[:length])


def test_a_vote_of_an_unknown_kind_says_nothing() -> None:
    data = bytearray(encode_message(cast(3, NOTARIZED)))
    data[1] = 3
    vote = decode_message(bytes(data))
    with pytest.raises(ValueError, match="3 is not a valid VoteKind"):
        vote.subject()  # type: ignore[union-attr]
