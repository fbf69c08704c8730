"""Running a command against a node: what it asks, what it prints, with which status it ends.

Statuses: 0 done, 1 something here is wrong, 2 wrong use of the command, 3 the chain refuses,
4 the node cannot be reached, 5 a receipt or a blob does not hold, 130 stopped from the keyboard.
"""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Awaitable, Callable

import trio

from node.cli.answer import AnswerRefusal
from node.cli.chain import Chain
from node.cli.client_options import chosen_key
from node.cli.contribution import BlobMismatch
from node.cli.output import Output
from node.client.errors import CallError, ClientError, DispatchError, Refused
from node.client.rpc import NodeClient
from node.errors import NodeError
from runtime.primitives.errors import Refusal
from runtime.primitives.scale import EncodeError
from runtime.protocols.receipt import ReceiptRefusal
from runtime.protocols.voucher import VoucherRefusal

FAILED, REFUSED, UNREACHABLE, UNPROVEN, INTERRUPTED = 1, 3, 4, 5, 130
Action = Callable[[argparse.Namespace, Chain, Output], Awaitable[None]]


def runs(action: Action) -> Callable[[argparse.Namespace], int]:
    """Return what the parser's default `run` has to be for an action."""

    def run(arguments: argparse.Namespace) -> int:
        try:
            trio.run(_run, action, arguments)
        except BaseException as error:
            found = refused(error)
            if found is None:
                raise
            status, text = found
            sys.stderr.write(f"openledger: {text}\n")
            return status
        return 0

    return run


async def _run(action: Action, arguments: argparse.Namespace) -> None:
    out = Output(as_json=arguments.json)
    signs = "suri" in arguments and "wait" in arguments
    signer = chosen_key(arguments) if signs else None
    async with NodeClient.connect(arguments.node) as client:
        chain = Chain(client)
        if signs:
            chain = Chain(client, signer, arguments.wait, arguments.tip)
        await action(arguments, chain, out)


def refused(error: BaseException) -> tuple[int, str] | None:
    """Return the exit status and the line for a person; None for a fault of our own."""
    if isinstance(error, BaseExceptionGroup):
        if error.subgroup(KeyboardInterrupt) is not None:
            return INTERRUPTED, "stopped"
        found = {refused(inner) for inner in error.exceptions}
        return next(iter(found)) if len(found) == 1 else None
    match error:
        case DispatchError():
            return REFUSED, f"{error.pallet}.{error.error}: {_one_line(error.text)}"
        case Refused():
            return REFUSED, f"the transaction was not taken: {_one_line(str(error))}"
        case CallError():
            return REFUSED, str(error)
        case ClientError():
            return UNREACHABLE, str(error)
        case AnswerRefusal() | ReceiptRefusal() | VoucherRefusal() | BlobMismatch():
            return UNPROVEN, str(error)
        case OSError() if error.errno == errno.EADDRINUSE:
            return FAILED, "the port is in use; choose another with --port"
        case Refusal() | NodeError() | EncodeError() | OSError():
            return FAILED, str(error)
        case _:
            return None


def _one_line(text: str) -> str:
    return " ".join(text.split()) or "see the metadata"
