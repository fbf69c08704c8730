"""Accounts as browser wallets export them: JSON of version 3, scrypt and XSalsa20-Poly1305.

    salt 32 ‖ N u32 ‖ p u32 ‖ r u32 ‖ nonce 24 ‖ box(header ‖ secret ‖ divider ‖ public)

The secret of an sr25519 key is its expansion with the scalar times eight, that of an ed25519 key
is seed ‖ public, that of an ecdsa key its 32 bytes. Source: @polkadot/keyring, pair/encode and
pair/decode.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from enum import Enum
from typing import Literal

import sr25519
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from pydantic import BaseModel, ValidationError

from node.client.signing import (
    EcdsaKeyPair,
    Ed25519KeyPair,
    KeyPair,
    Scheme,
    Sr25519KeyPair,
    from_secret,
)
from runtime.primitives.errors import Refusal
from runtime.primitives.keys import ss58_encode

_HEADER = bytes((48, 83, 2, 1, 1, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32))
_DIVIDER = bytes((161, 35, 3, 33, 0))
_COST = (1 << 17, 1, 8)
_ALLOWED = {(1 << 13, 10, 8), (1 << 14, 5, 8), (1 << 15, 3, 8), (1 << 15, 1, 8), (1 << 16, 2, 8)}
_ENCODING = ["scrypt", "xsalsa20-poly1305"]
_SALT, _KDF, _NONCE = 32, 44, 24


class ExportReason(Enum):
    """Why a file gives no key."""

    NOT_AN_EXPORT = "the file is no account exported as JSON of version 3"
    NOT_ENCRYPTED = "the file is not encrypted as expected; export the account again"
    WRONG_PASSWORD = "the password does not open the file"
    DAMAGED = "the file opens, but what is in it is no key of its kind"


class ExportRefusal(Refusal):
    """An exported account that cannot be read."""

    def __init__(self, reason: ExportReason) -> None:
        super().__init__(reason, reason.value)
        self.reason: ExportReason = reason


class _Encoding(BaseModel):
    content: tuple[Literal["pkcs8"], Literal["sr25519", "ed25519", "ecdsa"]]
    type: list[str]
    version: Literal["3"]


class _Export(BaseModel):
    """The file; what else is in it, such as names that the wallet gave, is left out."""

    encoded: str
    encoding: _Encoding


def read_export(content: bytes, password: str) -> tuple[str, Scheme]:
    """Return the secret and the scheme of an exported account; raises ExportRefusal."""
    try:
        export = _Export.model_validate_json(content)
        sealed = base64.b64decode(export.encoded, validate=True)
    except (ValidationError, ValueError):
        # Its text would repeat the content of the file.
        raise ExportRefusal(ExportReason.NOT_AN_EXPORT) from None
    if export.encoding.type != _ENCODING or len(sealed) < _KDF + _NONCE:
        raise ExportRefusal(ExportReason.NOT_ENCRYPTED)
    scheme = export.encoding.content[1]
    secret, public = _parts(_opened(sealed, password))
    try:
        found = _secret(secret, scheme)
        pair = from_secret(found, scheme)
    except (Refusal, ValueError):
        raise ExportRefusal(ExportReason.DAMAGED) from None
    if pair.public != public:
        raise ExportRefusal(ExportReason.DAMAGED)
    return found, scheme


def write_export(pair: KeyPair, name: str, password: str) -> str:
    """Return the JSON with which browser wallets import a key under a password."""
    salt, nonce = secrets.token_bytes(_SALT), secrets.token_bytes(_NONCE)
    plain = _HEADER + _exported_secret(pair) + _DIVIDER + pair.public
    box = SecretBox(_stretched(password, salt, _COST))
    numbers = b"".join(number.to_bytes(4, "little") for number in _COST)
    sealed = salt + numbers + nonce + box.encrypt(plain, nonce).ciphertext
    document = {
        "encoded": base64.b64encode(sealed).decode(),
        "encoding": {"content": ["pkcs8", pair.scheme], "type": _ENCODING, "version": "3"},
        "address": ss58_encode(pair.account_id),
        "meta": {"name": name},
    }
    return json.dumps(document)


def _opened(sealed: bytes, password: str) -> bytes:
    numbers = [int.from_bytes(sealed[i : i + 4], "little") for i in range(_SALT, _KDF, 4)]
    cost = (numbers[0], numbers[1], numbers[2])
    if cost not in _ALLOWED | {_COST}:
        raise ExportRefusal(ExportReason.NOT_ENCRYPTED)
    box = SecretBox(_stretched(password, sealed[:_SALT], cost))
    try:
        return box.decrypt(sealed[_KDF + _NONCE :], sealed[_KDF : _KDF + _NONCE])
    except CryptoError:
        raise ExportRefusal(ExportReason.WRONG_PASSWORD) from None


def _stretched(password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, p, r = cost
    return hashlib.scrypt(
        password.encode("utf-8", "surrogateescape"),
        salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32,
    )  # fmt: skip


def _parts(plain: bytes) -> tuple[bytes, bytes]:
    """Split what was sealed into the secret and the public key."""
    body = plain.removeprefix(_HEADER)
    for length in (64, 32):
        if body[length : length + len(_DIVIDER)] == _DIVIDER and len(body) < len(plain):
            return body[:length], body[length + len(_DIVIDER) :]
    raise ExportRefusal(ExportReason.DAMAGED)


def _secret(exported: bytes, scheme: Scheme) -> str:
    if scheme == "sr25519":
        exported = sr25519.pair_from_ed25519_secret_key(exported)[1]
    elif scheme == "ed25519":
        exported = exported[:32]
    return f"0x{exported.hex()}"


def _exported_secret(pair: KeyPair) -> bytes:
    match pair:
        case Sr25519KeyPair():
            return bytes(sr25519.convert_secret_key_to_ed25519(pair.secret))
        case Ed25519KeyPair():
            return pair.seed + pair.public
        case EcdsaKeyPair():
            return pair.seed
        case _:
            raise TypeError(f"no export of {type(pair).__name__}")
