"""`openledger localnet`: it runs, tells, stops, goes on later, and leaves no process behind."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.network_world import SETTLING, alone, wait_until
from tests.ports import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
PROGRAM = """
import argparse, sys
from node.cli import localnet
parser = argparse.ArgumentParser()
localnet.add_parser(parser.add_subparsers())
arguments = parser.parse_args(["localnet", *sys.argv[1:]])
sys.exit(arguments.run(arguments))
"""
FINAL = re.compile(r"final (\d+)")


@pytest.fixture(autouse=True)
def one_network_at_a_time() -> Iterator[None]:
    with alone():
        yield


def pairs_of_ports(count: int) -> list[int]:
    """Return ports of which the next one is free too."""
    found: list[int] = []
    while len(found) < count:
        port, following = free_ports(2)
        if following == port + 1:
            found.append(port)
    return found


@contextmanager
def localnet(base: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command; kills what is left of it."""
    ports = [str(port) for port in pairs_of_ports(3)]
    named = zip(("--rpc-port", "--port", "--prometheus-port"), ports, strict=True)
    command = [sys.executable, "-c", PROGRAM, "--base-path", str(base), *options]
    with base.with_suffix(".out").open("ab") as output:
        process = subprocess.Popen(
            [*command, *(word for pair in named for word in pair)],
            stdout=output,
            stderr=output,
            cwd=ROOT,
        )
    started = psutil.Process(process.pid)
    children: list[psutil.Process] = []
    try:
        wait_until(lambda: len(started.children()) >= 2, SETTLING, "the nodes start")
        children = started.children()
        yield process
    finally:
        process.kill()
        process.wait(5)
        for child in children:
            if child.is_running():  # the same process, not another with its number
                child.kill()


def told(base: Path) -> str:
    return base.with_suffix(".out").read_text()


def highest(base: Path) -> int:
    """Return the last final block that was told of; 0 before."""
    return max((int(number) for number in FINAL.findall(told(base))), default=0)


def nodes_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def ended(processes: list[psutil.Process]) -> bool:
    return not any(map(runs, processes))


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_network_runs_stops_in_order_and_goes_on_later(tmp_path: Path) -> None:
    base = tmp_path / "net"
    with localnet(base, "--validators", "2", "--block-interval", "400") as process:
        nodes = nodes_of(process)
        assert len(nodes) == 2
        wait_until(lambda: highest(base) > 3, SETTLING, "a line tells of final blocks")
        process.send_signal(signal.SIGINT)
        assert process.wait(SETTLING) == 0
        assert ended(nodes)
    before = highest(base)
    for log in (base / "logs").glob("*.log"):
        assert "chain closed" in log.read_text().splitlines()[-1]
    base.with_suffix(".out").unlink()
    with localnet(base) as process:
        wait_until(lambda: highest(base) > before, SETTLING, "a line tells of later final blocks")
        lost, other = nodes_of(process)
        lost.kill()
        wait_until(lambda: "was ended by SIGKILL: " in told(base), SETTLING, "its end is told")
        assert other.is_running()
        process.terminate()
        assert process.wait(SETTLING) == 0
        assert ended([other])


def test_a_port_that_another_program_has_is_named_before_anything_starts(tmp_path: Path) -> None:
    base = tmp_path / "net"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-c", PROGRAM, "--base-path", str(base), "--validators", "1"]
        done = subprocess.run(
            [*command, "--prometheus-port", str(port)],
            capture_output=True,
            text=True,
            timeout=SETTLING,
            check=False,
            cwd=ROOT,
        )
    assert done.returncode != 0
    assert f"alice cannot have port {port}" in done.stderr
    assert "--prometheus-port" in done.stderr
    assert not (base / "logs").exists()


def test_the_nodes_end_when_the_command_is_killed(tmp_path: Path) -> None:
    base = tmp_path / "net"
    with localnet(base, "--validators", "2") as process:
        nodes = nodes_of(process)
        logs = base / "logs"
        wait_until(
            lambda: sum("node started" in log.read_text() for log in logs.glob("*.log")) == 2,
            SETTLING,
            "the nodes run",
        )
        process.kill()
        process.wait(5)
        wait_until(lambda: ended(nodes), SETTLING, "the nodes end")
        for log in logs.glob("*.log"):
            assert "chain closed" in log.read_text().splitlines()[-1]
