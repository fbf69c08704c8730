"""What a command prints: aligned lines for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from node.cli.amounts import format_open
from runtime.primitives.keys import ss58_encode

Fact: TypeAlias = (
    "str | int | bool | bytes | Planck | Account | list[Fact] | dict[str, Fact] | None"
)


@dataclass(frozen=True, slots=True)
class Planck:
    """An amount: OPEN for people, a decimal string of the smallest unit for programs."""

    amount: int


@dataclass(frozen=True, slots=True)
class Account:
    """An account, shown as its SS58 address."""

    id: bytes


class Output:
    """Prints results to standard output and progress to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def facts(self, facts: Mapping[str, Fact]) -> None:
        """Print one thing's facts, by the words that people read; in JSON by `camelCase`."""
        if self._as_json:
            _write(_plain(dict(facts)))
            return
        width = max(map(len, facts), default=0) + 1
        for name, value in facts.items():
            lines = _lines(value)
            for number, line in enumerate(lines):
                sys.stdout.write(f"{'' if number else name + ':':<{width}} {line}\n")

    def rows(self, title: str, rows: Sequence[Mapping[str, Fact]]) -> None:
        """Print things of a kind, one per line."""
        if self._as_json:
            _write([_plain(dict(row)) for row in rows])
            return
        if not rows:
            sys.stdout.write(f"{title}: none\n")
            return
        table = Table(title=title, title_justify="left")
        for name in rows[0]:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*map(_text, row.values()))
        console = Console()
        if not console.is_terminal:
            console = Console(width=220)
        console.print(table)

    def say(self, text: str) -> None:
        """Tell a person what happens; a program reads the result instead."""
        if not self._as_json:
            sys.stderr.write(f"{text}\n")

    def progress(self) -> Progress:
        """Return a bar for bytes, shown on a terminal only."""
        console = Console(stderr=True)
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            console=console,
            transient=True,
            disable=self._as_json or not console.is_terminal,
        )


def _write(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _plain(value: Fact) -> object:
    match value:
        case Planck(amount):
            return str(amount)
        case Account(account):
            return ss58_encode(account)
        case bytes():
            return f"0x{value.hex()}"
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {_camel(name): _plain(item) for name, item in value.items()}
        case _:
            return value


def _camel(words: str) -> str:
    """Write a name of several words as programs do: `heldFor`; one word stays as it is."""
    first, *others = words.split(" ")
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def _lines(value: Fact) -> list[str]:
    """Write a value in one line, but things of a kind one below the other."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [_text(item) for item in value]
    return [_text(value)]


def _text(value: Fact) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case Planck(amount):
            return f"{format_open(amount)} OPEN"
        case list():
            return ", ".join(map(_text, value)) or "-"
        case dict():
            return ", ".join(f"{name} {_text(item)}" for name, item in value.items()) or "-"
        case _:
            return str(_plain(value))
