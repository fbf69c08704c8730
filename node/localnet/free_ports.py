"""Ports for networks that are begun without a plan of ports: demonstrations, measurements."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

PORTS = range(30_400, 32_768)
"""None of those that systems give to connections: one could be taken before it is listened on."""


def free_ports() -> Iterator[int]:
    """Name TCP ports of this host that nobody has now, each one once."""
    for port in random.sample(PORTS, len(PORTS)):
        if _is_free(port):
            yield port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
