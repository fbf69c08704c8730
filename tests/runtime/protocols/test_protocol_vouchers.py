"""Vouchers, receipts and prices: what is signed, checked and refused."""

from __future__ import annotations

import base64
from dataclasses import replace

import protocol_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.client.signing import from_uri
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import encode
from runtime.primitives.types import EcdsaSignature, Ed25519Signature, MultiSignature
from runtime.protocols import receipt as receipts
from runtime.protocols import voucher as vouchers
from runtime.protocols.price import (
    HARD_PREMIUM_FLOOR,
    Cost,
    Price,
    PriceReason,
    PriceRefusal,
    check_price,
    cost,
    least_premium,
)
from runtime.protocols.receipt import ReceiptReason, ReceiptRefusal, SignedReceipt
from runtime.protocols.voucher import (
    SessionView,
    SignedVoucher,
    VoucherReason,
    VoucherRefusal,
)

VIEW = SessionView(
    genesis=samples.GENESIS,
    session=11,
    voucher_key=samples.PUBLIC,
    escrow=10 * 10**18,
    last_nonce=2,
    charged=10**18,
    reserved=10**18,
)
PRICE = Price(compute_in=10, compute_out=30, premium=20)


def test_a_signed_voucher_survives_the_header() -> None:
    signed = samples.signed_voucher()
    assert vouchers.from_header(vouchers.to_header(signed)) == signed
    raw = base64.b64decode(vouchers.to_header(signed))
    assert raw == vouchers.signing_bytes(signed.voucher) + encode(MultiSignature, signed.signature)


def test_signed_bytes_are_the_tag_and_little_endian_fields_in_the_documented_order() -> None:
    voucher, receipt = samples.voucher(), samples.receipt()
    assert vouchers.signing_bytes(voucher) == b"".join(
        (
            b"openledger-voucher-v1",
            samples.GENESIS,
            (11).to_bytes(8, "little"),
            (3).to_bytes(4, "little"),
            blake2_256(samples.BODY),
            (10**18).to_bytes(16, "little"),
            (5 * 10**18).to_bytes(16, "little"),
            (1000).to_bytes(4, "little"),
        )
    )
    assert receipts.signing_bytes(receipt) == b"".join(
        (
            b"openledger-receipt-v1",
            samples.GENESIS,
            (11).to_bytes(8, "little"),
            (3).to_bytes(4, "little"),
            blake2_256(samples.BODY),
            blake2_256(b"\x0c" + b"".join(n.to_bytes(4, "little") for n in samples.OUTPUT)),
            (40).to_bytes(4, "little"),
            (3).to_bytes(4, "little"),
            (490).to_bytes(16, "little"),
            (860).to_bytes(16, "little"),
            b"\x11" * 32 + b"\x12" * 32 + b"\x13" * 32 + b"\x14" * 32,
        )
    )


def test_a_voucher_that_is_in_order_is_taken() -> None:
    vouchers.check_request(samples.signed_voucher(), samples.BODY, VIEW, height=1000)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (VoucherReason.WRONG_CHAIN, {"genesis": bytes(32)}),
        (VoucherReason.WRONG_SESSION, {"session": 12}),
        (VoucherReason.WRONG_REQUEST, {"request_hash": bytes(32)}),
        (VoucherReason.STALE_NONCE, {"nonce": 2}),
        (VoucherReason.EXPIRED, {"valid_until": 999}),
        (VoucherReason.ABOVE_AUTHORISED, {"authorised": 3 * 10**18 - 1}),
        (VoucherReason.ABOVE_ESCROW, {"max_fee": 8 * 10**18 + 1, "authorised": 10**20}),
    ],
)
def test_a_voucher_is_refused_by_name(reason: VoucherReason, changes: dict[str, object]) -> None:
    with pytest.raises(VoucherRefusal) as caught:
        vouchers.check_request(samples.signed_voucher(**changes), samples.BODY, VIEW, height=1000)
    assert caught.value.reason is reason


def test_a_voucher_may_use_the_last_planck_of_ceiling_and_escrow() -> None:
    exact = samples.signed_voucher(max_fee=8 * 10**18, authorised=10 * 10**18)
    vouchers.check_request(exact, samples.BODY, VIEW, height=0)


@given(st.data())
def test_every_bit_of_a_voucher_counts(data: st.DataObject) -> None:
    raw = bytearray(vouchers.encode_signed(samples.signed_voucher()))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        changed = vouchers.decode_signed(bytes(raw))
    except VoucherRefusal:
        return
    if changed.voucher != samples.voucher():
        assert vouchers.voucher_hash(changed.voucher) != vouchers.voucher_hash(samples.voucher())
    assert not vouchers.verify_signature(changed, samples.PUBLIC)


@given(st.data())
def test_every_bit_of_a_receipt_counts(data: st.DataObject) -> None:
    raw = bytearray(receipts.encode_signed(samples.signed_receipt()))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        changed = receipts.decode_signed(bytes(raw))
    except ReceiptRefusal:
        return
    if changed.receipt != samples.receipt():
        assert receipts.receipt_hash(changed.receipt) != receipts.receipt_hash(samples.receipt())
    assert not receipts.verify_signature(changed, samples.PUBLIC)


@given(st.binary(max_size=400))
def test_garbage_is_never_a_voucher_or_a_receipt(garbage: bytes) -> None:
    with pytest.raises(VoucherRefusal):
        vouchers.decode_signed(vouchers.VOUCHER_TAG + garbage[:100])
    with pytest.raises(VoucherRefusal):
        vouchers.decode_signed(garbage)
    with pytest.raises(ReceiptRefusal):
        receipts.decode_signed(garbage)


@pytest.mark.parametrize("value", ["", "é", "AAAA", "b3Blbg", "b3Blbg==\n", "A" * 1025])
def test_a_bad_header_is_refused(value: str) -> None:
    with pytest.raises(VoucherRefusal):
        vouchers.from_header(value)


def test_base64_with_stray_bits_is_refused() -> None:
    signed = SignedVoucher(samples.voucher(), EcdsaSignature(bytes(64) + b"\x01"))
    header = vouchers.to_header(signed)
    assert header.endswith("=")
    body = header.rstrip("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    stray = body[:-1] + alphabet[alphabet.index(body[-1]) + 1] + header[len(body) :]
    assert base64.b64decode(stray) == base64.b64decode(header)
    with pytest.raises(VoucherRefusal, match="MALFORMED"):
        vouchers.from_header(stray)


@pytest.mark.parametrize("scheme", ["sr25519", "ed25519", "ecdsa"])
def test_any_scheme_of_the_ecosystem_signs_vouchers_and_receipts(scheme: str) -> None:
    key, other = from_uri("//Alice", scheme=scheme), from_uri("//Bob", scheme=scheme)  # type: ignore[arg-type]
    voucher, receipt = samples.voucher(), samples.receipt()
    signed = SignedVoucher(voucher, key.sign(vouchers.signing_bytes(voucher)))
    assert vouchers.verify_signature(signed, key.account_id)
    assert not vouchers.verify_signature(signed, other.account_id)
    assert vouchers.from_header(vouchers.to_header(signed)) == signed
    answer = SignedReceipt(receipt, key.sign(receipts.signing_bytes(receipt)))
    assert receipts.verify_signature(answer, key.account_id)
    assert receipts.from_text(receipts.to_text(answer)) == answer
    crossed = SignedReceipt(receipt, key.sign(vouchers.signing_bytes(voucher)))
    assert not receipts.verify_signature(crossed, key.account_id)


def settle(signed: SignedVoucher, last_nonce: int, total: int) -> None:
    vouchers.check_settlement(
        signed,
        genesis=samples.GENESIS,
        session=11,
        voucher_key=samples.PUBLIC,
        last_nonce=last_nonce,
        settled_total=total,
    )


def test_settlement_never_exceeds_what_the_customer_authorised() -> None:
    signed = samples.signed_voucher()
    settle(signed, 3, 5 * 10**18)
    for reason, last_nonce, total in (
        (VoucherReason.STALE_NONCE, 4, 1),
        (VoucherReason.ABOVE_AUTHORISED, 3, 5 * 10**18 + 1),
    ):
        with pytest.raises(VoucherRefusal) as caught:
            settle(signed, last_nonce, total)
        assert caught.value.reason is reason
    forged = replace(signed, signature=Ed25519Signature(bytes(64)))
    with pytest.raises(VoucherRefusal, match="BAD_SIGNATURE"):
        settle(forged, 3, 1)
    with pytest.raises(VoucherRefusal, match="BAD_SIGNATURE"):
        vouchers.check_request(forged, samples.BODY, VIEW, height=0)


def test_a_receipt_that_is_in_order_is_taken() -> None:
    receipts.check_receipt(
        samples.signed_receipt(), samples.voucher(), samples.OUTPUT, PRICE, samples.PUBLIC
    )


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (ReceiptReason.WRONG_VOUCHER, {"genesis": bytes(32)}),
        (ReceiptReason.WRONG_VOUCHER, {"session": 1}),
        (ReceiptReason.WRONG_VOUCHER, {"nonce": 4}),
        (ReceiptReason.WRONG_VOUCHER, {"request_hash": bytes(32)}),
        (ReceiptReason.WRONG_RESPONSE, {"response_hash": bytes(32)}),
        (ReceiptReason.WRONG_RESPONSE, {"completion_tokens": 4}),
        (ReceiptReason.WRONG_COST, {"compute": 491}),
        (ReceiptReason.WRONG_COST, {"premium": 859}),
    ],
)
def test_a_receipt_is_refused_by_name(reason: ReceiptReason, changes: dict[str, object]) -> None:
    signed = samples.signed_receipt(**changes)
    with pytest.raises(ReceiptRefusal) as caught:
        receipts.check_receipt(signed, samples.voucher(), samples.OUTPUT, PRICE, samples.PUBLIC)
    assert caught.value.reason is reason


def test_a_receipt_above_the_vouchers_fee_or_of_another_worker_is_refused() -> None:
    signed = samples.signed_receipt()
    with pytest.raises(ReceiptRefusal, match="ABOVE_MAX_FEE"):
        receipts.check_receipt(
            signed, samples.voucher(max_fee=1349), samples.OUTPUT, PRICE, samples.PUBLIC
        )
    with pytest.raises(ReceiptRefusal, match="BAD_SIGNATURE"):
        receipts.check_receipt(signed, samples.voucher(), samples.OUTPUT, PRICE, bytes(32))


prices = st.integers(0, 10**20)


@given(prices, prices, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(2500, 10_000))
def test_no_mix_of_tokens_brings_the_premium_below_its_floor(
    compute_in: int, compute_out: int, prompt: int, completion: int, floor: int
) -> None:
    bare = Price(compute_in, compute_out, 0)
    price = replace(bare, premium=least_premium(bare, floor))
    check_price(price, compute_cap=10**20, floor=floor)
    due = cost(price, prompt, completion)
    assert due.premium * 10_000 >= due.compute * floor
    assert due.total() == due.compute + due.premium
    if price.premium:
        with pytest.raises(PriceRefusal, match="PREMIUM_TOO_LOW"):
            check_price(replace(price, premium=price.premium - 1), 10**20, floor)


def test_cost_is_price_times_tokens() -> None:
    assert cost(PRICE, 40, 3) == Cost(compute=490, premium=860)


@pytest.mark.parametrize(
    ("reason", "price", "cap", "floor"),
    [
        (PriceReason.COMPUTE_ABOVE_CAP, Price(11, 0, 100), 10, 5000),
        (PriceReason.COMPUTE_ABOVE_CAP, Price(0, 11, 100), 10, 5000),
        (PriceReason.PREMIUM_TOO_LOW, Price(0, 9, 4), 10, 5000),
        (PriceReason.TOO_HIGH, Price(0, 9, 10**24 + 1), 10, 5000),
        (PriceReason.BAD_FLOOR, Price(0, 9, 9), 10, HARD_PREMIUM_FLOOR - 1),
    ],
)
def test_a_price_is_refused_by_name(
    reason: PriceReason, price: Price, cap: int, floor: int
) -> None:
    with pytest.raises(PriceRefusal) as caught:
        check_price(price, cap, floor)
    assert caught.value.reason is reason
