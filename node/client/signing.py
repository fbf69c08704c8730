"""Key pairs from secret URIs, as `subkey` and every wallet of the ecosystem read them.

    phrase or 0x seed, //hard and /soft junctions, ///password
    bottom drive obey lake curtain smoke basket hold race lonely fit walk//Alice//stash

An empty phrase is the public development phrase: such keys belong to everybody.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Literal, Protocol

import sr25519
from coincurve import PrivateKey
from mnemonic import Mnemonic
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from runtime.primitives.errors import Refusal
from runtime.primitives.extrinsic import Extensions, SignedPart, UncheckedExtrinsic, signing_payload
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import compact_encode
from runtime.primitives.types import EcdsaSignature, Ed25519Signature, Id, Sr25519Signature

Scheme = Literal["sr25519", "ed25519", "ecdsa"]
Signature = Ed25519Signature | Sr25519Signature | EcdsaSignature

DEV_PHRASE = "bottom drive obey lake curtain smoke basket hold race lonely fit walk"

_URI = re.compile(r"([a-zA-Z0-9 ]*)((?://?[^/]+)*)(?:///([^\n]*))?")
_JUNCTION = re.compile(r"/(/?)([^/]+)")
_SEED = re.compile(r"0x([0-9a-fA-F]{64})")
_EXPANDED = re.compile(r"0x([0-9a-fA-F]{128})")
_DECIMAL = re.compile(r"\+?0*([0-9]{1,20})")


class SecretReason(Enum):
    """Why a secret gives no key pair."""

    MALFORMED_URI = "is not of the form 'words//hard/soft///password'"
    BAD_PHRASE = "is not a BIP-39 phrase of 12, 15, 18, 21 or 24 English words"
    BAD_SEED = "has a seed that is not 0x and 64 hex digits, or not a key of this scheme"
    SOFT_JUNCTION = "has a soft junction (one slash), which only sr25519 keys can derive; use two"
    UNKNOWN_SCHEME = "is asked for a scheme other than sr25519, ed25519 and ecdsa"


class SecretError(Refusal):
    """A secret that gives no key pair. The text never repeats the secret."""

    def __init__(self, reason: SecretReason) -> None:
        super().__init__(reason, f"the secret {reason.value}")
        self.reason: SecretReason = reason


class KeyPair(Protocol):
    """A key that signs for an account."""

    @property
    def scheme(self) -> Scheme:
        """The signature scheme."""

    @property
    def public(self) -> bytes:
        """The public key: 32 bytes, for ECDSA the 33 of its compressed form."""

    @property
    def account_id(self) -> bytes:
        """The 32 bytes that the chain knows the signer by."""

    def sign(self, message: bytes) -> Signature:
        """Return the signature as the chain's `verify` wants it."""


@dataclass(frozen=True, slots=True)
class Sr25519KeyPair:
    """A schnorrkel key; its signatures differ from call to call."""

    public: bytes
    secret: bytes = field(repr=False)
    scheme: Scheme = field(default="sr25519", init=False)

    @property
    def account_id(self) -> bytes:
        """The public key."""
        return self.public

    def sign(self, message: bytes) -> Sr25519Signature:
        """Sign in the context "substrate"."""
        return Sr25519Signature(sr25519.sign((self.public, self.secret), message))


@dataclass(frozen=True, slots=True)
class Ed25519KeyPair:
    """An RFC 8032 key; `seed` also feeds the verifiable random function."""

    public: bytes
    seed: bytes = field(repr=False)
    scheme: Scheme = field(default="ed25519", init=False)

    @property
    def account_id(self) -> bytes:
        """The public key."""
        return self.public

    def sign(self, message: bytes) -> Ed25519Signature:
        """Sign deterministically."""
        return Ed25519Signature(crypto_sign(message, self.seed + self.public)[:64])


@dataclass(frozen=True, slots=True)
class EcdsaKeyPair:
    """A secp256k1 key."""

    public: bytes
    seed: bytes = field(repr=False)
    scheme: Scheme = field(default="ecdsa", init=False)

    @property
    def account_id(self) -> bytes:
        """Blake2b-256 of the compressed public key."""
        return blake2_256(self.public)

    def sign(self, message: bytes) -> EcdsaSignature:
        """Sign blake2b-256 of the message, with s low and the recovery id at the end."""
        key = PrivateKey(self.seed)
        return EcdsaSignature(key.sign_recoverable(blake2_256(message), hasher=None))


def from_uri(uri: str, scheme: Scheme = "sr25519") -> KeyPair:
    """Return the key pair of a secret URI; raises SecretError."""
    match = _URI.fullmatch(uri)
    if match is None or not _is_unicode(uri):
        raise SecretError(SecretReason.MALFORMED_URI)
    phrase, path, password = match.groups()
    seed = _root_seed(phrase or DEV_PHRASE, password or "")
    junctions = [(bool(hard), _chain_code(name)) for hard, name in _JUNCTION.findall(path)]
    match scheme:
        case "sr25519":
            return _derive_sr25519(seed, junctions)
        case "ed25519":
            seed = _derive_seed("Ed25519HDKD", seed, junctions)
            return Ed25519KeyPair(crypto_sign_seed_keypair(seed)[0], seed)
        case "ecdsa":
            seed = _derive_seed("Secp256k1HDKD", seed, junctions)
            return EcdsaKeyPair(_secp256k1_public(seed), seed)
        case _:
            raise SecretError(SecretReason.UNKNOWN_SCHEME)


def from_secret(secret: str, scheme: Scheme = "sr25519") -> KeyPair:
    """Return the key pair of a secret URI, or of an expanded sr25519 key: 0x and 128 hex digits.

    Wallets that export a derived key can give nothing but its expansion. Raises SecretError.
    """
    match = _EXPANDED.fullmatch(secret)
    if match is None or scheme != "sr25519":
        return from_uri(secret, scheme)
    expanded = bytes.fromhex(match[1])
    try:
        return Sr25519KeyPair(sr25519.public_from_secret_key(expanded), expanded)
    except ValueError:
        raise SecretError(SecretReason.BAD_SEED) from None


def generate(scheme: Scheme = "sr25519", words: Literal[12, 24] = 12) -> tuple[str, KeyPair]:
    """Return a new phrase from the system's randomness, and its key pair."""
    phrase = _words().to_mnemonic(secrets.token_bytes(words * 4 // 3))
    return phrase, from_uri(phrase, scheme)


def sign_extrinsic(
    call: bytes,
    signer: KeyPair,
    extensions: Extensions,
    *,
    spec_version: int,
    transaction_version: int,
    genesis_hash: bytes,
    birth_hash: bytes,
) -> bytes:
    """Return the encoded, signed extrinsic of `call`; the arguments as of `signing_payload`."""
    payload = signing_payload(
        call,
        extensions,
        spec_version=spec_version,
        transaction_version=transaction_version,
        genesis_hash=genesis_hash,
        birth_hash=birth_hash,
    )
    signed = SignedPart(Id(signer.account_id), signer.sign(payload), extensions)
    return UncheckedExtrinsic(signed, call).encode()


@cache
def _words() -> Mnemonic:
    return Mnemonic("english")


def _is_unicode(text: str) -> bool:
    """Tell whether a text from a command line was UTF-8, so that it has one byte form."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _root_seed(phrase: str, password: str) -> bytes:
    if phrase.startswith("0x"):
        match = _SEED.fullmatch(phrase)
        if match is None:
            raise SecretError(SecretReason.BAD_SEED)
        return bytes.fromhex(match[1])
    try:
        entropy = bytes(_words().to_entropy(phrase.split()))
    except (ValueError, LookupError) as error:
        # The cause could repeat a word of the phrase.
        del error
        raise SecretError(SecretReason.BAD_PHRASE) from None
    # BIP-39 stretches the phrase; the ecosystem stretches the entropy behind it.
    salt = b"mnemonic" + password.encode()
    return hashlib.pbkdf2_hmac("sha512", entropy, salt, 2048)[:32]


def _chain_code(name: str) -> bytes:
    """Return the 32 bytes of a junction: a u64 where the name is one, else a SCALE string."""
    number = _DECIMAL.fullmatch(name)
    if number and int(number[1]) < 1 << 64:
        encoded = int(number[1]).to_bytes(8, "little")
    else:
        raw = name.encode()
        encoded = compact_encode(len(raw)) + raw
    return blake2_256(encoded) if len(encoded) > 32 else encoded.ljust(32, b"\x00")


def _derive_sr25519(seed: bytes, junctions: list[tuple[bool, bytes]]) -> Sr25519KeyPair:
    public, secret = sr25519.pair_from_seed(seed)
    for hard, chain_code in junctions:
        derive = sr25519.hard_derive_keypair if hard else sr25519.derive_keypair
        _, public, secret = derive((chain_code, public, secret), b"")
    return Sr25519KeyPair(public, secret)


def _derive_seed(domain: str, seed: bytes, junctions: list[tuple[bool, bytes]]) -> bytes:
    prefix = compact_encode(len(domain)) + domain.encode()
    for hard, chain_code in junctions:
        if not hard:
            raise SecretError(SecretReason.SOFT_JUNCTION)
        seed = blake2_256(prefix + seed + chain_code)
    return seed


def _secp256k1_public(seed: bytes) -> bytes:
    try:
        return PrivateKey(seed).public_key.format(compressed=True)
    except ValueError:
        raise SecretError(SecretReason.BAD_SEED) from None
