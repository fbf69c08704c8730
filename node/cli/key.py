"""`openledger key`: make keys of a node, look at them, put them into its keystore.

Accounts of people, by name, are those of `openledger account`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from node.cli.account_facts import (
    DEFAULT_PREFIX,
    SCHEMES,
    account_facts,
    address,
    pair_facts,
    show,
)
from node.cli.options import add_chain_options, chosen_base_path, chosen_spec
from node.cli.secret_input import read_secret
from node.client.signing import Scheme, from_uri, generate
from node.errors import NodeError
from node.keystore import Keystore
from node.localnet.plan import peer_id
from node.network.identity import load_or_make_key
from node.password import read_password
from node.paths import ChainPaths

PURPOSES: dict[str, Scheme] = {
    "consensus": "ed25519",
    "worker": "sr25519",
    "account": "sr25519",
    "voucher": "sr25519",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its own subcommands."""
    parser = subparsers.add_parser("key", help="make, inspect and insert the keys of a node")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    make = actions.add_parser("generate", help="make a new key")
    make.add_argument("--words", type=int, choices=(12, 24), default=12, help="of the phrase")
    _add_shared(make)
    make.set_defaults(run=_generate)
    look = actions.add_parser("inspect", help="show the key of a secret URI, or of an address")
    look.add_argument("uri", help="phrase, 0x seed, //Path or address; - reads standard input")
    _add_shared(look)
    look.set_defaults(run=_inspect)
    put = actions.add_parser("insert", help="put a secret into the keystore, encrypted")
    add_chain_options(put)
    put.add_argument("--purpose", choices=tuple(PURPOSES), default="consensus", help="(consensus)")
    put.add_argument("--scheme", choices=SCHEMES, help="by default that of the purpose")
    put.add_argument("--suri", default="-", help="secret URI; by default read from standard input")
    put.add_argument("--password-filename", type=Path, metavar="FILE")
    put.set_defaults(run=_insert)
    peer = actions.add_parser("peer-id", help="print the node's name among peers, made if need be")
    add_chain_options(peer)
    peer.set_defaults(run=_peer_id)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scheme", choices=SCHEMES, default="sr25519")
    parser.add_argument(
        "--network", type=int, default=DEFAULT_PREFIX, metavar="PREFIX", help="SS58 prefix (42)"
    )
    parser.add_argument("--output-type", choices=("text", "json"), default="text")


def _generate(arguments: argparse.Namespace) -> int:
    phrase, pair = generate(arguments.scheme, arguments.words)
    facts = {"secretPhrase": phrase} | pair_facts(pair, arguments.network)
    show(facts, as_json=arguments.output_type == "json")
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    uri = _secret(arguments.uri)
    account = address(uri)
    if account is not None:
        facts = account_facts(account, arguments.network)
    else:
        facts = pair_facts(from_uri(uri, arguments.scheme), arguments.network)
    show(facts, as_json=arguments.output_type == "json")
    return 0


def _insert(arguments: argparse.Namespace) -> int:
    paths = ChainPaths.of(chosen_base_path(arguments), chosen_spec(arguments).id)
    scheme: Scheme = arguments.scheme or PURPOSES[arguments.purpose]
    secret = _secret(arguments.suri)
    password = read_password(arguments.password_filename, new=not paths.keystore.exists())
    with Keystore(paths.keystore, password) as keystore:
        pair = keystore.insert(arguments.purpose, secret, scheme)
    sys.stdout.write(f"{arguments.purpose} key 0x{pair.public.hex()} is in {paths.keystore}\n")
    return 0


def _peer_id(arguments: argparse.Namespace) -> int:
    paths = ChainPaths.of(chosen_base_path(arguments), chosen_spec(arguments).id)
    try:
        seed = load_or_make_key(paths.network / "key")
    except ValueError as error:
        raise NodeError(str(error)) from error
    sys.stdout.write(f"{peer_id(seed)}\n")
    return 0


def _secret(text: str) -> str:
    return read_secret() if text == "-" else text
