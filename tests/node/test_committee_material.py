"""Requests and answers survive the wire as they were signed, or not at all."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.client.material import (
    MOST_ANSWER_BYTES,
    MOST_REQUEST_BYTES,
    MaterialReason,
    MaterialRefusal,
    MaterialRequest,
    SignedRequest,
    decode_request,
    open_answer,
    request_bytes,
    request_hash,
    sign_answer,
    sign_request,
)
from node.client.signing import from_uri
from runtime.primitives import keys

MEMBER, EXECUTOR, STRANGER = (
    from_uri(f"//{name}", "ed25519") for name in ("Member", "Executor", "Stranger")
)
hashes = st.binary(min_size=32, max_size=32)
requests = st.builds(
    MaterialRequest,
    genesis=hashes,
    batch=st.integers(0, 2**64 - 1),
    receipt=st.integers(0, 2**32 - 1),
    validator=hashes,
    worker=st.just(MEMBER.account_id),
    box=hashes,
)


def is_signed(signed: SignedRequest) -> bool:
    return keys.verify(signed.signature, request_bytes(signed.request), signed.request.worker)


@given(requests)
def test_a_request_comes_back_as_it_was_signed(request: MaterialRequest) -> None:
    data = sign_request(request, MEMBER)
    assert len(data) <= MOST_REQUEST_BYTES
    signed = decode_request(data)
    assert signed.request == request
    assert is_signed(signed)


@given(requests, st.data())
def test_a_request_with_one_other_byte_is_refused(
    request: MaterialRequest, data: st.DataObject
) -> None:
    raw = bytearray(sign_request(request, MEMBER))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    try:
        signed = decode_request(bytes(raw))
    except MaterialRefusal as refusal:
        assert refusal.reason is MaterialReason.MALFORMED
    else:
        assert not is_signed(signed)


@given(st.binary(max_size=2 * MOST_REQUEST_BYTES))
def test_garbage_is_malformed(data: bytes) -> None:
    with pytest.raises(MaterialRefusal) as refusal:
        decode_request(data)
    assert refusal.value.reason is MaterialReason.MALFORMED


@given(requests, requests)
def test_two_requests_have_two_names(one: MaterialRequest, other: MaterialRequest) -> None:
    assert (request_hash(one) == request_hash(other)) == (one == other)


def request() -> MaterialRequest:
    return MaterialRequest(bytes(32), 1, 2, b"\x01" * 32, MEMBER.account_id, b"\x02" * 32)


def test_every_field_is_part_of_the_name() -> None:
    names = {request_hash(request())}
    for field in fields(MaterialRequest):
        value = getattr(request(), field.name)
        changed: Any = value + 1 if isinstance(value, int) else b"\xff" * 32
        names.add(request_hash(replace(request(), **{field.name: changed})))
    assert len(names) == 1 + len(fields(MaterialRequest))


@given(st.binary(max_size=1000))
def test_an_answer_opens_for_its_request_and_its_executor(sealed: bytes) -> None:
    answer = sign_answer(request(), sealed, EXECUTOR)
    assert open_answer(answer, request(), EXECUTOR.account_id) == sealed
    other = replace(request(), box=b"\x03" * 32)
    for asked, executor in ((other, EXECUTOR), (request(), STRANGER)):
        with pytest.raises(MaterialRefusal) as refusal:
            open_answer(answer, asked, executor.account_id)
        assert refusal.value.reason is MaterialReason.BAD_SIGNATURE


def test_an_answer_above_a_mebibyte_is_malformed() -> None:
    answer = sign_answer(request(), bytes(MOST_ANSWER_BYTES), EXECUTOR)
    with pytest.raises(MaterialRefusal) as refusal:
        open_answer(answer, request(), EXECUTOR.account_id)
    assert refusal.value.reason is MaterialReason.MALFORMED
