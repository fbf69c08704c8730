"""Where `openledger validator` takes a consensus key from."""

from __future__ import annotations

import argparse
from enum import Enum
from pathlib import Path

from consensus.session_key import SessionKey
from genesis.spec import ChainType
from node.cli.chain import Chain
from node.cli.session_key import CONSENSUS
from node.client.signing import Ed25519KeyPair, KeyPair, from_uri
from node.keystore import Keystore
from node.password import read_password
from runtime.primitives.errors import Refusal


class KeyReason(Enum):
    """Why a key is not used."""

    LIVE_CHAIN = (
        "a secret on the command line can be read by everybody on this machine; put it into a "
        "keystore with `openledger key insert`, and name that with --consensus-keystore"
    )
    NO_KEYSTORE = "there is no keystore; make one with `openledger key insert`"
    NOT_ED25519 = "the consensus key has to be an ed25519 key"


class KeyRefusal(Refusal):
    """A consensus key cannot be used."""

    def __init__(self, reason: KeyReason, what: object) -> None:
        super().__init__(reason, f"{what}: {reason.value}")
        self.reason: KeyReason = reason


def add_consensus_key_options(parser: argparse.ArgumentParser) -> None:
    """Add --consensus-keystore, --consensus-suri and the password's file."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--consensus-keystore",
        type=Path,
        metavar="FOLDER",
        help="keystore with the consensus key: <base path>/chains/<id>/keystore",
    )
    source.add_argument(
        "--consensus-suri", metavar="SECRET", help="its secret URI, on chains without value"
    )
    parser.add_argument(
        "--consensus-password-filename",
        type=Path,
        metavar="FILE",
        help="of that keystore (by default the file that --password-filename names)",
    )


async def consensus_key(arguments: argparse.Namespace, chain: Chain) -> SessionKey:
    """Load the key that the options name.

    Raises KeyRefusal, SecretError, KeystoreError or PasswordError.
    """
    pair = await _from_uri(arguments, chain) if arguments.consensus_suri else _stored(arguments)
    if not isinstance(pair, Ed25519KeyPair):
        raise KeyRefusal(KeyReason.NOT_ED25519, arguments.consensus_keystore)
    return SessionKey(pair.seed)


async def _from_uri(arguments: argparse.Namespace, chain: Chain) -> KeyPair:
    if await chain.client.request("system_chainType") == ChainType.LIVE.value:
        raise KeyRefusal(KeyReason.LIVE_CHAIN, "--consensus-suri")
    return from_uri(arguments.consensus_suri, "ed25519")


def _stored(arguments: argparse.Namespace) -> KeyPair:
    folder: Path = arguments.consensus_keystore
    if not folder.is_dir():
        raise KeyRefusal(KeyReason.NO_KEYSTORE, folder)
    file = arguments.consensus_password_filename or getattr(arguments, "password_filename", None)
    with Keystore(folder, read_password(file)) as keystore:
        return keystore.load(CONSENSUS)
