"""Options of a node among others; named as those of Substrate nodes where they have one."""

from __future__ import annotations

import argparse
from enum import Enum
from typing import TypeVar

from genesis.spec import ChainSpec, ChainType
from node.blob_exchange_limits import Keep
from node.network_config import NetworkConfig
from node.service import SyncMode
from node.sync.trail import Checkpoint

E = TypeVar("E", bound=Enum)
DEFAULT_PORT = 30333


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about peers and about joining a chain."""
    add = parser.add_argument
    add("--port", type=int, metavar="PORT", help=f"for peers ({DEFAULT_PORT}; none with --dev)")
    add("--listen-addr", nargs="+", default=[], metavar="ADDRESS", help="multiaddresses instead")
    add("--public-addr", nargs="+", default=[], metavar="ADDRESS", help="where peers should call")
    add("--bootnodes", nargs="+", default=[], metavar="ADDRESS", help="peers to begin with")
    add("--reserved-nodes", nargs="+", default=[], metavar="ADDRESS", help="peers to always keep")
    add("--reserved-only", action="store_true", help="no peers but the reserved ones (sentries)")
    add("--out-peers", type=int, default=8, metavar="N", help="calls to keep up (8)")
    add("--in-peers", type=int, default=32, metavar="N", help="calls to accept (32)")
    add("--in-peers-per-ip", type=int, default=4, metavar="N", help="of one address (4)")
    add("--mdns", action="store_true", help="find peers on the local network")
    add("--no-network", action="store_true", help="meet nobody")
    add(
        "--sync",
        type=lambda text: _chosen(SyncMode, text),
        default=SyncMode.FULL,
        metavar="full|snapshot",
        help="execute all blocks (full), or begin with the state of a recent one",
    )
    add(
        "--checkpoint",
        type=_checkpoint,
        metavar="EPOCH:HASH",
        help="the end of an epoch, from a source that you trust",
    )
    add(
        "--blobs",
        type=lambda text: _chosen(Keep, text),
        default=Keep.ALL,
        metavar="all|none",
        help="which declared blobs are fetched from peers (all)",
    )


def chosen_network(arguments: argparse.Namespace, spec: ChainSpec) -> NetworkConfig | None:
    """Return how the node meets others; None where it does not.

    A development chain lives on one machine: it listens only if a port is named.
    """
    named = arguments.port is not None or arguments.listen_addr or arguments.bootnodes
    alone = spec.chain_type is ChainType.DEVELOPMENT and not named
    if arguments.no_network or alone:
        return None
    port = DEFAULT_PORT if arguments.port is None else arguments.port
    return NetworkConfig(
        listen=tuple(arguments.listen_addr) or (f"/ip4/0.0.0.0/tcp/{port}",),
        announce=tuple(arguments.public_addr),
        bootnodes=tuple(arguments.bootnodes),
        reserved=tuple(arguments.reserved_nodes),
        reserved_only=arguments.reserved_only,
        outbound=arguments.out_peers,
        inbound=arguments.in_peers,
        inbound_per_ip=arguments.in_peers_per_ip,
        mdns=arguments.mdns,
    )


def _chosen(kind: type[E], text: str) -> E:
    try:
        return kind(text)
    except ValueError as error:
        names = " or ".join(str(member.value) for member in kind)
        raise argparse.ArgumentTypeError(f"{text!r} is not {names}") from error


def _checkpoint(text: str) -> Checkpoint:
    try:
        return Checkpoint.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
