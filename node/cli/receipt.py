"""`openledger receipt verify`: check that a receipt is what its session's worker owes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from node.cli.answer import check_proof, parse_proof
from node.cli.chain import Chain
from node.cli.client_options import add_node_options
from node.cli.output import Account, Output, Planck
from node.cli.session import session_of
from node.cli.talking import runs
from node.errors import NodeError
from runtime.protocols.receipt import receipt_hash

MAX_FILE = 64 << 20


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its own subcommand."""
    parser = subparsers.add_parser("receipt", help="check receipts")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    verify = actions.add_parser(
        "verify", help="check a receipt, an answer with one, or a line that the proxy saved"
    )
    verify.add_argument("file", help="path; - reads standard input")
    add_node_options(verify)
    verify.set_defaults(run=runs(_verify))


async def _verify(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    proof = parse_proof(_read(arguments.file))
    receipt = proof.receipt.receipt
    session = await session_of(chain, receipt.session)
    checked = check_proof(
        proof,
        genesis=chain.genesis,
        price=session.price,
        max_fee=session.max_fee,
        worker=session.executor,
    )
    out.facts(
        {
            "valid": True,
            "checked": list(checked),
            "receipt": receipt_hash(receipt),
            "session": receipt.session,
            "nonce": receipt.nonce,
            "worker": Account(session.executor),
            "prompt tokens": receipt.prompt_tokens,
            "completion tokens": receipt.completion_tokens,
            "compute": Planck(receipt.compute),
            "premium": Planck(receipt.premium),
            "fee": Planck(receipt.cost().total()),
            "settled": receipt.nonce <= session.settled_nonce,
        }
    )


def _read(name: str) -> str:
    try:
        if name == "-":
            return sys.stdin.buffer.read(MAX_FILE).decode()
        with Path(name).open("rb") as file:
            return file.read(MAX_FILE).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise NodeError(f"the receipt cannot be read: {error}") from error
