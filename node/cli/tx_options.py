"""Options of the commands that send a transaction, and who signs it."""

from __future__ import annotations

import argparse
from typing import Any

from node.cli.account_wallet import add_wallet_options, chosen_wallet
from node.cli.amounts import amount_argument
from node.cli.arguments import id_argument
from node.cli.client_options import add_node_options
from node.client.signing import KeyPair, from_secret
from node.client.submission import ERA_BLOCKS

LONGEST_ERA = 4096
"""Older blocks are not named in the state, so nobody could check the signature."""


def add_sending_options(parser: Any) -> None:
    """Add what `tx submit` has too: --node, --json, --wait, --yes, --dry-run."""
    add_node_options(parser)
    parser.add_argument(
        "--wait",
        choices=("in_block", "finalized"),
        default="finalized",
        help="return when it is in a block, or when that block is final (the default)",
    )
    parser.add_argument("-y", "--yes", action="store_true", help="send without asking")
    parser.add_argument("--dry-run", action="store_true", help="show what would happen, send not")


def add_transaction_options(parser: Any) -> None:
    """Add the options of a command that signs a call."""
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--from", dest="sender", metavar="NAME", help="account of your wallet that signs; or //Path"
    )
    who.add_argument("--suri", dest="secret", metavar="SECRET", help="secret URI that signs")
    add_wallet_options(parser)
    add_sending_options(parser)
    parser.add_argument("--tip", type=amount_argument, default=0, metavar="OPEN")
    parser.add_argument("--nonce", type=id_argument, metavar="N", help="by default the next one")
    era = parser.add_mutually_exclusive_group()
    era.add_argument(
        "--mortal",
        type=period_argument,
        default=str(ERA_BLOCKS),  # a text, as argparse takes the same number for not given
        metavar="PERIOD",
        help=f"for how many blocks the signature holds, at least ({ERA_BLOCKS})",
    )
    era.add_argument(
        "--immortal", dest="mortal", action="store_const", const=None, help="it holds for ever"
    )
    parser.add_argument(
        "--call-data", action="store_true", help="print the encoded call; needs no node and no key"
    )
    parser.add_argument(
        "--sign-only", action="store_true", help="print the signed extrinsic for `tx submit`"
    )


def period_argument(text: str) -> int:
    """Parse the length of an era."""
    found = id_argument(text)
    if not 4 <= found <= LONGEST_ERA:
        raise argparse.ArgumentTypeError(f"{text} is not from 4 to {LONGEST_ERA}")
    return found


def chosen_signer(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> KeyPair:
    """Return the key that signs; without one the command is used wrongly."""
    if arguments.secret is not None:
        return from_secret(arguments.secret)
    if arguments.sender is None:
        parser.error("name the account that signs with --from or --suri")
    return chosen_wallet(arguments).signer(arguments.sender)


def check_answerable(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse --json where nobody could be asked whether to send."""
    answered = arguments.yes or arguments.dry_run or getattr(arguments, "sign_only", False)
    if arguments.json and not answered:
        parser.error("--json asks nothing: add --yes to send, or --dry-run to look only")
