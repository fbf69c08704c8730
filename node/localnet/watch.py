"""Looks at every process of a local network: does it run, how far is it, what does it use."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx
import psutil  # type: ignore[import-untyped]
import trio

from node.localnet.child import Child
from node.localnet.figures import Figures, fetch_figures
from node.localnet.plan import Member

ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Row:
    """What is shown of one process; cpu in per cent of a core, memory in bytes.

    figures: None for a worker, and for a node that gives no answer; news: the last line of the log
    of a process that has ended.
    """

    name: str
    port: int
    pid: int | None
    status: int | None
    is_node: bool = True
    figures: Figures | None = None
    cpu: float | None = None
    memory: int | None = None
    news: str = ""


@dataclass(slots=True)
class Watched:
    """A process of the network, and what is at its address; `is_node` is False for a worker."""

    child: Child
    member: Member
    is_node: bool = True
    _process: psutil.Process | None = field(default=None, init=False)

    async def look(self, client: httpx.AsyncClient) -> Row:
        """Look once."""
        ports = self.member.ports
        port = ports.rpc if self.is_node else ports.workers
        if not self.child.alive:
            news = self.child.last_line()
            return Row(self.child.name, port, None, self.child.status, self.is_node, news=news)
        figures = None
        if self.is_node:
            figures = await fetch_figures(client, self.member.host, ports.prometheus)
        cpu, memory = self._usage()
        pid = self.child.pid
        return Row(self.child.name, port, pid, None, self.is_node, figures, cpu, memory)

    def _usage(self) -> tuple[float | None, int | None]:
        """Return the load since the last look, and the memory; None where it has just ended."""
        try:
            if self._process is None or self._process.pid != self.child.pid:
                self._process = psutil.Process(self.child.pid)
            return self._process.cpu_percent(), self._process.memory_info().rss
        except psutil.Error:
            return None, None


async def look_at_all(watched: list[Watched], client: httpx.AsyncClient) -> list[Row]:
    """Look at all processes at the same time; a node that hangs delays nobody for long."""
    rows: dict[str, Row] = {}

    async def look(one: Watched) -> None:
        rows[one.child.name] = await one.look(client)

    async with trio.open_nursery() as nursery:
        for one in watched:
            nursery.start_soon(look, one)
    return [rows[one.child.name] for one in watched]


def watching_client() -> httpx.AsyncClient:
    """Return the client that `look_at_all` takes."""
    return httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False)
