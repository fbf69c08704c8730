"""Runs a local network until it is told to stop, shows how it fares, and stops it in order."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio
from rich.console import Console
from rich.live import Live

from genesis.spec import ChainSpec
from node.errors import NodeError
from node.localnet.child import Child
from node.localnet.plan import Member, node_command, worker_command
from node.localnet.table import line, table
from node.localnet.watch import Row, Watched, look_at_all, watching_client

REFRESH_SECONDS = 1.0
LINE_SECONDS = 10.0
PATIENCE = 20.0
"""Seconds from SIGTERM to SIGKILL."""
STARTED = "started"
"""A file in a node's folder: it has seen a final block, so its log of signatures exists."""
Show = Callable[[Sequence[Row]], None]


@dataclass(frozen=True, slots=True)
class Network:
    """A planned network; workers: so many validators, the first ones, have one."""

    base: Path
    spec: ChainSpec
    members: tuple[Member, ...]
    workers: int = 0
    log: str = "info"

    @property
    def chain(self) -> Path:
        """Where the chain specification is."""
        return self.base / "chain.json"

    @property
    def logs(self) -> Path:
        """The folder of all logs."""
        return self.base / "logs"

    def children(self) -> list[Watched]:
        """Make the processes, nodes first; raises NodeError for a damaged identity."""
        first = self.members[0]
        try:
            entry = first.address(self.spec)
        except (ValueError, OSError) as error:
            raise NodeError(f"the network key of {first.name} cannot be used: {error}") from error
        found = []
        for member in self.members:
            command = node_command(
                member,
                self.chain,
                () if member is first else (entry,),
                "--log",
                self.log,
                init_log=not (member.folder / STARTED).exists(),
            )
            log = self.logs / f"{member.name}.log"
            found.append(Watched(Child(member.name, command, log), member))
        for member in self.members[: self.workers]:
            name = f"{member.name}-worker"
            command = worker_command(member, self.base / name)
            child = Child(name, command, self.logs / f"{name}.log")
            found.append(Watched(child, member, is_node=False))
        return found


async def run_network(network: Network, show: Show) -> None:
    """Start all processes, show them each second; on the way out stop workers, then nodes.

    Raises NodeError where a port is in use, or all nodes have ended.
    """
    watched = network.children()
    for one in watched:
        _check_ports(one)
    try:
        for one in watched:
            one.child.start()
        await _watch(watched, show)
    finally:
        with trio.CancelScope(shield=True):
            await _stop([one.child for one in watched if not one.is_node])
            await _stop([one.child for one in watched if one.is_node])


def _check_ports(one: Watched) -> None:
    """Look before anything starts, or another program's figures would be shown as the node's."""
    ports, host = one.member.ports, one.member.host
    wanted = {"--worker-port": ports.workers}
    if one.is_node:
        wanted = {"--rpc-port": ports.rpc, "--port": ports.peers}
        wanted["--prometheus-port"] = ports.prometheus
    for option, port in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise NodeError(
                    f"{one.child.name} cannot have port {port} ({error.strerror}); begin elsewhere "
                    f"with {option}"
                ) from error


async def _watch(watched: list[Watched], show: Show) -> None:
    async with watching_client() as client:
        while True:
            rows = await look_at_all(watched, client)
            for one, row in zip(watched, rows, strict=True):
                if row.figures is not None and row.figures.final:
                    _note_start(one.member.folder / STARTED)
            show(rows)
            if not any(one.child.alive for one in watched if one.is_node):
                words = "; ".join(f"{row.name}: {row.news}" for row in rows if row.news)
                raise NodeError(f"all nodes have ended; {words}")
            await trio.sleep(REFRESH_SECONDS)


def _note_start(marker: Path) -> None:
    if not marker.exists():
        marker.touch()


async def _stop(children: list[Child]) -> None:
    for child in children:
        child.stop()
    deadline = trio.current_time() + PATIENCE
    while any(child.alive for child in children) and trio.current_time() < deadline:
        await trio.sleep(0.05)
    for child in children:
        child.kill()


class Screen:
    """Shows rows: a live table in a terminal, elsewhere a line every ten seconds."""

    def __init__(self, title: str, caption: str) -> None:
        self._title = title
        self._caption = caption
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._started = self._told = trio.current_time()

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, rows: Sequence[Row]) -> None:
        """Show how all fare now."""
        if self._console.is_terminal:
            self._live.update(table(rows, self._title, self._caption), refresh=True)
            return
        now = trio.current_time()
        if now >= self._told + LINE_SECONDS:
            self._told = now
            sys.stdout.write(line(rows, now - self._started) + "\n")
            sys.stdout.flush()
