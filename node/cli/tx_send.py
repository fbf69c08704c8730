"""A signed transaction on its way: tried, shown, asked about, sent, followed to its outcome."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio

from node.cli.amounts import format_open
from node.cli.tx_dry_run import Preview, preview
from node.cli.tx_show import (
    call_lines,
    event_lines,
    fee_paid,
    included_facts,
    preview_facts,
    preview_lines,
    signed_facts,
    signed_lines,
)
from node.cli.values_show import FOR_PROGRAMS
from node.client.errors import Refused
from node.client.outcome import Included
from node.client.rpc import NodeClient
from node.client.submission import Signed, Wait
from node.errors import NodeError
from runtime.construct import decode_call
from runtime.primitives.extrinsic import SignedPart, UncheckedExtrinsic
from runtime.primitives.version import RUNTIME_VERSION

_SAID = {
    "ready": "ready: the node holds it",
    "future": "future: the node holds it until the account's transactions before it are sent",
    "inBlock": "in block",
    "finalized": "finalized in",
}


class CallFailed(NodeError):
    """A call that fails in its block, or would; the text has pallet, error and what to do."""


class NotSent(NodeError):
    """The person at the terminal did not want it sent."""


@dataclass(frozen=True, slots=True)
class Sending:
    """How to go about a signed transaction."""

    client: NodeClient
    as_json: bool
    wait: Wait
    yes: bool
    only_try: bool

    @classmethod
    def of(cls, client: NodeClient, arguments: argparse.Namespace) -> Sending:
        """Take the choices from the options of a command."""
        asked = arguments
        return cls(client, asked.json, asked.wait, asked.yes, asked.dry_run)

    async def run(self, signed: Signed) -> None:
        """Show, ask, send and follow.

        Raises Refused where no block takes it, CallFailed where the call fails in its block or
        is seen to fail by a dry run alone, NotSent.
        """
        part, call_data = signed_part(signed.data)
        expected = await preview(self.client, signed.data)
        facts: dict[str, Any] = {"call": FOR_PROGRAMS.call(decode_call(call_data))}
        facts |= {"callData": f"0x{call_data.hex()}"} | signed_facts(part)
        facts |= {"preview": preview_facts(expected)}
        self._say(*call_lines(decode_call(call_data)), *signed_lines(part))
        self._say(*preview_lines(expected))
        if self.only_try or expected.outcome == "refused":
            self._document(facts | {"submitted": None})
            _judge(expected)
            return
        if not self.yes and not await confirmed():
            raise NotSent("nothing was sent")
        await self._tell(await self._send(signed), facts)

    async def _send(self, signed: Signed) -> Included:
        try:
            return await self.client.send(signed, self.wait, self._progress)
        except Refused:
            raise
        except BaseException:
            # Ctrl-C or a lost node: who sends again now might pay twice.
            sys.stderr.write(
                f"transaction 0x{signed.hash.hex()} may have been sent, and may still come into a "
                f"block: before sending again see whether nonce {signed.nonce} is used\n"
            )
            raise

    async def _tell(self, done: Included, facts: dict[str, Any]) -> None:
        header = await self.client.header(done.block_hash or b"")
        number = None if header is None else header.number
        self._document(facts | {"submitted": {"blockNumber": number} | included_facts(done)})
        self._say(*event_lines(done.events))
        self._say(f"fee paid  {format_open(fee_paid(done.events))} OPEN")
        failure = done.failure()
        if failure is not None:
            raise CallFailed(f"{failure.pallet}.{failure.error}: {' '.join(failure.text.split())}")
        digest = done.extrinsic_hash.hex()
        self._say(f"succeeded in block {number}, extrinsic {done.index}, 0x{digest}")

    def _progress(self, status: str, block: str | None) -> None:
        said = _SAID.get(status, status)
        if not self.as_json:
            sys.stderr.write(f"{said} {block}\n" if block else f"{said}\n")

    def _say(self, *lines: str) -> None:
        if not self.as_json:
            sys.stdout.writelines(f"{line}\n" for line in lines)

    def _document(self, facts: dict[str, Any]) -> None:
        if self.as_json:
            sys.stdout.write(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def _judge(expected: Preview) -> None:
    if expected.outcome == "refused" and expected.refusal is not None:
        raise Refused(*expected.refusal.split(": ", 1))
    if expected.failure is not None:
        raise CallFailed(str(expected.failure))


def signed_part(data: bytes) -> tuple[SignedPart, bytes]:
    """Return who signed an extrinsic, and its call; raises DecodeError or NodeError."""
    extrinsic = UncheckedExtrinsic.decode(data)
    if extrinsic.signed is None:
        raise NodeError("the extrinsic is not signed; only signed ones can be sent")
    return extrinsic.signed, extrinsic.call


async def confirmed() -> bool:
    """Ask the person at the terminal; silence means no."""
    sys.stdout.flush()
    sys.stderr.write("Submit? [y/N] ")
    sys.stderr.flush()
    # The connection has to live on while the person thinks; a plain file is always ready.
    with suppress(OSError):
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def check_version(client: NodeClient) -> None:
    """Raise NodeError where the node's chain codes its calls in another way than this program."""
    known = RUNTIME_VERSION.transaction_version
    if client.transaction_version != known:
        raise NodeError(
            f"the node's calls are of version {client.transaction_version}, this program knows "
            f"{known}; install the version of the chain"
        )
