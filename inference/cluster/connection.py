"""Reach a Ray cluster, or start one of this machine, within a bounded time and without noise."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

from inference.cluster.errors import ClusterReason, ClusterRefused

LOCAL = "local"
AUTO = "auto"
REACH_SECONDS = 5.0
_HOST_PORT = re.compile(r"(?P<host>[^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})")
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


def check_ray(address: str) -> None:
    """Refuse what cannot work before anything is loaded; raises RAY_MISSING, BAD_ADDRESS."""
    if find_spec("ray") is None:
        raise ClusterRefused(
            ClusterReason.RAY_MISSING, "install it with pip install 'openledger-node[ray]'"
        )
    _host_port(address)


@contextmanager
def connected(address: str, **options: Any) -> Iterator[None]:
    """Be a driver of a cluster for the length of a block; one process has one cluster at a time.

    Args:
        address: `auto` for the cluster of this machine, host:port of another one's head, `local`
            to start one that ends with the block.
        options: handed to `ray.init`.

    Raises:
        ClusterRefused: RAY_MISSING, BAD_ADDRESS, CLUSTER_UNREACHABLE, VERSIONS_DIFFER.
    """
    check_ray(address)
    place = _host_port(address)
    if place is not None:
        _knock(*place)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address == LOCAL:
        quiet["include_dashboard"] = False
    try:
        ray.init(address=address, **quiet, **options)
    except (RuntimeError, ConnectionError, OSError, ValueError) as error:
        ray.shutdown()
        raise _refusal(address, error) from error
    try:
        yield
    finally:
        ray.shutdown()


def joined(address: str | None) -> AbstractContextManager[None]:
    """Be a driver of a cluster (`connected`) if there is an address."""
    return nullcontext() if address is None else connected(address)


def _host_port(address: str) -> tuple[str, int] | None:
    """Read an address; None for the two words."""
    if address in (AUTO, LOCAL):
        return None
    match = _HOST_PORT.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ClusterRefused(
            ClusterReason.BAD_ADDRESS,
            f"{address!r} is none; give auto, local, or host:port of the cluster's head, which "
            "`ray start --head` tells",
        )
    return match["host"].strip("[]"), int(match["port"])


def _knock(host: str, port: int) -> None:
    """Find out quickly whether anybody is there: Ray itself would try for minutes."""
    try:
        socket.create_connection((host, port), REACH_SECONDS).close()
    except OSError as error:
        raise ClusterRefused(
            ClusterReason.CLUSTER_UNREACHABLE,
            f"nothing answers at {host}:{port} ({error}); start it with `ray start --head`",
        ) from error


def _refusal(address: str, error: Exception) -> ClusterRefused:
    text = " ".join(str(error).split())
    if "ersion mismatch" in text:
        return ClusterRefused(
            ClusterReason.VERSIONS_DIFFER, f"use one Ray and one Python everywhere: {text}"
        )
    return ClusterRefused(ClusterReason.CLUSTER_UNREACHABLE, f"{address}: {text}")
