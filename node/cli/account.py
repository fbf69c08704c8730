"""`openledger account`: a user's own accounts, by name, and what they own.

The keys of a node, by purpose and in its chain's folder, are those of `openledger key`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from node.cli.account_balance import balance_facts
from node.cli.account_facts import (
    DEFAULT_PREFIX,
    SCHEMES,
    account_facts,
    address_or_id,
    pair_facts,
    show,
)
from node.cli.account_json import read_export, write_export
from node.cli.account_wallet import add_wallet_folder, add_wallet_options, chosen_wallet
from node.cli.chain import Chain
from node.cli.client_options import add_node_options
from node.cli.output import Account, Fact, Output
from node.cli.secret_input import read_secret
from node.cli.talking import runs
from node.client.signing import from_secret, generate
from node.password import read_password


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its own subcommands."""
    parser = subparsers.add_parser("account", help="your accounts: make, import, list, balance")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_secrets(actions)
    _add_looks(actions)


def _add_secrets(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    make = actions.add_parser("new", help="make an account; its phrase is shown once")
    make.add_argument("name", help="a-z, 0-9 and '-'")
    make.add_argument("--words", type=int, choices=(12, 24), default=12, help="of the phrase")
    _add_secret_options(make)
    make.set_defaults(run=_new)
    take = actions.add_parser("import", help="store a secret, or a browser wallet's export")
    take.add_argument("name", help="a-z, 0-9 and '-'")
    take.add_argument(
        "--polkadot-js", type=Path, metavar="FILE", help="encrypted JSON, instead of typing"
    )
    take.add_argument(
        "--export-password-filename", type=Path, metavar="FILE", help="password of that JSON"
    )
    _add_secret_options(take)
    take.set_defaults(run=_import)
    give = actions.add_parser("export", help="print the encrypted JSON that browser wallets take")
    give.add_argument("name")
    add_wallet_options(give)
    give.set_defaults(run=_export)


def _add_looks(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    look = actions.add_parser("inspect", help="show address and key; needs no password")
    look.add_argument("account", help="name, //Path, address, or 0x and a public key; - a secret")
    look.add_argument("--scheme", choices=SCHEMES, default="sr25519", help="of a secret (sr25519)")
    look.add_argument(
        "--network", type=int, default=DEFAULT_PREFIX, metavar="PREFIX", help="SS58 prefix (42)"
    )
    add_wallet_folder(look)
    _add_json(look)
    look.set_defaults(run=_inspect)
    names = actions.add_parser("list", help="list the accounts by name; needs no password")
    add_wallet_folder(names)
    _add_json(names)
    names.set_defaults(run=_list)
    owns = actions.add_parser("balance", help="show what an account owns and what of it may move")
    owns.add_argument("account", help="name, //Path or address")
    add_wallet_folder(owns)
    add_node_options(owns)
    owns.set_defaults(run=runs(_balance))


def _add_secret_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scheme", choices=SCHEMES, default="sr25519", help="(sr25519)")
    add_wallet_options(parser)
    _add_json(parser)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _new(arguments: argparse.Namespace) -> int:
    wallet = chosen_wallet(arguments)
    wallet.check_new(arguments.name)
    password = read_password(arguments.password_filename, new=True)
    phrase, _ = generate(arguments.scheme, arguments.words)
    pair = wallet.insert(arguments.name, phrase, arguments.scheme, password)
    facts = {"name": arguments.name, "scheme": arguments.scheme}
    show(facts | {"secretPhrase": phrase} | pair_facts(pair), as_json=arguments.json)
    sys.stderr.write("Write the phrase down: it is the only backup, and is not shown again.\n")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    wallet = chosen_wallet(arguments)
    wallet.check_new(arguments.name)
    scheme = arguments.scheme
    if arguments.polkadot_js is None:
        secret = read_secret()
    else:
        sys.stderr.write(f"The password of {arguments.polkadot_js} first.\n")
        opens = read_password(arguments.export_password_filename)
        secret, scheme = read_export(arguments.polkadot_js.read_bytes(), opens)
    from_secret(secret, scheme)
    password = read_password(arguments.password_filename, new=True)
    pair = wallet.insert(arguments.name, secret, scheme, password)
    show({"name": arguments.name, "scheme": scheme} | pair_facts(pair), as_json=arguments.json)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    wallet = chosen_wallet(arguments)
    pair, password = wallet.unlocked(arguments.name)
    sys.stdout.write(write_export(pair, arguments.name, password) + "\n")
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    text: str = arguments.account
    wallet, prefix = chosen_wallet(arguments), arguments.network
    facts: dict[str, str] = {}
    if text == "-":
        facts = pair_facts(from_secret(read_secret(), arguments.scheme), prefix)
    elif text.startswith("/"):
        facts = pair_facts(from_secret(text, arguments.scheme), prefix)
    elif (account := address_or_id(text)) is not None:
        facts = account_facts(account, prefix)
    else:
        account = wallet.account(text)
        entry = wallet.find(text)
        if entry is not None:
            public = f"0x{entry.public.hex()}"
            facts = {"name": text, "scheme": entry.scheme, "publicKey": public}
        facts |= account_facts(account, prefix)
    show(facts, as_json=arguments.json)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    wallet = chosen_wallet(arguments)
    rows: list[dict[str, Fact]] = [
        {"name": entry.name, "address": Account(entry.account_id), "scheme": entry.scheme}
        for entry in wallet.entries()
    ]
    Output(as_json=arguments.json).rows(f"accounts in {wallet.folder}", rows)
    return 0


async def _balance(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    account = chosen_wallet(arguments).account(arguments.account)
    out.facts(await balance_facts(chain, account))
