"""One value of every format, with every field different from its neighbours."""

from __future__ import annotations

from nacl.signing import SigningKey

from runtime.primitives.types import Ed25519Signature
from runtime.protocols import receipt as receipts
from runtime.protocols import voucher as vouchers
from runtime.protocols.ids import RecordId
from runtime.protocols.receipt import Receipt, SignedReceipt
from runtime.protocols.report import ClusterWeight, QueryCode, Report, Scored, Span
from runtime.protocols.settlement import ClusterShare, Royalty, Seat, Settlement
from runtime.protocols.voucher import SignedVoucher, Voucher

GENESIS = bytes(range(32))
KEY = SigningKey(b"\x07" * 32)
PUBLIC = bytes(KEY.verify_key)
BODY = b'{"model":"m","messages":[]}'
OUTPUT = (5, 9, 70_000)


def sign(message: bytes, key: SigningKey = KEY) -> Ed25519Signature:
    return Ed25519Signature(key.sign(message).signature)


def voucher(**changes: object) -> Voucher:
    values: dict[str, object] = {
        "genesis": GENESIS,
        "session": 11,
        "nonce": 3,
        "request_hash": vouchers.request_hash(BODY),
        "max_fee": 10**18,
        "authorised": 5 * 10**18,
        "valid_until": 1000,
    }
    return Voucher(**(values | changes))  # type: ignore[arg-type]


def signed_voucher(**changes: object) -> SignedVoucher:
    value = voucher(**changes)
    return SignedVoucher(value, sign(vouchers.signing_bytes(value)))


def receipt(**changes: object) -> Receipt:
    values: dict[str, object] = {
        "genesis": GENESIS,
        "session": 11,
        "nonce": 3,
        "request_hash": vouchers.request_hash(BODY),
        "response_hash": receipts.response_hash(OUTPUT),
        "prompt_tokens": 40,
        "completion_tokens": 3,
        "compute": 40 * 10 + 3 * 30,
        "premium": 43 * 20,
        "manifest_hash": b"\x11" * 32,
        "engine_hash": b"\x12" * 32,
        "sampling_hash": b"\x13" * 32,
        "logits_digest": b"\x14" * 32,
    }
    return Receipt(**(values | changes))  # type: ignore[arg-type]


def signed_receipt(**changes: object) -> SignedReceipt:
    value = receipt(**changes)
    return SignedReceipt(value, sign(receipts.signing_bytes(value)))


def report(**changes: object) -> Report:
    first, second = RecordId(1, 8), RecordId(2, 3)
    values: dict[str, object] = {
        "receipt_hash": receipts.receipt_hash(receipt()),
        "method": 1,
        "query": QueryCode(bytes((1, 255, 127, 129)), (-3, 4)),
        "top": (Scored(first, 900), Scored(second, 100), Scored(RecordId(1, 2), -5)),
        "spans": (Span(0, 9, first, 4, 33), Span(2, 12, second, 0, 20)),
        "clusters": (ClusterWeight(first, 900_000), ClusterWeight(second, 100_000)),
        "salt": b"\x15" * 32,
    }
    return Report(**(values | changes))  # type: ignore[arg-type]


SETTLEMENT = Settlement(
    compute=1_000_001,
    premium=777_777,
    unmatched=100_003,
    executor=b"\x01" * 32,
    customer=b"\x02" * 32,
    owner=b"\x03" * 32,
    clusters=(
        ClusterShare(RecordId(1, 8), b"\x05" * 32, 333_333),
        ClusterShare(RecordId(2, 3), b"\x04" * 32, 666_667, payable=500_000),
    ),
    datanets=((1, 3), (2, 4)),
    seats=(Seat(b"\x06" * 32, True), Seat(b"\x07" * 32, False), Seat(b"\x08" * 32, True)),
    audit_top_up=11,
    royalties=(Royalty(b"\x09" * 32, 1_500),),
)
