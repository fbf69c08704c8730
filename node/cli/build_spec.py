"""`openledger build-spec`: write a chain's specification to standard output."""

from __future__ import annotations

import argparse
import sys

from node.cli.options import add_chain_options, chosen_spec


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("build-spec", help="print a chain specification")
    add_chain_options(parser)
    parser.add_argument("--raw", action="store_true", help="with the first state written out")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the specification."""
    spec = chosen_spec(arguments)
    sys.stdout.write((spec.to_raw() if arguments.raw else spec).to_json())
    return 0
