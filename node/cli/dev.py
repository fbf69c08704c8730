"""`openledger dev`: a development chain with the accounts and addresses to use it."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from genesis.accounts import DEVELOPMENT_ACCOUNTS
from genesis.presets import ENDOWMENT, UNIT
from node.cli import node
from runtime.primitives.keys import ss58_encode


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "dev", help="run a development chain, and print where wallets find it"
    )
    node.add_node_options(parser)
    parser.set_defaults(run=run, dev=True)


def run(arguments: argparse.Namespace) -> int:
    """Print the accounts, then run `openledger node --dev`."""
    console = Console()
    table = Table(title="Development accounts", caption=f"{ENDOWMENT // UNIT:,} OPEN each")
    table.add_column("secret URI (sr25519)")
    table.add_column("address")
    for known in DEVELOPMENT_ACCOUNTS:
        table.add_row(known.uri, ss58_encode(known.account))
    console.print(table)
    console.print(f"JSON-RPC    ws://127.0.0.1:{arguments.rpc_port}")
    if not arguments.no_prometheus:
        console.print(f"Prometheus  http://127.0.0.1:{arguments.prometheus_port}/metrics")
    if arguments.base_path is None:
        console.print("The chain is deleted when it stops; keep it with --base-path.")
    return node.run(arguments)
