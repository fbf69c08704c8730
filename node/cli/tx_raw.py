"""`openledger tx submit` and `openledger tx decode`: transactions as bytes."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from node.cli.chain import Chain
from node.cli.output import Output
from node.cli.talking import runs
from node.cli.tx_options import add_sending_options, check_answerable
from node.cli.tx_send import Sending, check_version, signed_part
from node.cli.tx_show import call_lines, command_line, signed_facts, signed_lines
from node.cli.values_show import FOR_PROGRAMS
from node.client.submission import Signed
from node.errors import NodeError
from runtime.construct import decode_call
from runtime.primitives.extrinsic import SignedPart, UncheckedExtrinsic
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import DecodeError


def run_submit(prog: str, words: list[str]) -> int:
    """Try, show and send an extrinsic that is signed already."""
    parser = _parser(prog, "Try, show and send an extrinsic that is signed already.")
    parser.add_argument("data", type=hex_argument, metavar="0x...", help="- reads standard input")
    add_sending_options(parser)
    arguments = parser.parse_args(words)
    check_answerable(parser, arguments)
    return runs(_submit)(arguments)


def run_decode(prog: str, words: list[str]) -> int:
    """Show an extrinsic or a call."""
    parser = _parser(prog, "Show an extrinsic or a call; needs no node.")
    parser.add_argument("data", type=hex_argument, metavar="0x...", help="- reads standard input")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args(words)
    signed, call_data = _taken_apart(arguments.data)
    call = decode_call(call_data)
    if arguments.json:
        facts: dict[str, Any] = {"call": FOR_PROGRAMS.call(call), "callData": _hex(call_data)}
        if signed is not None:
            facts |= signed_facts(signed) | {"hash": _hex(blake2_256(arguments.data))}
        sys.stdout.write(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        return 0
    lines = call_lines(call)
    if signed is not None:
        lines += [*signed_lines(signed), f"hash      {_hex(blake2_256(arguments.data))}"]
    lines += [f"call data {_hex(call_data)}", f"command   {command_line(call)}"]
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def hex_argument(text: str) -> bytes:
    """Parse 0x and hex, or such a line of standard input."""
    found = sys.stdin.readline().strip() if text == "-" else text
    try:
        return bytes.fromhex(found.removeprefix("0x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError("write 0x and pairs of hex digits") from error


async def _submit(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
    check_version(chain.client)
    data: bytes = arguments.data
    try:
        part, _ = signed_part(data)
    except DecodeError as error:
        raise NodeError(f"these bytes are no extrinsic: {error}") from error
    extensions = part.extensions
    best = await chain.client.best()
    dies_at = extensions.era.death(best.number)
    signed = Signed(data, blake2_256(data), extensions.nonce, dies_at)
    await Sending.of(chain.client, arguments).run(signed)


def _taken_apart(data: bytes) -> tuple[SignedPart | None, bytes]:
    """Return signature and call of an extrinsic, or the call that the bytes are."""
    try:
        extrinsic = UncheckedExtrinsic.decode(data)
        decode_call(extrinsic.call)
    except DecodeError:
        pass
    else:
        return extrinsic.signed, extrinsic.call
    try:
        decode_call(data)
    except DecodeError as error:
        raise NodeError(f"these bytes are neither an extrinsic nor a call: {error}") from error
    return None, data


def _parser(prog: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"
