import json
from pathlib import Path

import pytest
import sr25519
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_core_ed25519_add, crypto_sign, crypto_sign_seed_keypair

from runtime.primitives import keys
from runtime.primitives.hashing import blake2_256
from runtime.primitives.keys import (
    AddressError,
    AddressReason,
    ss58_decode,
    ss58_encode,
    verify,
    verify_ed25519,
)
from runtime.primitives.types import EcdsaSignature, Ed25519Signature, Sr25519Signature

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "keys.json").read_text())
SIGNATURES = {"sr25519": Sr25519Signature, "ed25519": Ed25519Signature, "ecdsa": EcdsaSignature}
ALICE = bytes.fromhex("d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d")
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
BASE_POINT = bytes.fromhex("5866666666666666666666666666666666666666666666666666666666666666")
MESSAGE = b"a message"
RESERVED = (46, 47)

small_orders = [
    "0100000000000000000000000000000000000000000000000000000000000000",  # order 1
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 2
    "0000000000000000000000000000000000000000000000000000000000000000",  # order 4
    "0000000000000000000000000000000000000000000000000000000000000080",  # order 4
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",  # order 8
    "0100000000000000000000000000000000000000000000000000000000000080",  # order 1, odd form
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 1, y = p + 1
]


def signed(scheme, message=MESSAGE):
    seed = bytes(range(32))
    if scheme == "ed25519":
        public, secret = crypto_sign_seed_keypair(seed)
        return public, Ed25519Signature(crypto_sign(message, secret)[:64])
    if scheme == "sr25519":
        pair = sr25519.pair_from_seed(seed)
        return pair[0], Sr25519Signature(sr25519.sign(pair, message))
    key = PrivateKey(seed)
    signature = key.sign_recoverable(blake2_256(message), hasher=None)
    return blake2_256(key.public_key.format()), EcdsaSignature(signature)


def test_signatures_and_addresses_of_the_ecosystem_are_accepted():
    for case in VECTORS:
        account = bytes.fromhex(case["account"])
        signature = SIGNATURES[case["scheme"]](bytes.fromhex(case["signature"]))
        message = bytes.fromhex(case["message"])
        assert verify(signature, message, account), case
        assert not verify(signature, message + b"\x00", account), case
        assert ss58_encode(account, case["prefix"]) == case["address"]
        assert ss58_decode(case["address"]) == (account, case["prefix"])


@pytest.mark.parametrize("scheme", SIGNATURES)
def test_a_changed_bit_anywhere_is_refused(scheme):
    account, signature = signed(scheme)
    assert verify(signature, MESSAGE, account)
    for position in range(8 * len(signature.value)):
        changed = bytearray(signature.value)
        changed[position // 8] ^= 1 << position % 8
        assert not verify(type(signature)(bytes(changed)), MESSAGE, account), position
    for position in range(8 * 32):
        changed = bytearray(account)
        changed[position // 8] ^= 1 << position % 8
        assert not verify(signature, MESSAGE, bytes(changed)), position


@given(
    st.sampled_from(sorted(SIGNATURES)),
    st.one_of(st.binary(max_size=100), st.binary(min_size=64, max_size=65)),
    st.binary(max_size=100),
    st.one_of(st.binary(max_size=70), st.binary(min_size=32, max_size=32)),
)
def test_garbage_is_false_and_never_raises(scheme, value, message, account):
    assert verify(SIGNATURES[scheme](value), message, account) is False


def test_something_else_than_a_signature_is_false():
    assert verify(None, MESSAGE, ALICE) is False


def test_a_signature_of_the_wrapped_message_is_not_one_of_the_message():
    account, signature = signed("sr25519", b"<Bytes>" + MESSAGE + b"</Bytes>")
    assert not verify(signature, MESSAGE, account)


@pytest.mark.parametrize("key", small_orders)
def test_a_key_of_small_order_signs_nothing(key):
    # R = B and S = 1 satisfy S B = R + k A for every message where k A is the neutral element.
    signature = BASE_POINT + (1).to_bytes(32, "little")
    for attempt in range(64):
        assert not verify_ed25519(bytes.fromhex(key), bytes((attempt,)), signature)


def test_the_neutral_sr25519_key_signs_nothing():
    # R and S of nothing satisfy S B = R + k A for every message, where A is the neutral element.
    signature = bytes(63) + b"\x80"
    assert sr25519.verify(signature, MESSAGE, bytes(32))
    assert not verify(Sr25519Signature(signature), MESSAGE, bytes(32))


def test_a_point_of_the_group_is_a_key():
    public, _ = signed("ed25519")
    assert keys.is_ed25519_key(public)
    assert keys.is_ed25519_key(BASE_POINT)


@pytest.mark.parametrize(
    "key",
    [
        *small_orders,
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # y = p + 3
        "0200000000000000000000000000000000000000000000000000000000000000",  # not on the curve
        "5866666666666666666666666666666666666666666666666666666666666666" + "00",
        "",
    ],
)
def test_other_points_are_no_keys(key):
    assert not keys.is_ed25519_key(bytes.fromhex(key))


def test_a_point_of_mixed_order_is_no_key():
    mixed = crypto_core_ed25519_add(BASE_POINT, bytes.fromhex(small_orders[1]))
    assert mixed != BASE_POINT
    assert not keys.is_ed25519_key(mixed)


@pytest.mark.parametrize("point", small_orders)
def test_an_r_of_small_order_is_refused(point):
    account, signature = signed("ed25519")
    assert not verify_ed25519(account, MESSAGE, bytes.fromhex(point) + signature.value[32:])


def test_an_ed25519_signature_has_one_encoding():
    account, signature = signed("ed25519")
    response = int.from_bytes(signature.value[32:], "little") + ED25519_ORDER
    twin = signature.value[:32] + response.to_bytes(32, "little")
    assert not verify(Ed25519Signature(twin), MESSAGE, account)


def test_an_ecdsa_signature_has_one_encoding():
    account, signature = signed("ecdsa")
    value = signature.value
    s = SECP256K1_ORDER - int.from_bytes(value[32:64], "big")
    twin = value[:32] + s.to_bytes(32, "big") + bytes((value[64] ^ 1,))
    assert not verify(EcdsaSignature(twin), MESSAGE, account)
    ethereum_style = value[:64] + bytes((value[64] + 27,))
    assert not verify(EcdsaSignature(ethereum_style), MESSAGE, account)


@pytest.mark.parametrize(
    ("prefix", "address"),
    [
        (42, "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"),
        (0, "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5"),
        (2, "HNZata7iMYWmk5RvZRTiAsSDhV8366zq2YGb3tLH5Upf74F"),
    ],
)
def test_the_addresses_of_alice_are_the_known_ones(prefix, address):
    assert ss58_encode(ALICE, prefix) == address
    assert ss58_decode(address) == (ALICE, prefix)


@given(
    st.binary(min_size=32, max_size=32), st.integers(0, 16383).filter(lambda p: p not in RESERVED)
)
def test_decoding_an_address_undoes_encoding(account, prefix):
    assert ss58_decode(ss58_encode(account, prefix)) == (account, prefix)


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_a_typed_refusal(text):
    try:
        account, prefix = ss58_decode(text)
    except AddressError:
        return
    assert ss58_encode(account, prefix) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ", AddressReason.WRONG_CHECKSUM),
        ("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQ0", AddressReason.BAD_CHARACTER),
        ("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKut", AddressReason.WRONG_LENGTH),
        ("", AddressReason.WRONG_LENGTH),
        ("1" * 35, AddressReason.WRONG_CHECKSUM),
        ("5" * 1000, AddressReason.WRONG_LENGTH),
        ("F7Hs", AddressReason.WRONG_LENGTH),  # an account index, not an account
        (" 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY", AddressReason.BAD_CHARACTER),
    ],
)
def test_a_wrong_address_is_refused_with_its_reason(text, reason):
    with pytest.raises(AddressError) as refusal:
        ss58_decode(text)
    assert refusal.value.reason is reason


def test_a_small_prefix_in_two_bytes_is_refused():
    body = bytes((0x40 | 42 >> 2, (42 & 3) << 6)) + ALICE
    text = keys._base58_encode(body + keys._checksum(body))
    with pytest.raises(AddressError) as refusal:
        ss58_decode(text)
    assert refusal.value.reason is AddressReason.BAD_PREFIX


@pytest.mark.parametrize("prefix", RESERVED)
def test_a_reserved_prefix_is_refused(prefix):
    body = bytes((prefix,)) + ALICE
    text = keys._base58_encode(body + keys._checksum(body))
    for attempt in (lambda: ss58_decode(text), lambda: ss58_encode(ALICE, prefix)):
        with pytest.raises(AddressError) as refusal:
            attempt()
        assert refusal.value.reason is AddressReason.BAD_PREFIX


@pytest.mark.parametrize(("account", "prefix"), [(bytes(31), 42), (ALICE, 16384), (ALICE, -1)])
def test_no_address_is_made_of_what_is_no_account(account, prefix):
    with pytest.raises(AddressError):
        ss58_encode(account, prefix)
