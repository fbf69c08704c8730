"""Messages, questions, answers and records survive the wire; garbage is refused, and cheaply."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import agreement_samples as samples
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from vote_samples import certificates

from consensus.core.evidence import Evidence, decode_evidence, encode_evidence
from consensus.core.messages import (
    Message,
    Request,
    Response,
    decode_message,
    decode_request,
    decode_response,
    encode_message,
    encode_request,
    encode_response,
)
from consensus.core.records import Record
from consensus.core.votes import (
    Certificate,
    InvalidFinalityProof,
    ProofReason,
    decode_certificate,
    encode_certificate,
)
from runtime.primitives.digest import ENGINE_ID, find_claim, find_next_epoch
from runtime.primitives.header import Consensus, PreRuntime
from runtime.primitives.scale import DecodeError, decode, encode

Decoder = Callable[[bytes], Any]


def decode_record(data: bytes) -> Any:
    return decode(Record, data)


def encode_record(record: Record) -> bytes:
    return encode(Record, record)


DECODERS: list[tuple[Decoder, Callable[[Any], bytes], list[bytes]]] = [
    (decode_message, encode_message, [*map(encode_message, samples.MESSAGES.values())]),
    (decode_request, encode_request, [*map(encode_request, samples.REQUESTS.values())]),
    (decode_response, encode_response, [*map(encode_response, samples.RESPONSES.values())]),
    (decode_record, encode_record, [*map(encode_record, samples.RECORDS.values())]),
    (decode_evidence, encode_evidence, [*map(encode_evidence, samples.EVIDENCE.values())]),
]
NAMES = ["message", "request", "response", "record", "evidence"]
every_decoder = pytest.mark.parametrize(("decoder", "encoder", "good"), DECODERS, ids=NAMES)


@given(samples.messages)
def test_a_message_comes_back(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(samples.requests)
def test_a_request_comes_back(request: Request) -> None:
    assert decode_request(encode_request(request)) == request


@given(samples.responses)
def test_a_response_comes_back(response: Response) -> None:
    assert decode_response(encode_response(response)) == response


@given(certificates())
def test_a_certificate_comes_back(certificate: Certificate) -> None:
    assert decode_certificate(encode_certificate(certificate)) == certificate


@pytest.mark.parametrize("evidence", samples.EVIDENCE.values(), ids=samples.EVIDENCE)
def test_evidence_comes_back(evidence: Evidence) -> None:
    assert decode_evidence(encode_evidence(evidence)) == evidence


@every_decoder
def test_every_prefix_and_every_longer_text_is_refused(
    decoder: Decoder, encoder: Callable[[Any], bytes], good: list[bytes]
) -> None:
    for data in good:
        assert encoder(decoder(data)) == data
        for end in range(len(data)):
            with pytest.raises(DecodeError):
                decoder(data[:end])
        with pytest.raises(DecodeError):
            decoder(data + b"\x00")


@every_decoder
def test_arbitrary_bytes_decode_or_raise_one_error(
    decoder: Decoder, encoder: Callable[[Any], bytes], good: list[bytes]
) -> None:
    @given(st.binary(max_size=400))
    @example(b"")
    def check(data: bytes) -> None:
        decodes_or_refuses(decoder, encoder, data)

    check()


@every_decoder
def test_damaged_bytes_decode_or_raise_one_error(
    decoder: Decoder, encoder: Callable[[Any], bytes], good: list[bytes]
) -> None:
    @given(st.sampled_from(good), st.data())
    def check(data: bytes, draw: st.DataObject) -> None:
        damaged = bytearray(data)
        for _ in range(draw.draw(st.integers(1, 4))):
            at = draw.draw(st.integers(0, len(damaged) - 1))
            match draw.draw(st.sampled_from("sid")):
                case "s":
                    damaged[at] = draw.draw(st.integers(0, 255))
                case "i":
                    damaged[at:at] = draw.draw(st.binary(max_size=5))
                case _ if len(damaged) > 1:
                    del damaged[at]
        decodes_or_refuses(decoder, encoder, bytes(damaged))

    check()


def decodes_or_refuses(decoder: Decoder, encoder: Callable[[Any], bytes], data: bytes) -> None:
    """A value has one encoding, so what decodes encodes to the same bytes."""
    try:
        value = decoder(data)
    except DecodeError:
        return
    assert encoder(value) == data


@every_decoder
def test_a_promise_of_a_billion_items_costs_nothing(
    decoder: Decoder, encoder: Callable[[Any], bytes], good: list[bytes]
) -> None:
    lengths = (b"\xfe\xff\xff\xff", b"\x03\xff\xff\xff\xff", b"\x13" + b"\xff" * 8)
    decoder(good[0])
    tracemalloc.start()
    try:
        for data in good:
            for at in range(1, len(data)):
                for length in lengths:
                    decodes_or_refuses(decoder, encoder, data[:at] + length)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@given(st.binary(max_size=300))
def test_a_garbled_certificate_is_a_malformed_proof(data: bytes) -> None:
    try:
        decode_certificate(data)
    except InvalidFinalityProof as refusal:
        assert refusal.reason is ProofReason.MALFORMED


@given(st.binary(max_size=300))
def test_a_garbled_digest_claims_nothing(data: bytes) -> None:
    if find_claim([PreRuntime(ENGINE_ID, data)]) is not None:
        assert len(data) >= 203
    announced = find_next_epoch([Consensus(ENGINE_ID, data)])
    assert announced is None or len(data) >= 41


def test_two_claims_are_none() -> None:
    claim, announcement = samples.HEADER.digest
    assert find_claim([claim, announcement]) == samples.CLAIM
    assert find_next_epoch([claim, announcement]) == samples.ANNOUNCEMENT
    assert find_claim([claim, claim]) is None
    assert find_next_epoch([announcement, announcement]) is None
    assert find_claim([announcement]) is None


def test_a_proposals_signature_is_its_leaders_notarize_vote() -> None:
    subject = samples.PROPOSAL.subject()
    header = samples.HEADER
    assert (subject.number, subject.block_hash) == (41, header.hash())
    assert (subject.kind, subject.epoch, subject.view, subject.parent_view) == (0, 2, 8, 7)
