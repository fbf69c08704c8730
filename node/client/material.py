"""What travels between a drawn member of a committee and the executor, as the nodes see it.

A request is signed with the member's worker key and holds a box key made for it alone. The answer
is sealed to that key (X25519, XSalsa20-Poly1305) and signed with the executor's worker key, so a
node on the way can tell that both are genuine, and reads nothing.

Signed bytes: a tag, then for a request its SCALE, for an answer H(request) ‖ H(sealed bytes), and
for an inbox the genesis hash, the node's challenge and the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from node.client.signing import KeyPair
from runtime.pallets.attribution.types import Duty, DutyStage
from runtime.pallets.inference.types import Worker
from runtime.primitives import keys
from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import H256, U32, DecodeError, decode, encode
from runtime.primitives.types import AccountId, MultiSignature
from runtime.protocols.ids import BatchId

REQUEST_TAG = b"openledger-material-request-v1"
ANSWER_TAG = b"openledger-material-answer-v1"
INBOX_TAG = b"openledger-material-inbox-v1"
MOST_REQUEST_BYTES = 512
MOST_ANSWER_BYTES = 1 << 20

T = TypeVar("T")


class MaterialReason(Enum):
    """Why a request or an answer is refused."""

    MALFORMED = "the bytes are not of this version, or too many"
    WRONG_CHAIN = "the request belongs to another chain"
    NO_DUTY = "no committee judges this batch now, or the block that drew it is not known yet"
    NOT_A_MEMBER = "only workers of the drawn validators get a batch's data"
    NOT_DRAWN = "this receipt was not drawn"
    WINDOW_SHUT = "the commit window is over"
    BAD_SIGNATURE = "sign with the key that the message names"
    BUSY = "too many requests: ask again later"


class MaterialRefusal(Refusal):
    """A request or an answer that goes no further."""

    def __init__(self, reason: MaterialReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: MaterialReason = reason


@dataclass(frozen=True, slots=True)
class MaterialRequest:
    """What a member asks for: one drawn receipt, by its position in the batch."""

    genesis: H256
    batch: BatchId
    receipt: U32
    validator: AccountId
    """Who holds the seat."""
    worker: AccountId
    """The key that signs, registered for the validator."""
    box: H256
    """X25519 public key, made for this request alone."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request and the member's worker's signature."""

    request: MaterialRequest
    signature: MultiSignature


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked for, sealed, with the executor's signature."""

    request: H256
    """The hash of the request."""
    sealed: bytes
    signature: MultiSignature


def request_bytes(request: MaterialRequest) -> bytes:
    """Return the bytes of a request that are signed."""
    return REQUEST_TAG + encode(MaterialRequest, request)


def request_hash(request: MaterialRequest) -> bytes:
    """Return a request's name."""
    return blake2_256(request_bytes(request))


def sign_request(request: MaterialRequest, key: KeyPair) -> bytes:
    """Sign and encode a request."""
    signed = SignedRequest(request, key.sign(request_bytes(request)))
    return REQUEST_TAG + encode(SignedRequest, signed)


def decode_request(data: bytes) -> SignedRequest:
    """Decode a request; its signature is not checked. Raises MaterialRefusal MALFORMED."""
    return _decoded(SignedRequest, REQUEST_TAG, data, MOST_REQUEST_BYTES)


def check_request(
    signed: SignedRequest, genesis: bytes, height: int, duty: Duty | None, worker: Worker | None
) -> None:
    """Check a request against the chain; signature last, as it costs most.

    `height` is that of the state which `duty` and the member's `worker` are read from.

    Raises:
        MaterialRefusal: WRONG_CHAIN, NO_DUTY, WINDOW_SHUT, NOT_DRAWN, NOT_A_MEMBER, BAD_SIGNATURE.
    """
    request = signed.request
    if request.genesis != genesis:
        raise MaterialRefusal(MaterialReason.WRONG_CHAIN)
    if duty is None or duty.stage != DutyStage.JUDGING:
        raise MaterialRefusal(MaterialReason.NO_DUTY)
    if height >= duty.commit_until:
        raise MaterialRefusal(MaterialReason.WINDOW_SHUT)
    if request.receipt not in duty.receipts:
        raise MaterialRefusal(MaterialReason.NOT_DRAWN)
    if request.validator not in duty.seats:
        raise MaterialRefusal(MaterialReason.NOT_A_MEMBER)
    if worker is None or worker.validator != request.validator:
        raise MaterialRefusal(MaterialReason.NOT_A_MEMBER)
    if not keys.verify(signed.signature, request_bytes(request), request.worker):
        raise MaterialRefusal(MaterialReason.BAD_SIGNATURE)


def sign_answer(request: MaterialRequest, sealed: bytes, key: KeyPair) -> bytes:
    """Sign and encode an answer."""
    name = request_hash(request)
    return ANSWER_TAG + encode(Answer, Answer(name, sealed, key.sign(_answer_bytes(name, sealed))))


def open_answer(data: bytes, request: MaterialRequest, executor: bytes) -> bytes:
    """Return the sealed bytes of the executor's answer to a request.

    Raises MaterialRefusal MALFORMED, or BAD_SIGNATURE where it answers another request or where
    somebody else signed it.
    """
    answer = _decoded(Answer, ANSWER_TAG, data, MOST_ANSWER_BYTES)
    name = request_hash(request)
    signed = _answer_bytes(name, answer.sealed)
    if answer.request != name or not keys.verify(answer.signature, signed, executor):
        raise MaterialRefusal(MaterialReason.BAD_SIGNATURE)
    return answer.sealed


def inbox_bytes(genesis: bytes, challenge: bytes, worker: bytes) -> bytes:
    """Return the bytes with whose signature a worker opens its inbox at a node."""
    return INBOX_TAG + genesis + challenge + worker


def _answer_bytes(name: bytes, sealed: bytes) -> bytes:
    return ANSWER_TAG + name + blake2_256(sealed)


def _decoded(kind: type[T], tag: bytes, data: bytes, most: int) -> T:
    if len(data) > most or not data.startswith(tag):
        raise MaterialRefusal(MaterialReason.MALFORMED)
    try:
        found: T = decode(kind, data[len(tag) :])
    except DecodeError as error:
        raise MaterialRefusal(MaterialReason.MALFORMED, str(error)) from error
    return found
