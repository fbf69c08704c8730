"""Signature verification and addresses.

One verifier per scheme, frozen: libraries differ in which odd signatures they accept, and a
difference between two nodes would be a fork.
"""

from __future__ import annotations

from enum import Enum
from hashlib import blake2b

import sr25519
from coincurve import PublicKey
from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import CryptoError

from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.types import EcdsaSignature, Ed25519Signature, Sr25519Signature

# Order of the secp256k1 group, halved: "low s" of BIP-62. With it nobody but the signer can
# make a second valid encoding of a signature, hence a second hash of a transaction.
_SECP256K1_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_DIGITS = {letter: digit for digit, letter in enumerate(_BASE58)}
_MAX_ADDRESS_LENGTH = 64
_MAX_PREFIX = (1 << 14) - 1
_RESERVED_PREFIXES = (46, 47)

_NEUTRAL_KEY = bytes(32)


class AddressReason(Enum):
    """Why a text is not an address of this kind."""

    BAD_CHARACTER = "contains a character that base58 does not have"
    WRONG_LENGTH = "does not hold a prefix, 32 bytes and a checksum"
    BAD_PREFIX = "has a network prefix that is reserved, too large or not in its shortest form"
    WRONG_CHECKSUM = "has a wrong checksum; look for a typing error"


class AddressError(Refusal):
    """A text that is no SS58 address of an account."""

    def __init__(self, reason: AddressReason) -> None:
        super().__init__(reason, f"the address {reason.value}")
        self.reason: AddressReason = reason


def verify(
    signature: Ed25519Signature | Sr25519Signature | EcdsaSignature, message: bytes, account: bytes
) -> bool:
    """Tell whether `account` signed `message`; garbage is False, never an exception.

    ed25519 and sr25519 account ids are the public keys themselves, that of an ECDSA key is the
    blake2b-256 hash of its 33-byte compressed form.
    """
    kind = type(signature)
    if kind is Sr25519Signature:
        return verify_sr25519(account, message, signature.value)
    if kind is Ed25519Signature:
        return verify_ed25519(account, message, signature.value)
    if kind is EcdsaSignature:
        public = recover_ecdsa(message, signature.value)
        return public is not None and blake2_256(public) == account
    return False


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Verify an RFC 8032 signature strictly, as libsodium does.

    Without the cofactor; refuses S >= L, and keys or R of small order or non-canonical encoding.
    """
    if len(public) != 32 or len(signature) != 64:
        return False
    try:
        crypto_sign_open(signature + message, public)
    except CryptoError:
        return False
    return True


def is_ed25519_key(public: bytes) -> bool:
    """Tell whether 32 bytes are a point of the prime-order group in its one encoding.

    Refuses what some verifiers admit: points off the curve, of small or mixed order, and
    coordinates that are not reduced.
    """
    return len(public) == 32 and crypto_core_ed25519_is_valid_point(public)


def verify_sr25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Verify a schnorrkel signature in the context "substrate" over the raw message.

    Refuses the neutral element as a key, which schnorrkel takes: anybody can sign for it.
    """
    if len(public) != 32 or len(signature) != 64 or public == _NEUTRAL_KEY:
        return False
    try:
        return bool(sr25519.verify(signature, message, public))
    except ValueError:
        return False


def recover_ecdsa(message: bytes, signature: bytes) -> bytes | None:
    """Return the 33-byte key that signed blake2b-256 of `message`; None for a bad signature.

    The last byte of the signature is the recovery id (0 to 3); s has to be low (BIP-62).
    """
    if len(signature) != 65 or int.from_bytes(signature[32:64], "big") > _SECP256K1_HALF_ORDER:
        return None
    try:
        key = PublicKey.from_signature_and_message(signature, blake2_256(message), hasher=None)
    except ValueError:
        return None
    return key.format(compressed=True)


def ss58_encode(account: bytes, prefix: int = 42) -> str:
    """Return the address of a 32-byte account id on the network with that prefix.

    Source: https://docs.substrate.io/reference/address-formats (SS58).
    """
    if len(account) != 32:
        raise AddressError(AddressReason.WRONG_LENGTH)
    body = _prefix_bytes(prefix) + account
    return _base58_encode(body + _checksum(body))


def ss58_decode(text: str) -> tuple[bytes, int]:
    """Return the account id and the network prefix of an address; raises AddressError."""
    if len(text) > _MAX_ADDRESS_LENGTH:
        raise AddressError(AddressReason.WRONG_LENGTH)
    data = _base58_decode(text)
    width = 2 if data and data[0] & 0x40 else 1
    if len(data) != width + 34:
        raise AddressError(AddressReason.WRONG_LENGTH)
    if data[0] & 0x80:
        raise AddressError(AddressReason.BAD_PREFIX)
    if _checksum(data[:-2]) != data[-2:]:
        raise AddressError(AddressReason.WRONG_CHECKSUM)
    prefix = data[0]
    if width == 2:
        prefix = (data[0] & 0x3F) << 2 | data[1] >> 6 | (data[1] & 0x3F) << 8
    if prefix in _RESERVED_PREFIXES or (width == 2 and prefix < 64):
        raise AddressError(AddressReason.BAD_PREFIX)
    return data[width:-2], prefix


def _prefix_bytes(prefix: int) -> bytes:
    if not 0 <= prefix <= _MAX_PREFIX or prefix in _RESERVED_PREFIXES:
        raise AddressError(AddressReason.BAD_PREFIX)
    if prefix < 64:
        return bytes((prefix,))
    return bytes((0x40 | prefix >> 2 & 0x3F, prefix >> 8 | (prefix & 3) << 6))


def _checksum(body: bytes) -> bytes:
    return blake2b(b"SS58PRE" + body).digest()[:2]


def _base58_encode(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    letters = []
    while number:
        number, digit = divmod(number, 58)
        letters.append(_BASE58[digit])
    zeros = len(data) - len(data.lstrip(b"\x00"))
    return "1" * zeros + "".join(reversed(letters))


def _base58_decode(text: str) -> bytes:
    number = 0
    for letter in text:
        digit = _BASE58_DIGITS.get(letter)
        if digit is None:
            raise AddressError(AddressReason.BAD_CHARACTER)
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return b"\x00" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
