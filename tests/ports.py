"""Ports for programs that cannot choose one by themselves."""

from __future__ import annotations

import fcntl
import socket
import tempfile
from pathlib import Path

LEAST_PORT, PORTS = 20_000, 10_000
"""Below those that the system gives to connections, and to programs that ask for any port."""


def free_port() -> int:
    """Return a TCP port that nobody has now, and no other test process is given soon."""
    with (Path(tempfile.gettempdir()) / "openledger-test-ports").open("a+") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        taken.seek(0)
        last = int(taken.read() or LEAST_PORT)
        for step in range(1, PORTS):
            port = LEAST_PORT + (last - LEAST_PORT + step) % PORTS
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            taken.truncate(0)
            taken.write(str(port))
            return port
    raise AssertionError("no port is free")


def free_ports(count: int) -> list[int]:
    """Return several of them."""
    return [free_port() for _ in range(count)]
