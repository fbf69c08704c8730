"""The node's keys at rest: one encrypted file per purpose, one process per folder.

A file is JSON: what the key is for and its public half in the clear, the secret URI sealed with
XChaCha20-Poly1305 under a key that Argon2id makes of the password. The seal covers the clear part
too. Files are written whole or not at all, readable by their owner only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from nacl import bindings as sodium
from nacl.exceptions import CryptoError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.client.signing import KeyPair, Scheme, from_secret
from runtime.primitives.errors import Refusal

_PURPOSE = re.compile(r"[a-z][a-z0-9-]{0,31}")
_SUFFIX = ".key.json"
_LOCK_NAME = ".lock"


class KeystoreReason(Enum):
    """Why the keystore refuses."""

    LOCKED = "another process uses it; stop that process first"
    NOT_A_FOLDER = "it is not a folder, or it cannot be created or read"
    BAD_PURPOSE = "a purpose has 1 to 32 of a-z, 0-9 and '-', and starts with a letter"
    EXISTS = "a key for this purpose is there already; move its file away first"
    NOT_FOUND = "there is no key for this purpose; insert one first"
    WRONG_PASSWORD = "the password does not open it, or the file was altered on purpose"
    CORRUPTED = "the file is damaged; restore it from a backup or insert the secret again"
    NO_MEMORY = "there is not enough free memory to stretch the password"
    CLOSED = "the keystore was closed"


class KeystoreError(Refusal):
    """The keystore cannot do what it is asked for; nothing was changed."""

    def __init__(self, reason: KeystoreReason, what: object) -> None:
        super().__init__(reason, f"{what}: {reason.value}")
        self.reason: KeystoreReason = reason


class Stretching(Enum):
    """How hard it is to try passwords, as Argon2id (passes, bytes of memory)."""

    STRONG = (
        sodium.crypto_pwhash_argon2id_OPSLIMIT_MODERATE,
        sodium.crypto_pwhash_argon2id_MEMLIMIT_MODERATE,
    )
    """About a second and 256 MiB per try."""
    INSECURE = (
        sodium.crypto_pwhash_argon2id_OPSLIMIT_MIN,
        sodium.crypto_pwhash_argon2id_MEMLIMIT_MIN,
    )
    """Almost nothing: for tests and throw-away development chains."""


class _KeyFile(BaseModel):
    """The content of a file; byte strings in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    purpose: str = Field(pattern=rf"^{_PURPOSE.pattern}$")
    scheme: Literal["sr25519", "ed25519", "ecdsa"]
    public: str = Field(pattern=r"^([0-9a-f]{64}|[0-9a-f]{66})$")
    kdf: Literal["argon2id13"]
    passes: int = Field(ge=1, le=64)
    memory: int = Field(ge=8192, le=1 << 31)
    salt: str = Field(pattern=r"^[0-9a-f]{32}$")
    nonce: str = Field(pattern=r"^[0-9a-f]{48}$")
    sealed: str = Field(pattern=r"^([0-9a-f]{2})+$")
    checksum: str = ""

    def clear_part(self) -> bytes:
        """Return the bytes that the seal covers besides the secret."""
        return self.model_dump_json(exclude={"sealed", "checksum"}).encode()

    def expected_checksum(self) -> str:
        """Return what tells a damaged file from a wrong password; it protects nothing else."""
        body = self.model_dump_json(exclude={"checksum"}).encode()
        return hashlib.blake2b(body, digest_size=16).hexdigest()

    def cipher_key(self, password: str) -> bytes:
        """Stretch a password to the 32 bytes of the cipher; raises KeystoreError (NO_MEMORY)."""
        try:
            return sodium.crypto_pwhash_alg(
                sodium.crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
                password.encode("utf-8", "surrogateescape"),
                bytes.fromhex(self.salt),
                self.passes,
                self.memory,
                sodium.crypto_pwhash_ALG_ARGON2ID13,
            )
        except CryptoError as error:
            raise KeystoreError(KeystoreReason.NO_MEMORY, f"{self.memory} bytes") from error


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What a key file tells without the password."""

    purpose: str
    scheme: Scheme
    public: bytes


class Keystore:
    """A folder of keys, held by this process from construction to `close`."""

    def __init__(
        self, path: Path, password: str, *, stretching: Stretching = Stretching.STRONG
    ) -> None:
        """Lock the folder, creating it (mode 0700) if need be; raises KeystoreError."""
        self._path = path
        self._password = password
        self._passes, self._memory = stretching.value
        self._lock: int | None = _lock(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the folder. Doing so twice is harmless."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def insert(self, purpose: str, secret_uri: str, scheme: Scheme) -> KeyPair:
        """Store a secret and return its key pair.

        Raises SecretError for a secret that gives no key, KeystoreError (EXISTS) rather than
        replace one.
        """
        path = self._file(purpose)
        pair = from_secret(secret_uri, scheme)
        if path.exists():
            raise KeystoreError(KeystoreReason.EXISTS, path)
        clear = _KeyFile(
            version=1,
            purpose=purpose,
            scheme=scheme,
            public=pair.public.hex(),
            kdf="argon2id13",
            passes=self._passes,
            memory=self._memory,
            salt=secrets.token_hex(sodium.crypto_pwhash_SALTBYTES),
            nonce=secrets.token_hex(sodium.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES),
            sealed="00",
        )
        sealed = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
            secret_uri.encode(),
            clear.clear_part(),
            bytes.fromhex(clear.nonce),
            clear.cipher_key(self._password),
        )
        whole = clear.model_copy(update={"sealed": sealed.hex()})
        whole = whole.model_copy(update={"checksum": whole.expected_checksum()})
        _write_atomically(path, whole.model_dump_json(indent=1).encode() + b"\n")
        return pair

    def load(self, purpose: str) -> KeyPair:
        """Open the key for a purpose; raises KeystoreError with the reason."""
        path = self._file(purpose)
        stored = _read(path, purpose)
        key = stored.cipher_key(self._password)
        try:
            uri = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
                bytes.fromhex(stored.sealed), stored.clear_part(), bytes.fromhex(stored.nonce), key
            )
        except CryptoError as error:
            raise KeystoreError(KeystoreReason.WRONG_PASSWORD, path) from error
        return from_secret(uri.decode(), stored.scheme)

    def list(self) -> tuple[StoredKey, ...]:
        """Return what is stored, by purpose; needs no password. Raises KeystoreError."""
        self._require_open()
        paths = sorted(self._path.glob(f"*{_SUFFIX}"))
        files = [_read(path, path.name.removesuffix(_SUFFIX)) for path in paths]
        return tuple(StoredKey(f.purpose, f.scheme, bytes.fromhex(f.public)) for f in files)

    def _file(self, purpose: str) -> Path:
        self._require_open()
        if not _PURPOSE.fullmatch(purpose):
            raise KeystoreError(KeystoreReason.BAD_PURPOSE, repr(purpose))
        return self._path / f"{purpose}{_SUFFIX}"

    def _require_open(self) -> None:
        if self._lock is None:
            raise KeystoreError(KeystoreReason.CLOSED, self._path)


def _lock(path: Path) -> int:
    """Take the folder's lock and return its descriptor; the system drops it if we die."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeystoreError(KeystoreReason.NOT_A_FOLDER, path) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise KeystoreError(KeystoreReason.LOCKED, path) from error
    return descriptor


def _read(path: Path, purpose: str) -> _KeyFile:
    try:
        stored = _KeyFile.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise KeystoreError(KeystoreReason.NOT_FOUND, path) from error
    except ValidationError:
        # Its text would repeat the content of the file.
        raise KeystoreError(KeystoreReason.CORRUPTED, path) from None
    if stored.checksum != stored.expected_checksum() or stored.purpose != purpose:
        raise KeystoreError(KeystoreReason.CORRUPTED, path)
    return stored


def _write_atomically(path: Path, content: bytes) -> None:
    """Write a file that survives a power cut whole or does not exist."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
