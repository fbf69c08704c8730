"""A voucher: the customer's promise to pay for one request, signed by the session's hot key.

Signed bytes: the tag ``openledger-voucher-v1``, then SCALE of `Voucher`. On the wire the signature
follows them; in HTTP this stands, in base64, in the header ``OpenLedger-Voucher``.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import Enum

from runtime.primitives import keys
from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import H256, U32, U128, DecodeError, decode, encode
from runtime.primitives.types import MultiSignature
from runtime.protocols.ids import SessionId

VOUCHER_TAG = b"openledger-voucher-v1"
VOUCHER_HEADER = "OpenLedger-Voucher"
MAX_HEADER_CHARS = 1024


class VoucherReason(Enum):
    """Why a voucher is refused."""

    MALFORMED = "send base64 of the tag, the voucher and its signature"
    WRONG_TAG = "the voucher is of another version"
    WRONG_CHAIN = "sign with the genesis hash of this chain"
    WRONG_SESSION = "the voucher belongs to another session"
    WRONG_REQUEST = "the voucher was signed for another request body"
    STALE_NONCE = "use a nonce above all earlier ones of the session"
    EXPIRED = "sign again with a later valid_until"
    ABOVE_AUTHORISED = "raise the session's cumulative ceiling in the voucher"
    ABOVE_ESCROW = "top the session up, or wait until open requests are settled"
    BAD_SIGNATURE = "sign with the session's voucher key"


class VoucherRefusal(Refusal):
    """A voucher that pays for nothing."""

    def __init__(self, reason: VoucherReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: VoucherReason = reason


@dataclass(frozen=True, slots=True)
class Voucher:
    """What the customer signs for one request.

    `max_fee` bounds this request; `authorised` bounds everything that the session may ever be
    charged up to and with this nonce. Both in planck. `valid_until` is the last block in which
    the executor may take the voucher on.
    """

    genesis: H256
    session: SessionId
    nonce: U32
    request_hash: H256
    max_fee: U128
    authorised: U128
    valid_until: U32


@dataclass(frozen=True, slots=True)
class SignedVoucher:
    """A voucher and the voucher key's signature."""

    voucher: Voucher
    signature: MultiSignature


@dataclass(frozen=True, slots=True)
class SessionView:
    """What an executor knows of a session when a request comes in; amounts in planck.

    `escrow` is all that was ever paid in, `charged` the total of all receipts so far, settled or
    not, and `reserved` the Σ max_fee of the vouchers that are still being answered. `last_nonce` is
    the highest one taken so far: 0 before the first, so nonces start at 1.
    """

    genesis: bytes
    session: int
    voucher_key: bytes
    escrow: int
    last_nonce: int
    charged: int
    reserved: int


def request_hash(body: bytes) -> bytes:
    """Hash an HTTP request's raw body."""
    return blake2_256(body)


def signing_bytes(voucher: Voucher) -> bytes:
    """Return the bytes that are signed."""
    return VOUCHER_TAG + encode(Voucher, voucher)


def voucher_hash(voucher: Voucher) -> bytes:
    """Return the voucher's name: H of the signed bytes."""
    return blake2_256(signing_bytes(voucher))


def encode_signed(signed: SignedVoucher) -> bytes:
    """Encode a signed voucher for the wire."""
    return signing_bytes(signed.voucher) + encode(MultiSignature, signed.signature)


def decode_signed(data: bytes) -> SignedVoucher:
    """Decode a signed voucher from the wire; raises VoucherRefusal WRONG_TAG or MALFORMED."""
    if not data.startswith(VOUCHER_TAG):
        raise VoucherRefusal(VoucherReason.WRONG_TAG)
    try:
        signed: SignedVoucher = decode(SignedVoucher, data[len(VOUCHER_TAG) :])
    except DecodeError as error:
        raise VoucherRefusal(VoucherReason.MALFORMED, str(error)) from error
    return signed


def to_header(signed: SignedVoucher) -> str:
    """Return the value of the HTTP header."""
    return base64.b64encode(encode_signed(signed)).decode("ascii")


def from_header(value: str) -> SignedVoucher:
    """Decode the HTTP header; raises VoucherRefusal WRONG_TAG or MALFORMED."""
    if len(value) > MAX_HEADER_CHARS:
        raise VoucherRefusal(VoucherReason.MALFORMED, f"{len(value)} characters")
    try:
        data = base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise VoucherRefusal(VoucherReason.MALFORMED, str(error)) from error
    if base64.b64encode(data).decode("ascii") != value:
        raise VoucherRefusal(VoucherReason.MALFORMED, "the base64 is not canonical")
    return decode_signed(data)


def verify_signature(signed: SignedVoucher, voucher_key: bytes) -> bool:
    """Tell whether the voucher key signed exactly this voucher."""
    return keys.verify(signed.signature, signing_bytes(signed.voucher), voucher_key)


def check_request(signed: SignedVoucher, body: bytes, view: SessionView, height: int) -> None:
    """Check a voucher before the executor works for it; cheapest rules first, signature last.

    Raises:
        VoucherRefusal: WRONG_CHAIN, WRONG_SESSION, WRONG_REQUEST, STALE_NONCE, EXPIRED,
            ABOVE_AUTHORISED, ABOVE_ESCROW or BAD_SIGNATURE.
    """
    voucher = signed.voucher
    _check_scope(voucher, view.genesis, view.session)
    if voucher.request_hash != request_hash(body):
        raise VoucherRefusal(VoucherReason.WRONG_REQUEST)
    if voucher.nonce <= view.last_nonce:
        raise VoucherRefusal(
            VoucherReason.STALE_NONCE, f"nonce {voucher.nonce}; above {view.last_nonce} is free"
        )
    if height > voucher.valid_until:
        raise VoucherRefusal(
            VoucherReason.EXPIRED, f"valid until {voucher.valid_until}; now {height}"
        )
    needed = view.charged + view.reserved + voucher.max_fee
    if needed > voucher.authorised:
        raise VoucherRefusal(
            VoucherReason.ABOVE_AUTHORISED, f"authorised {voucher.authorised}; {needed} needed"
        )
    if needed > view.escrow:
        raise VoucherRefusal(VoucherReason.ABOVE_ESCROW, f"escrow {view.escrow}; {needed} needed")
    if not verify_signature(signed, view.voucher_key):
        raise VoucherRefusal(VoucherReason.BAD_SIGNATURE)


def check_settlement(
    signed: SignedVoucher,
    *,
    genesis: bytes,
    session: int,
    voucher_key: bytes,
    last_nonce: int,
    settled_total: int,
) -> None:
    """Check that a session's latest voucher covers what the chain is asked to settle.

    `last_nonce` is the batch's last; `settled_total` the session's total with this batch.

    Raises:
        VoucherRefusal: WRONG_CHAIN, WRONG_SESSION, STALE_NONCE, ABOVE_AUTHORISED, BAD_SIGNATURE.
    """
    voucher = signed.voucher
    _check_scope(voucher, genesis, session)
    if voucher.nonce < last_nonce:
        raise VoucherRefusal(
            VoucherReason.STALE_NONCE, f"nonce {voucher.nonce} does not cover {last_nonce}"
        )
    if settled_total > voucher.authorised:
        raise VoucherRefusal(
            VoucherReason.ABOVE_AUTHORISED,
            f"authorised {voucher.authorised}; {settled_total} claimed",
        )
    if not verify_signature(signed, voucher_key):
        raise VoucherRefusal(VoucherReason.BAD_SIGNATURE)


def _check_scope(voucher: Voucher, genesis: bytes, session: int) -> None:
    if voucher.genesis != genesis:
        raise VoucherRefusal(VoucherReason.WRONG_CHAIN)
    if voucher.session != session:
        raise VoucherRefusal(VoucherReason.WRONG_SESSION)
