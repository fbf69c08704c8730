"""`openledger claim`: move credited earnings to their account."""

from __future__ import annotations

import argparse

from node.cli.chain import Chain
from node.cli.client_options import add_signing_options
from node.cli.output import Account, Output, Planck
from node.cli.talking import runs


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("claim", help="move credited earnings to their account")
    add_signing_options(parser)
    parser.set_defaults(run=runs(_claim))


async def _claim(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    claimed = await chain.call("Inference", "claim", "Claimed")
    out.facts({"account": Account(claimed.who), "claimed": Planck(claimed.amount)})
