"""A user's accounts: secrets by name, encrypted each under its own password, in one folder."""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from node.cli.account_facts import address_or_id
from node.client.signing import KeyPair, Scheme, from_uri
from node.keystore import Keystore, KeystoreError, KeystoreReason, Stretching
from node.password import read_password
from node.paths import default_base_path
from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_ADDRESS = re.compile(r"[1-9A-HJ-NP-Za-km-z]{46,50}")
_PATIENCE_SECONDS = 20.0


class WalletReason(Enum):
    """Why there is no account."""

    UNKNOWN = "neither an address, nor 0x and 64 hex digits, nor //Path, nor a name in the wallet"
    MISTYPED = "this looks like an address, and its checksum is wrong: a character is mistyped"
    MISSING = "the wallet has no account of this name; see `openledger account list`"
    NO_NAME = "a name has 1 to 32 of a-z, 0-9 and '-', and starts with a letter"
    EXISTS = "the wallet has an account of this name"


class WalletRefusal(Refusal):
    """The wallet knows no such account, or another one by that name."""

    def __init__(self, reason: WalletReason, what: str) -> None:
        super().__init__(reason, f"{what}: {reason.value}")
        self.reason: WalletReason = reason


@dataclass(frozen=True, slots=True)
class Entry:
    """What the wallet tells of an account without a password."""

    name: str
    scheme: Scheme
    public: bytes

    @property
    def account_id(self) -> bytes:
        """The 32 bytes that the chain knows it by."""
        return blake2_256(self.public) if self.scheme == "ecdsa" else self.public


@dataclass(frozen=True, slots=True)
class Wallet:
    """A folder of accounts; the password of one is read from a file, or typed, when it signs."""

    folder: Path
    password_file: Path | None = None
    stretching: Stretching = Stretching.STRONG

    def entries(self) -> tuple[Entry, ...]:
        """List the accounts by name; none where there is no folder."""
        if not self.folder.is_dir():
            return ()
        with self._open("") as store:
            return tuple(Entry(key.purpose, key.scheme, key.public) for key in store.list())

    def find(self, name: str) -> Entry | None:
        """Return an account by its name."""
        return next((entry for entry in self.entries() if entry.name == name), None)

    def account(self, text: str) -> bytes:
        """Return the account that a text means: an address, an id, a //Path, a name.

        Raises WalletRefusal (UNKNOWN, MISTYPED) or SecretError.
        """
        found = address_or_id(text)
        if found is not None:
            return found
        if text.startswith("/"):
            return from_uri(text).account_id
        entry = self.find(text) if _NAME.fullmatch(text) else None
        if entry is None:
            like = _ADDRESS.fullmatch(text)
            raise WalletRefusal(WalletReason.MISTYPED if like else WalletReason.UNKNOWN, repr(text))
        return entry.account_id

    def signer(self, text: str) -> KeyPair:
        """Return the key of a stored name, or of a secret URI such as //Alice.

        Raises WalletRefusal, SecretError, KeystoreError or PasswordError.
        """
        return self.unlocked(text)[0] if _NAME.fullmatch(text) else from_uri(text)

    def unlocked(self, name: str) -> tuple[KeyPair, str]:
        """Return the key of a stored name and its password, which is asked for.

        Raises WalletRefusal, KeystoreError or PasswordError.
        """
        if self.find(name) is None:
            raise WalletRefusal(WalletReason.MISSING, f"{name!r} in {self.folder}")
        password = read_password(self.password_file)
        with self._open(password) as store:
            return store.load(name), password

    def check_new(self, name: str) -> None:
        """Raise WalletRefusal where a name cannot be given to a new account."""
        if not _NAME.fullmatch(name):
            raise WalletRefusal(WalletReason.NO_NAME, repr(name))
        if self.find(name) is not None:
            raise WalletRefusal(WalletReason.EXISTS, repr(name))

    def insert(self, name: str, secret: str, scheme: Scheme, password: str) -> KeyPair:
        """Store a secret under a name; raises SecretError or KeystoreError."""
        with self._open(password) as store:
            return store.insert(name, secret, scheme)

    def _open(self, password: str) -> Keystore:
        """Open the folder, waiting for another program that uses it for a moment."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return Keystore(self.folder, password, stretching=self.stretching)
            except KeystoreError as error:
                if error.reason is not KeystoreReason.LOCKED or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)


def add_wallet_options(parser: Any) -> None:
    """Add --wallet and --password-filename."""
    add_wallet_folder(parser)
    parser.add_argument(
        "--password-filename", type=Path, metavar="FILE", help="file whose first line unlocks"
    )


def add_wallet_folder(parser: Any) -> None:
    """Add --wallet, for commands that need no password."""
    parser.add_argument(
        "--wallet",
        type=Path,
        metavar="FOLDER",
        help=f"folder of your accounts ({default_wallet()})",
    )


def chosen_wallet(arguments: argparse.Namespace) -> Wallet:
    """Return the wallet that the options name."""
    wallet = Wallet(default_wallet(), getattr(arguments, "password_filename", None))
    return wallet if arguments.wallet is None else replace(wallet, folder=arguments.wallet)


def default_wallet() -> Path:
    """Return the folder of the user's own accounts, apart from all chains."""
    return default_base_path() / "wallet"
