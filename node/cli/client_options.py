"""Options of the commands that talk to a node, and where their signer comes from."""

from __future__ import annotations

import argparse
from pathlib import Path

from node.cli.account_wallet import add_wallet_options, chosen_wallet
from node.cli.amounts import amount_argument
from node.cli.arguments import node_argument
from node.client.signing import KeyPair, from_uri
from node.errors import NodeError
from node.keystore import Keystore
from node.password import read_password

DEFAULT_NODE = "ws://127.0.0.1:9944"


def add_node_options(parser: argparse.ArgumentParser) -> None:
    """Add --node and --json."""
    parser.add_argument(
        "--node",
        type=node_argument,
        default=DEFAULT_NODE,
        metavar="URL",
        help=f"address of its JSON-RPC ({DEFAULT_NODE})",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def add_signing_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that signs an extrinsic."""
    add_node_options(parser)
    add_key_options(parser, "the account that signs")
    parser.add_argument("--tip", type=amount_argument, default=0, metavar="OPEN")
    parser.add_argument(
        "--wait",
        choices=("in_block", "finalized"),
        default="finalized",
        help="return when the call is in a block, or when that block is final (the default)",
    )


def add_key_options(parser: argparse.ArgumentParser, whose: str) -> None:
    """Add where a key comes from."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--suri", metavar="SECRET", help=f"secret URI of {whose}, such as //Alice")
    source.add_argument(
        "--keystore", type=Path, metavar="FOLDER", help=f"keystore with the key of {whose}"
    )
    source.add_argument(
        "--from", dest="sender", metavar="NAME", help=f"{whose}, by its name in your wallet"
    )
    parser.add_argument(
        "--key", default="account", metavar="PURPOSE", help="which key of the keystore (account)"
    )
    add_wallet_options(parser)


def chosen_key(arguments: argparse.Namespace) -> KeyPair:
    """Return the key pair.

    Raises SecretError, WalletRefusal, KeystoreError, PasswordError or NodeError.
    """
    if arguments.suri is not None:
        return from_uri(arguments.suri)
    if arguments.sender is not None:
        return chosen_wallet(arguments).signer(arguments.sender)
    folder: Path = arguments.keystore
    if not folder.is_dir():
        raise NodeError(f"there is no keystore at {folder}; make one with `openledger key insert`")
    with Keystore(folder, read_password(arguments.password_filename)) as keystore:
        return keystore.load(arguments.key)
