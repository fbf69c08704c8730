"""The options of a node's JSON-RPC server, named as those of Substrate nodes."""

from __future__ import annotations

import argparse

from node.rpc.limits import RpcConfig, RpcLimits, RpcMethods

ANYWHERE = "0.0.0.0"
LOOPBACK = "127.0.0.1"
MIB = 1024 * 1024
_DEFAULT = RpcLimits()


def add_rpc_options(parser: argparse.ArgumentParser) -> None:
    """Add where JSON-RPC is served, for whom, and how much of it."""
    add = parser.add_argument
    add("--rpc-port", type=port, default=9944, metavar="PORT", help="JSON-RPC (9944)")
    add("--rpc-external", action="store_true", help="listen for JSON-RPC on all interfaces")
    add(
        "--rpc-cors",
        type=origins,
        default=("*",),
        metavar="ORIGINS",
        help="web origins that may connect, by commas, such as https://app.example; or all (all)",
    )
    add(
        "--rpc-methods",
        type=rpc_methods,
        default=RpcMethods.AUTO,
        metavar="auto|safe|unsafe",
        help="unsafe methods: for programs on this machine if it listens on loopback only (auto), "
        "for nobody (safe), for everybody (unsafe)",
    )
    for option, default, text in (
        ("connections", _DEFAULT.connections, "at once"),
        ("subscriptions-per-connection", _DEFAULT.subscriptions, "at once"),
        ("request-size", _DEFAULT.request_bytes // MIB, "MiB"),
        ("response-size", _DEFAULT.response_bytes // MIB, "MiB"),
        ("batch-request-len", _DEFAULT.batch_length, "requests in one batch"),
    ):
        name = f"--rpc-max-{option}"
        add(name, type=count, default=default, metavar="N", help=f"{text} ({default})")
    add(
        "--rpc-rate-limit",
        type=count,
        metavar="N",
        help="calls a minute on one connection (no limit)",
    )


def chosen_rpc(arguments: argparse.Namespace) -> RpcConfig:
    """Turn the options into a configuration."""
    return RpcConfig(
        host=ANYWHERE if arguments.rpc_external else LOOPBACK,
        port=arguments.rpc_port,
        origins=arguments.rpc_cors,
        methods=arguments.rpc_methods,
        limits=RpcLimits(
            request_bytes=arguments.rpc_max_request_size * MIB,
            response_bytes=arguments.rpc_max_response_size * MIB,
            batch_length=arguments.rpc_max_batch_request_len,
            connections=arguments.rpc_max_connections,
            subscriptions=arguments.rpc_max_subscriptions_per_connection,
            calls_per_minute=arguments.rpc_rate_limit,
        ),
    )


def rpc_methods(text: str) -> RpcMethods:
    """Read who may call unsafe methods."""
    try:
        return RpcMethods(text)
    except ValueError:
        known = ", ".join(method.value for method in RpcMethods)
        raise argparse.ArgumentTypeError(f"{text!r} is none of {known}") from None


def origins(text: str) -> tuple[str, ...]:
    """Read web origins; `all`, and as well `*`, stand for every one."""
    found = tuple("*" if part == "all" else part.rstrip("/") for part in text.split(","))
    for origin in found:
        scheme, _, host = origin.partition("://")
        if origin not in ("*", "null") and not (scheme and host):
            raise argparse.ArgumentTypeError(
                f"{origin!r} is no origin such as https://app.example, nor all"
            )
    return found


def count(text: str) -> int:
    """Read a number from 1 on."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def port(text: str) -> int:
    """Read a port."""
    if not text.isdecimal() or not int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)
