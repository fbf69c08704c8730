"""`openledger key`: make keys, look at them, put them into the keystore."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from node.cli.options import add_chain_options, chosen_base_path, chosen_spec
from node.client.signing import KeyPair, Scheme, from_uri, generate
from node.errors import NodeError
from node.keystore import Keystore
from node.localnet.plan import peer_id
from node.network.identity import load_or_make_key
from node.password import read_password
from node.paths import ChainPaths
from runtime.primitives.keys import AddressError, ss58_decode, ss58_encode

SCHEMES = ("sr25519", "ed25519", "ecdsa")
PURPOSES: dict[str, Scheme] = {
    "consensus": "ed25519",
    "worker": "sr25519",
    "account": "sr25519",
    "voucher": "sr25519",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its own subcommands."""
    parser = subparsers.add_parser("key", help="make, inspect and insert keys")
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
        "--network", type=int, default=42, metavar="PREFIX", help="SS58 prefix (42)"
    )
    parser.add_argument("--output-type", choices=("text", "json"), default="text")


def _generate(arguments: argparse.Namespace) -> int:
    phrase, pair = generate(arguments.scheme, arguments.words)
    _show({"secretPhrase": phrase} | _facts(pair, arguments.network), arguments.output_type)
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    uri = _secret(arguments.uri)
    public = _public(uri)
    if public is not None:
        facts = {"accountId": f"0x{public.hex()}"} | _addresses(public, arguments.network)
    else:
        facts = _facts(from_uri(uri, arguments.scheme), arguments.network)
    _show(facts, arguments.output_type)
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
    return sys.stdin.readline().strip() if text == "-" else text


def _public(uri: str) -> bytes | None:
    if not uri.isalnum() or uri.startswith("0x"):
        return None
    try:
        return ss58_decode(uri)[0]
    except AddressError:
        return None


def _facts(pair: KeyPair, prefix: int) -> dict[str, str]:
    return {
        "publicKey": f"0x{pair.public.hex()}",
        "accountId": f"0x{pair.account_id.hex()}",
    } | _addresses(pair.account_id, prefix)


def _addresses(account: bytes, prefix: int) -> dict[str, str]:
    return {"ss58Address": ss58_encode(account, prefix)}


TITLES = {
    "secretPhrase": "Secret phrase",
    "publicKey": "Public key (hex)",
    "accountId": "Account ID",
    "ss58Address": "SS58 Address",
}


def _show(facts: dict[str, str], form: str) -> None:
    if form == "json":
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return
    for key, value in facts.items():
        sys.stdout.write(f"{TITLES[key] + ':':<18} {value}\n")
