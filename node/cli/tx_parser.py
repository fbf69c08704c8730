"""The parser of one call, made of its declaration: every argument by place or by name."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from node.cli.account_wallet import chosen_wallet
from node.cli.tx_options import add_transaction_options
from node.cli.values import Reader
from node.cli.values_errors import ValueRefusal
from node.cli.values_kinds import Optional, is_structured, kind_of
from node.cli.values_labels import label
from node.cli.values_names import dashed
from runtime.frame.calls import Call, CallEntry

_WIDTH = 96
_NOTES = """\
Amounts are OPEN, such as 1.5, or 1500planck. Accounts are names of your wallet, addresses, 0x ids
or //Alice. Bytes are text, 0x hex or @file. Lists, records and calls are JSON, @file or 0x SCALE.
What is optional may be left out, or be `none`."""


class CallParser:
    """Parses the words after a call's name."""

    def __init__(self, prog: str, entry: CallEntry) -> None:
        self.entry = entry
        self.types = {name.rstrip("_"): type_ for name, type_ in entry.info.arguments.items()}
        self.parser = _bare_parser(prog, entry, self.types)
        own = self.parser.add_argument_group(f"arguments of {entry.info.name}")
        add_transaction_options(self.parser.add_argument_group("sending"))
        self._options = self._add_arguments(own)

    def _add_arguments(self, group: argparse._ArgumentGroup) -> dict[str, str]:
        """Add the call's arguments; returns the attribute of each. Our own options go first."""
        taken = set(self.parser._option_string_actions)
        attributes: dict[str, str] = {}
        for name, type_ in self.types.items():
            option = f"--{dashed(name)}"
            option = f"--call-{dashed(name)}" if option in taken else option
            attributes[name] = f"argument {name}"
            metavar = "JSON" if is_structured(type_) else "VALUE"
            group.add_argument(
                option, dest=attributes[name], metavar=metavar, help=label(type_).replace("%", "%%")
            )
        return attributes

    def parse(self, words: list[str]) -> tuple[Call, argparse.Namespace]:
        """Return the call and the options; what is wrong ends the program with status 2."""
        arguments = self.parser.parse_intermixed_args(words)
        try:
            return self._call(arguments), arguments
        except ValueRefusal as refusal:
            self.parser.error(refusal.detail)

    def _call(self, arguments: argparse.Namespace) -> Call:
        given: dict[str, str | None] = {n: getattr(arguments, a) for n, a in self._options.items()}
        open_places = [name for name, text in given.items() if text is None]
        placed: list[str] = arguments.arguments
        if len(placed) > len(open_places):
            extra = " ".join(placed[len(open_places) :])
            self.parser.error(f"too many arguments: {extra}")
        given |= dict(zip(open_places, placed, strict=False))
        missing = [name for name, text in given.items() if text is None and self._needed(name)]
        if missing:
            told = ", ".join(f"{name} ({label(self.types[name])})" for name in missing)
            self.parser.error(f"missing: {told}")
        reader = Reader(chosen_wallet(arguments).account)
        values = tuple(
            None if text is None else reader.read(name, self.types[name], text)
            for name, text in given.items()
        )
        return Call(self.entry.pallet.NAME, self.entry.info.name, values)

    def _needed(self, name: str) -> bool:
        return not isinstance(kind_of(self.types[name]), Optional)


def _bare_parser(prog: str, entry: CallEntry, types: dict[str, Any]) -> argparse.ArgumentParser:
    places = " ".join(name.upper() for name in types)
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} {places} --from NAME [options]".replace("  ", " "),
        description=textwrap.fill(" ".join(entry.info.docs.split()), _WIDTH),
        epilog=_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="by place, or by name")
    return parser
