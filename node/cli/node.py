"""`openledger node`: run a node; the options are named as those of Substrate nodes."""

from __future__ import annotations

import argparse
import gc
import resource
import signal
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

import trio

from node import log
from node.cli.network_options import add_network_options, chosen_network
from node.cli.options import (
    add_chain_options,
    add_pruning_options,
    chosen_base_path,
    chosen_pruning,
    chosen_spec,
)
from node.cli.rpc_options import ANYWHERE, LOOPBACK, add_rpc_options, chosen_rpc, port
from node.cli.session_key import (
    keystore_password,
    next_session_key_seed,
    session_key_seed,
)
from node.paths import ChainPaths
from node.service import NodeConfig, RunningNode, run_node

_log = log.Log("node")
MOST_FILES = 65536


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("node", help="run a node (the default command)")
    add_node_options(parser)
    parser.set_defaults(run=run)


def add_node_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a node."""
    add_chain_options(parser)
    add = parser.add_argument
    add("--tmp", action="store_true", help="keep all data in a folder that is deleted at the end")
    add("--name", default="openledger", help="name of the node in metrics")
    add("--validator", action="store_true", help="make blocks with the consensus key")
    add("--suri", metavar="SECRET", help="secret URI of the consensus key (development only)")
    add("--password-filename", type=Path, metavar="FILE", help="file with the keystore's password")
    add("--init-log", action="store_true", help="this key never signed on this chain before")
    add_pruning_options(parser)
    add_network_options(parser)
    add_rpc_options(parser)
    add("--prometheus-port", type=port, default=9615, metavar="PORT", help="metrics (9615)")
    add("--prometheus-external", action="store_true", help="serve metrics on all interfaces")
    add("--no-prometheus", action="store_true", help="serve no metrics")
    add(
        "-l",
        "--log",
        type=_filters,
        default="info",
        metavar="FILTER",
        help="level, or target=level, by commas (info)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run a node until SIGINT or SIGTERM."""
    log.set_up(arguments.log)
    allow_many_files()
    with ExitStack() as stack:
        config = node_config(arguments, _base_path(arguments, stack))
        trio.run(run_until_signal, config)
    return 0


def allow_many_files() -> None:
    """Take as many file descriptors as this user may have: clients and peers need one each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with suppress(OSError, ValueError):  # then it stays as it was
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _base_path(arguments: argparse.Namespace, stack: ExitStack) -> Path:
    if arguments.tmp or (arguments.dev and arguments.base_path is None):
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openledger-")))
    return chosen_base_path(arguments)


def node_config(arguments: argparse.Namespace, base_path: Path) -> NodeConfig:
    """Turn the options into a configuration; asks for the keystore's password if need be."""
    spec = chosen_spec(arguments)
    validator = arguments.validator or arguments.dev
    paths = ChainPaths.of(base_path, spec.id)
    prometheus = ANYWHERE if arguments.prometheus_external else LOOPBACK
    suri = arguments.suri or ("//Alice" if arguments.dev else None)
    password = keystore_password(paths, arguments.password_filename, ask=validator and suri is None)
    return NodeConfig(
        spec=spec,
        base_path=base_path,
        name=arguments.name,
        key_seed=session_key_seed(spec, paths, suri, password) if validator else None,
        next_key_seed=next_session_key_seed(paths, password) if validator else None,
        keystore_password=password,
        init_log=arguments.init_log or arguments.dev or arguments.tmp,
        listen_for_double=not arguments.dev,
        pruning=chosen_pruning(arguments),
        rpc=chosen_rpc(arguments),
        network=chosen_network(arguments, spec),
        sync=arguments.sync,
        checkpoint=arguments.checkpoint,
        blobs=arguments.blobs,
        prometheus=None if arguments.no_prometheus else (prometheus, arguments.prometheus_port),
    )


async def run_until_signal(config: NodeConfig) -> None:
    """Run a node; the first SIGINT or SIGTERM stops it in order, a second one kills it."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run_then_cancel, config, nursery.cancel_scope)
            async for number in signals:
                _log.info("stopping", signal=signal.Signals(number).name)
                signal.signal(number, signal.SIG_DFL)
                nursery.cancel_scope.cancel()
                break


async def _run_then_cancel(config: NodeConfig, scope: trio.CancelScope) -> None:
    await run_node(config, _Begun())
    scope.cancel()


class _Begun:
    """Spares the collector of cycles what a node that has begun keeps until its end.

    A full collection looked at all of it, a tenth of a second each time; nothing else on the event
    loop lasts that long.
    """

    def started(self, _node: RunningNode) -> None:
        """Collect once more, and look at what is left never again."""
        gc.collect()
        gc.freeze()


def _filters(text: str) -> str:
    try:
        log.levels(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text
