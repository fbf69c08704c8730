"""`openledger query` and `openledger const`: read storage and constants by name."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from typing import Any

from node.cli.account_wallet import add_wallet_folder, chosen_wallet
from node.cli.arguments import hash_argument
from node.cli.chain import Chain
from node.cli.client_options import add_node_options
from node.cli.output import Output
from node.cli.talking import runs
from node.cli.tx_show import event_facts
from node.cli.values import Reader
from node.cli.values_errors import ValueRefusal
from node.cli.values_labels import label
from node.cli.values_names import (
    NameRefusal,
    find_constant,
    find_item,
    find_pallet,
    first_line,
    split_words,
)
from node.cli.values_show import FOR_PEOPLE, FOR_PROGRAMS, Writer
from runtime.construct import EVENTS, PALLETS
from runtime.frame.pallet import constants, storage_items
from runtime.frame.storage import StorageItem
from runtime.pallets.system import System
from runtime.primitives.scale import type_name

WRONG_USE = 2


class Query:
    """`openledger query`."""

    def add_parser(self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Add the command."""
        parser = subparsers.add_parser(
            "query",
            help="read the chain's storage by name",
            description="Read the chain's storage. Without ITEM, list what a pallet keeps; with "
            "fewer keys than ITEM has, every entry below them.",
        )
        parser.add_argument(
            "words", nargs="*", metavar="PALLET ITEM [KEY ...]", help="keys typed as for `tx`"
        )
        parser.add_argument("--at", type=hash_argument, metavar="HASH", help="block (the best)")
        add_wallet_folder(parser)
        add_node_options(parser)
        parser.set_defaults(run=partial(_told_wrong_use, _query))


class Constants:
    """`openledger const`."""

    def add_parser(self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Add the command."""
        parser = subparsers.add_parser(
            "const",
            help="show a constant of the runtime",
            description="Show a constant of the runtime. Without NAME, list those of a pallet.",
        )
        parser.add_argument("words", nargs="*", metavar="PALLET NAME", help="needs no node")
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.set_defaults(run=partial(_told_wrong_use, _const))


query = Query()
const = Constants()


def _told_wrong_use(run: Any, arguments: argparse.Namespace) -> int:
    try:
        status: int = run(arguments, split_words(arguments.words))
    except (NameRefusal, ValueRefusal) as refusal:
        sys.stderr.write(f"openledger: {refusal.detail}\n")
        return WRONG_USE
    return status


def _query(arguments: argparse.Namespace, words: list[str]) -> int:
    if not words:
        return _list_pallets()
    pallet = find_pallet(words[0])
    if len(words) == 1:
        return _list({f"{i.name} {_signature(i)}": i.doc for i in storage_items(pallet).values()})
    item = find_item(pallet, words[1])
    if len(words) - 2 > len(item.key_types):
        sys.stderr.write(f"openledger: {pallet.NAME}.{item.name} takes {_signature(item)}\n")
        return WRONG_USE
    reader = Reader(chosen_wallet(arguments).account)
    pairs = enumerate(zip(item.key_types, words[2:], strict=False), 1)
    keys = [reader.read(f"key {n}", type_, word) for n, (type_, word) in pairs]
    read = partial(_read, pallet=pallet.NAME, item=item, keys=keys)
    return runs(read)(arguments)


async def _read(
    arguments: argparse.Namespace,
    chain: Chain,
    out: Output,
    *,
    pallet: str,
    item: StorageItem,
    keys: list[Any],
) -> None:
    writer = FOR_PROGRAMS if arguments.json else FOR_PEOPLE
    at = arguments.at or (await chain.client.best()).hash()
    if len(keys) == len(item.key_types):
        found = await chain.client.storage(pallet, item.name, *keys, at=at)
        _print(None if found is None else _item(writer, item, found), as_json=arguments.json)
        return
    entries = chain.client.storage_items(pallet, item.name, *keys, at=at)
    rows = [
        {
            "keys": [writer.item(t, k) for t, k in zip(item.key_types, own, strict=True)],
            "value": _item(writer, item, value),
        }
        async for own, value in entries
    ]
    _print(rows, as_json=arguments.json)


def _item(writer: Writer, item: StorageItem, value: Any) -> Any:
    if item is find_item(System, "events"):
        return event_facts(EVENTS.decode(value))
    return writer.item(item.value_type, value)


def _const(arguments: argparse.Namespace, words: list[str]) -> int:
    if not words:
        return _list_pallets()
    pallet = find_pallet(words[0])
    if len(words) == 1:
        return _list({f"{c.name}: {type_name(c.type)}": c.doc for c in constants(pallet)})
    constant = find_constant(pallet, words[1])
    writer = FOR_PROGRAMS if arguments.json else FOR_PEOPLE
    _print(writer.item(constant.type, constant.value), as_json=arguments.json)
    return 0


def _signature(item: StorageItem) -> str:
    keys = ", ".join(map(label, item.key_types))
    return f"({keys}): {type_name(item.value_type)}"


def _list_pallets() -> int:
    return _list({pallet.NAME: pallet.__doc__ or "" for pallet in PALLETS})


def _list(docs: dict[str, str]) -> int:
    width = max(map(len, docs), default=0)
    for name, text in docs.items():
        sys.stdout.write(f"{name:<{width}}  {first_line(text)}\n")
    return 0


def _print(found: Any, *, as_json: bool) -> None:
    """Print JSON; for people a single word without its quotes."""
    plain = isinstance(found, str) and not as_json
    sys.stdout.write(f"{found if plain else json.dumps(found, indent=2, ensure_ascii=False)}\n")
