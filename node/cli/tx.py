"""`openledger tx`: every call of the runtime, tried before it is sent."""

from __future__ import annotations

import argparse
import json
import sys

from node.cli.chain import Chain
from node.cli.output import Output
from node.cli.talking import runs
from node.cli.tx_options import check_answerable, chosen_signer
from node.cli.tx_parser import CallParser
from node.cli.tx_raw import run_decode, run_submit
from node.cli.tx_send import Sending, check_version
from node.cli.values_names import (
    NameRefusal,
    dashed,
    find_call,
    find_pallet,
    first_line,
    pick,
    split_words,
)
from node.client.submission import Signed
from runtime.construct import CALLS, PALLETS, pallet_named
from runtime.frame.calls import CallEntry
from runtime.frame.pallet import Pallet, calls
from runtime.primitives.hashing import blake2_256

PROGRAM = "openledger tx"
WRONG_USE = 2
SHORTCUTS = {"transfer": ("Balances", "transfer_keep_alive")}
TOOLS = {"submit": run_submit, "decode": run_decode}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command. The parser of a call is made when it is asked for."""
    parser = subparsers.add_parser(
        "tx",
        help="make any call of the runtime, after a dry run",
        usage=f"{PROGRAM} PALLET CALL [ARGUMENT ...] --from NAME [options]",
        description=overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="PALLET CALL ...")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what the words say; returns the exit status."""
    words = split_words(arguments.words)
    try:
        return _run(words)
    except NameRefusal as refusal:
        sys.stderr.write(f"openledger: {refusal.detail}\n")
        return WRONG_USE


def _run(words: list[str]) -> int:
    if not words:
        return _print(overview())
    name, rest = words[0], words[1:]
    tool = pick(TOOLS, name)
    if tool is not None:
        return tool(f"{PROGRAM} {name}", rest)
    if name in SHORTCUTS:
        pallet_name, call = SHORTCUTS[name]
        return run_call(CallParser(f"{PROGRAM} {name}", entry_of(pallet_name, call)), rest)
    pallet = find_pallet(name)
    if not rest or rest[0] in ("-h", "--help"):
        return _print(listing(pallet))
    entry = find_call(pallet, rest[0])
    prog = f"{PROGRAM} {pallet.NAME.lower()} {dashed(entry.info.name)}"
    return run_call(CallParser(prog, entry), rest[1:])


def entry_of(pallet: str, call: str) -> CallEntry:
    """Return the declaration of a call by its names."""
    return find_call(pallet_named(pallet), call)


def run_call(parser: CallParser, words: list[str]) -> int:
    """Make one call of the words after its name."""
    call, arguments = parser.parse(words)
    if arguments.call_data:
        return _print_call_data(CALLS.encode(call), as_json=arguments.json)
    check_answerable(parser.parser, arguments)
    signer = chosen_signer(parser.parser, arguments)
    call_data = CALLS.encode(call)

    async def act(arguments: argparse.Namespace, chain: Chain, out: Output) -> None:
        check_version(chain.client)
        signed = await chain.client.sign(
            call_data,
            signer,
            nonce=arguments.nonce,
            tip=arguments.tip,
            period=arguments.mortal,
        )
        if arguments.sign_only:
            _print_signed(signed, out, as_json=arguments.json)
            return
        await Sending.of(chain.client, arguments).run(signed)

    return runs(act)(arguments)


def overview() -> str:
    """List what may stand after `openledger tx`."""
    lines = ["pallets, each with its calls (openledger tx PALLET lists them):"]
    lines += [
        f"  {pallet.NAME.lower():<16} {first_line(pallet.__doc__ or '')}"
        for pallet in PALLETS
        if calls(pallet)
    ]
    lines += [
        "beside them:",
        f"  {'transfer':<16} DEST VALUE: balances transfer-keep-alive",
        f"  {'submit':<16} 0x...: send an extrinsic that is signed already",
        f"  {'decode':<16} 0x...: show an extrinsic or a call",
    ]
    return "\n".join(lines)


def listing(pallet: type[Pallet]) -> str:
    """List the calls of a pallet."""
    infos = calls(pallet).values()
    if not infos:
        return f"{pallet.NAME} has no calls"
    width = max(len(info.name) for info in infos)
    lines = [f"calls of {pallet.NAME} (openledger tx {pallet.NAME.lower()} CALL --help):"]
    lines += [f"  {dashed(info.name):<{width}}  {first_line(info.docs)}" for info in infos]
    return "\n".join(lines)


def _print(text: str) -> int:
    sys.stdout.write(f"{text}\n")
    return 0


def _print_signed(signed: Signed, out: Output, *, as_json: bool) -> None:
    """Print the extrinsic alone, so that it can be piped into `tx submit -` or a file."""
    if as_json:
        out.facts({"extrinsic": signed.data, "hash": signed.hash})
        return
    _print(f"0x{signed.data.hex()}")
    out.say(f"hash 0x{signed.hash.hex()}")


def _print_call_data(call_data: bytes, *, as_json: bool) -> int:
    data, digest = f"0x{call_data.hex()}", f"0x{blake2_256(call_data).hex()}"
    facts = json.dumps({"callData": data, "callHash": digest}, indent=2)
    return _print(facts if as_json else data)
