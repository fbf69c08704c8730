"""`openledger localnet`: run a network of several validators on this machine."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from pathlib import Path

import trio

from genesis.presets import EPOCH_BLOCKS, local_network
from genesis.spec import ChainSpec
from genesis.validators import MOST_VALIDATORS
from node import log
from node.errors import NodeError
from node.localnet.plan import Ports, members
from node.localnet.running import Network, Screen, run_network
from node.paths import default_base_path

DEFAULT_VALIDATORS = 4
DEFAULT_INTERVAL = 1000
LAST_PORT = (1 << 16) - 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "localnet", help="run a network of several validators on this machine"
    )
    add, ports = parser.add_argument, Ports()
    most = f"1 to {MOST_VALIDATORS}"
    add("--validators", type=_positive, metavar="N", help=f"{most} ({DEFAULT_VALIDATORS})")
    add("--workers", type=_number, default=0, metavar="K", help="of the first K validators (0)")
    add("--block-interval", type=_positive, metavar="MS", help=f"({DEFAULT_INTERVAL})")
    add("--delta", type=_positive, metavar="MS", help="how long messages take (a quarter of it)")
    add("--epoch-length", type=_positive, metavar="N", help=f"blocks ({EPOCH_BLOCKS})")
    add("-d", "--base-path", type=Path, metavar="PATH", help="folder of all nodes' data and logs")
    add("--fresh", action="store_true", help="delete what an earlier run left there, begin anew")
    add("--rpc-port", type=_positive, default=ports.rpc, metavar="PORT", help="first one (9944)")
    add("--port", type=_positive, default=ports.peers, metavar="PORT", help="first one (30333)")
    add("--prometheus-port", type=_positive, default=ports.prometheus, metavar="PORT", help="9615")
    add("--worker-port", type=_positive, default=ports.workers, metavar="PORT", help="(8000)")
    add("-l", "--log", type=_filters, default="info", metavar="FILTER", help="of the nodes (info)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the network until SIGINT or SIGTERM."""
    trio.run(_run_until_signal, planned(arguments))
    return 0


def planned(arguments: argparse.Namespace) -> Network:
    """Plan the network of the options: the one that is kept in the folder, or a new one.

    Raises NodeError or InvalidChainSpec.
    """
    base: Path = arguments.base_path or default_base_path() / "localnet"
    chain = base / "chain.json"
    if arguments.fresh and base.exists():
        _delete(base, chain)
    spec = _kept(chain, arguments) if chain.exists() else _new(chain, arguments)
    count = validators_of(spec)
    if arguments.workers > count:
        raise NodeError(f"{count} validators have {count} workers at most")
    ports = Ports(
        arguments.rpc_port, arguments.port, arguments.prometheus_port, arguments.worker_port
    )
    last = ports.of(count - 1)
    if max(last.rpc, last.peers, last.prometheus, last.workers) > LAST_PORT:
        raise NodeError(f"the ports of {count} nodes end above {LAST_PORT}; begin lower")
    return Network(base, spec, members(base, count, ports), arguments.workers, arguments.log)


def validators_of(spec: ChainSpec) -> int:
    """Count the validators of a local network; raises NodeError for another chain."""
    runtime = spec.genesis.runtime
    if runtime is None:
        raise NodeError(f"the chain {spec.id} was not made by this command")
    return len(runtime["session"]["validators"])


def _delete(base: Path, chain: Path) -> None:
    """Delete an earlier run; refuses a folder that holds anything else."""
    if any(base.iterdir()) and not chain.exists():
        raise NodeError(f"{base} is not the folder of a local network: nothing was deleted")
    shutil.rmtree(base)


def _new(chain: Path, arguments: argparse.Namespace) -> ChainSpec:
    interval = arguments.block_interval or DEFAULT_INTERVAL
    spec = local_network(
        arguments.validators or DEFAULT_VALIDATORS,
        block_interval_ms=interval,
        delta_ms=arguments.delta or max(1, interval // 4),
        epoch_length=arguments.epoch_length or EPOCH_BLOCKS,
    )
    chain.parent.mkdir(parents=True, exist_ok=True)
    chain.write_text(spec.to_json())
    return spec


def _kept(chain: Path, arguments: argparse.Namespace) -> ChainSpec:
    """Load the chain of an earlier run; raises NodeError where the options want another one."""
    spec = ChainSpec.load(chain)
    session = (spec.genesis.runtime or {}).get("session", {})
    for option, wanted, found in (
        ("--validators", arguments.validators, validators_of(spec)),
        ("--block-interval", arguments.block_interval, spec.consensus.block_interval_ms),
        ("--delta", arguments.delta, spec.consensus.delta_ms),
        ("--epoch-length", arguments.epoch_length, session.get("epoch_length")),
    ):
        if wanted not in (None, found):
            raise NodeError(
                f"the network in {chain.parent} has {option} {found}, not {wanted}; --fresh "
                "deletes it, another --base-path begins beside it"
            )
    return spec


async def _run_until_signal(network: Network) -> None:
    count, first = len(network.members), network.members[0]
    caption = f"JSON-RPC from {first.url} on; logs in {network.logs}; Ctrl-C stops all"
    sys.stdout.write(f"{count} validators; {caption}\n")
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_show, network, f"{network.spec.name}, {count} validators", caption)
            async for _ in signals:
                sys.stdout.write("stopping\n")
                nursery.cancel_scope.cancel()
                break


async def _show(network: Network, title: str, caption: str) -> None:
    with Screen(title, caption) as screen:
        await run_network(network, screen.show)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def _positive(text: str) -> int:
    number = _number(text)
    if not number:
        raise argparse.ArgumentTypeError("0 is too few")
    return number


def _filters(text: str) -> str:
    try:
        log.levels(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text
