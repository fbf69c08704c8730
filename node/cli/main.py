"""The `openledger` command. Subcommands come from the entry-point group "openledger.commands"."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from node.cli.parsers import Parser
from node.version import node_version

GROUP = "openledger.commands"
DEFAULT_COMMAND = "node"
ORDER = (
    "dev",
    "localnet",
    "node",
    "key",
    "validator",
    "build-spec",
    "purge-chain",
    "export-blocks",
    "import-blocks",
    "datanet",
    "model",
    "session",
    "receipt",
    "claim",
    "account",
    "tx",
    "query",
    "const",
)
"""How `--help` lists commands: running a node, then using a chain; all others follow by name."""


class Command(Protocol):
    """What an entry point of the group names: a module or object that adds its own parser.

    `add_parser` calls `subparsers.add_parser(...)` and sets the default `run`: a function of the
    parsed arguments that returns an exit status.
    """

    def add_parser(self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Add the command."""


def parser(commands: Iterable[Command]) -> argparse.ArgumentParser:
    """Build the parser with these commands."""
    top: argparse.ArgumentParser = Parser(
        prog="openledger",
        description="A chain that pays data contributors for every AI inference.",
        epilog="Without a command the options are those of `openledger node`.",
    )
    top.add_argument("--version", action="version", version=f"openledger {node_version()}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in commands:
        command.add_parser(subparsers)
    return top


def loaded(points: Iterable[EntryPoint]) -> list[Command]:
    """Load commands in the order of `--help`; tells of one that cannot be, and leaves it out."""
    commands: list[Command] = []
    for point in sorted(points, key=_place):
        try:
            commands.append(point.load())
        except Exception as error:  # whatever a module does, the other commands stay usable
            sys.stderr.write(f"openledger: {point.name} cannot be loaded: {error!r}\n")
    return commands


def needed(arguments: Sequence[str]) -> list[EntryPoint]:
    """Return what has to be loaded: one command where the arguments name it, else all or none.

    Loading all takes about a second. An entry point may also add commands of other names, which
    are found once all are loaded.
    """
    if arguments[0] == "--version":
        return []
    installed = list(entry_points(group=GROUP))
    return [point for point in installed if point.name == arguments[0]] or installed


def _place(command: EntryPoint) -> tuple[int, str]:
    known = command.name in ORDER
    return (ORDER.index(command.name) if known else len(ORDER), command.name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status. What went wrong is told in one line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    top_level = ("-h", "--help", "--version")
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in top_level):
        arguments.insert(0, DEFAULT_COMMAND)
    points = needed(arguments)
    commands = loaded(points)
    if points and not commands:
        return 1
    parsed = parser(commands).parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        from node.cli.failures import told  # takes long to import

        text = told(error)
        if text is None:
            raise
        sys.stderr.write(f"openledger: {text}\n")
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
