"""A receipt: the executor's signed statement of what it did for a voucher and what that costs.

Signed bytes: the tag ``openledger-receipt-v1``, then SCALE of `Receipt`. On the wire the signature
follows them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from runtime.primitives import keys
from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import H256, U32, U128, DecodeError, decode, encode
from runtime.primitives.types import MultiSignature
from runtime.protocols.ids import SessionId
from runtime.protocols.price import Cost, Price, cost
from runtime.protocols.voucher import Voucher

RECEIPT_TAG = b"openledger-receipt-v1"
MAX_RECEIPT_CHARS = 2048


class ReceiptReason(Enum):
    """Why a receipt is refused."""

    MALFORMED = "the bytes are not the tag, a receipt and its signature"
    WRONG_TAG = "the receipt is of another version"
    WRONG_VOUCHER = "the receipt answers another voucher"
    WRONG_RESPONSE = "the receipt was signed for other output tokens"
    WRONG_COST = "the cost is not the session's price times the tokens"
    ABOVE_MAX_FEE = "the cost exceeds the voucher's max_fee"
    BAD_SIGNATURE = "the session's executor did not sign this receipt"


class ReceiptRefusal(Refusal):
    """A receipt that proves nothing."""

    def __init__(self, reason: ReceiptReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: ReceiptReason = reason


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the executor signs for one answer; `compute` and `premium` are its cost in planck.

    `manifest_hash` names the adapter, `engine_hash` the engine's build and numeric class,
    `sampling_hash` the sampling parameters and seed; `logits_digest` samples the logits, so that
    whoever repeats the inference can tell whether this model made this output.
    """

    genesis: H256
    session: SessionId
    nonce: U32
    request_hash: H256
    response_hash: H256
    prompt_tokens: U32
    completion_tokens: U32
    compute: U128
    premium: U128
    manifest_hash: H256
    engine_hash: H256
    sampling_hash: H256
    logits_digest: H256

    def cost(self) -> Cost:
        """Return what the executor asks for."""
        return Cost(self.compute, self.premium)


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt and the worker key's signature."""

    receipt: Receipt
    signature: MultiSignature


def response_hash(output_ids: Sequence[int]) -> bytes:
    """Hash the output's token ids: H of their SCALE ``Vec<u32>``."""
    return blake2_256(encode(tuple[U32, ...], tuple(output_ids)))


def signing_bytes(receipt: Receipt) -> bytes:
    """Return the bytes that are signed."""
    return RECEIPT_TAG + encode(Receipt, receipt)


def receipt_hash(receipt: Receipt) -> bytes:
    """Return the receipt's name: H of the signed bytes."""
    return blake2_256(signing_bytes(receipt))


def encode_signed(signed: SignedReceipt) -> bytes:
    """Encode a signed receipt for the wire."""
    return signing_bytes(signed.receipt) + encode(MultiSignature, signed.signature)


def decode_signed(data: bytes) -> SignedReceipt:
    """Decode a signed receipt from the wire; raises ReceiptRefusal WRONG_TAG or MALFORMED."""
    if not data.startswith(RECEIPT_TAG):
        raise ReceiptRefusal(ReceiptReason.WRONG_TAG)
    try:
        signed: SignedReceipt = decode(SignedReceipt, data[len(RECEIPT_TAG) :])
    except DecodeError as error:
        raise ReceiptRefusal(ReceiptReason.MALFORMED, str(error)) from error
    return signed


def to_text(signed: SignedReceipt) -> str:
    """Return the base64 form that an answer carries."""
    return base64.b64encode(encode_signed(signed)).decode("ascii")


def from_text(value: str) -> SignedReceipt:
    """Decode the base64 form; raises ReceiptRefusal WRONG_TAG or MALFORMED."""
    if len(value) > MAX_RECEIPT_CHARS:
        raise ReceiptRefusal(ReceiptReason.MALFORMED, f"{len(value)} characters")
    try:
        data = base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ReceiptRefusal(ReceiptReason.MALFORMED, str(error)) from error
    return decode_signed(data)


def verify_signature(signed: SignedReceipt, worker_key: bytes) -> bool:
    """Tell whether the worker's key signed exactly this receipt."""
    return keys.verify(signed.signature, signing_bytes(signed.receipt), worker_key)


def check_receipt(
    signed: SignedReceipt,
    voucher: Voucher,
    output_ids: Sequence[int],
    price: Price,
    worker_key: bytes,
) -> None:
    """Check a receipt against everything that its customer knows.

    Raises:
        ReceiptRefusal: WRONG_VOUCHER, WRONG_RESPONSE, WRONG_COST, ABOVE_MAX_FEE, BAD_SIGNATURE.
    """
    receipt = signed.receipt
    answered = (receipt.genesis, receipt.session, receipt.nonce, receipt.request_hash)
    if answered != (voucher.genesis, voucher.session, voucher.nonce, voucher.request_hash):
        raise ReceiptRefusal(ReceiptReason.WRONG_VOUCHER)
    counted = receipt.completion_tokens == len(output_ids)
    if not counted or receipt.response_hash != response_hash(output_ids):
        raise ReceiptRefusal(ReceiptReason.WRONG_RESPONSE)
    due = cost(price, receipt.prompt_tokens, receipt.completion_tokens)
    if receipt.cost() != due:
        raise ReceiptRefusal(ReceiptReason.WRONG_COST, f"{receipt.cost()}; due is {due}")
    if due.total() > voucher.max_fee:
        raise ReceiptRefusal(
            ReceiptReason.ABOVE_MAX_FEE, f"{due.total()}; the voucher allows {voucher.max_fee}"
        )
    if not verify_signature(signed, worker_key):
        raise ReceiptRefusal(ReceiptReason.BAD_SIGNATURE)
