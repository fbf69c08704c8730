"""Real nodes of one chain, each a process that meets the others, and ways to hurt them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from genesis.presets import local_network
from genesis.spec import ChainSpec
from genesis.validators import validator_suri
from node.localnet.child import Child
from node.localnet.figures import Figures, parse_figures
from node.localnet.plan import Member, Ports, node_command, validator_name
from tests.patience import PATIENCE
from tests.ports import free_ports

BLOCK_MS, DELTA_MS, EPOCH = 400, 150, 15
"""Quick enough for tests, slow enough for two cores."""
SETTLING = 180.0
"""Seconds in which a network of idle nodes does whatever a test waits for."""
BEGIN = "node started"


@dataclass(slots=True)
class Node:
    """A node of the world: where it is, and its process."""

    member: Member
    child: Child
    starts: int = 0

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def log(self) -> str:
        return self.child.log.read_text(errors="replace") if self.child.log.exists() else ""

    @property
    def key(self) -> str | None:
        return self.member.suri

    def call(self, method: str, *params: object) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        request = urllib.request.Request(
            f"http://{self.member.host}:{self.member.ports.rpc}",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            answer = json.load(response)
        assert "error" not in answer, answer
        return answer["result"]

    def figures(self) -> Figures:
        url = f"http://{self.member.host}:{self.member.ports.prometheus}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            return parse_figures(response.read().decode())

    def figures_or_none(self) -> Figures | None:
        """Read the figures; None where the node gives no answer."""
        try:
            return self.figures()
        except (OSError, ValueError, HTTPException):
            return None

    @property
    def final(self) -> int:
        """The last finalised block; -1 where the node gives no answer."""
        figures = self.figures_or_none()
        return -1 if figures is None else figures.final

    def hash(self, number: int) -> str | None:
        found: str | None = self.call("chain_getBlockHash", number)
        return found

    def kill(self) -> None:
        self.child.kill()

    def stop(self) -> None:
        """Stop it in order."""
        self.child.stop()
        status = self.child.wait(60)
        assert status == 0, f"{self.name} ended with {status}:\n{self.log[-3000:]}"

    def freeze(self) -> None:
        self.child.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.child.signal(signal.SIGCONT)


@dataclass(slots=True)
class World:
    """Several nodes on one chain."""

    folder: Path
    spec: ChainSpec
    nodes: list[Node] = field(default_factory=list)

    @property
    def chain(self) -> Path:
        return self.folder / "chain.json"

    def add(self, name: str, suri: str | None = None, **place: Any) -> Node:
        """Plan a node: a validator with the key of a URI, or one that follows."""
        ports = place.pop("ports", None) or Ports(*free_ports(4))
        member = Member(name, self.folder / name, ports, suri, **place)
        node = Node(member, Child(name, (), self.folder / f"{name}.log"))
        self.nodes.append(node)
        return node

    def bootnodes(self, node: Node) -> tuple[str, ...]:
        first = self.nodes[0]
        return () if node is first else (first.member.address(self.spec),)

    def start(
        self,
        node: Node,
        *more: str,
        bootnodes: tuple[str, ...] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        """Start a node; its bootnode is the world's first node. wrapper: runs the command."""
        entries = self.bootnodes(node) if bootnodes is None else bootnodes
        command = node_command(node.member, self.chain, entries, *more, init_log=node.starts == 0)
        node.child.command = [*wrapper, *command]
        node.starts += 1
        node.child.start()

    def start_all(self) -> None:
        for node in self.nodes:
            self.start(node)

    def __getitem__(self, position: int) -> Node:
        return self.nodes[position]

    @property
    def running(self) -> list[Node]:
        return [node for node in self.nodes if node.child.alive]

    def tell(self) -> str:
        """Describe all nodes, for a failure's text."""
        lines = []
        for node in self.nodes:
            try:
                state = str(node.figures()) if node.child.alive else f"ended {node.child.status}"
            except (OSError, ValueError, HTTPException) as error:
                state = f"silent ({error})"
            lines.append(f"{node.name}: {state}\n    {node.child.last_line()}")
        return "\n".join(lines)


def signs(node: Node) -> bool:
    """Tell whether a node answers and signs."""
    figures = node.figures_or_none()
    return figures is not None and figures.signing is True


def wait_until(
    holds: Callable[[], bool], seconds: float, what: str, world: World | None = None
) -> float:
    """Wait for a condition; returns the seconds that it took, fails the test if it never holds."""
    started = time.monotonic()
    while time.monotonic() < started + seconds:
        if holds():
            return time.monotonic() - started
        time.sleep(0.1)
    pytest.fail(f"{what}: not within {seconds} s\n{world.tell() if world else ''}")


def wait_for_height(
    world: World, nodes: Iterable[Node], number: int, seconds: float = SETTLING
) -> float:
    """Wait until a block of a number is final at all nodes named."""
    named = list(nodes)

    def reached() -> bool:
        return all(node.final >= number for node in named)

    names = ", ".join(node.name for node in named)
    return wait_until(reached, seconds, f"block {number} final at {names}", world)


def grows(world: World, nodes: Sequence[Node], blocks: int = 3, seconds: float = SETTLING) -> float:
    """Check that blocks become final at all nodes named; returns the seconds that it took."""
    return wait_for_height(world, nodes, max(node.final for node in nodes) + blocks, seconds)


def agree(nodes: Sequence[Node]) -> int:
    """Compare the final chains of nodes block by block; returns the common height."""
    height = min(node.final for node in nodes)
    assert height >= 0, "a node gives no answer"
    for number in range(height + 1):
        hashes = {node.name: node.hash(number) for node in nodes}
        assert len(set(hashes.values())) == 1, f"the chains differ at block {number}: {hashes}"
        assert None not in hashes.values(), f"block {number} is missing: {hashes}"
    return height


def copy_disk(node: Node, to: Path) -> None:
    """Copy the folder of a node that does not run."""
    assert not node.child.alive
    shutil.copytree(node.member.folder, to)


def restore_disk(node: Node, copy: Path) -> None:
    """Put an earlier copy in the place of a node's folder."""
    assert not node.child.alive
    shutil.rmtree(node.member.folder)
    shutil.copytree(copy, node.member.folder)


def planned(folder: Path, validators: int, **spec: int) -> World:
    """Plan a network of validators; none of them runs."""
    pace = {"block_interval_ms": BLOCK_MS, "delta_ms": DELTA_MS, "epoch_length": EPOCH} | spec
    world = World(folder, local_network(validators, **pace))
    folder.mkdir(parents=True, exist_ok=True)
    world.chain.write_text(world.spec.to_json())
    for index in range(validators):
        world.add(validator_name(index), validator_suri(index))
    return world


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other test process runs a network: several at once are too slow to judge."""
    path = Path(tempfile.gettempdir()) / f"openledger-network-{os.getuid()}.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def network(folder: Path, validators: int, **spec: int) -> Iterator[World]:
    """Run a network of validators; at the end no log may tell of a fault."""
    world = planned(folder, validators, **spec)
    with alone():
        try:
            world.start_all()
            wait_for_height(world, world.nodes, 2)
            yield world
        finally:
            end(world)
    check_logs(world)


def end(world: World) -> None:
    """Stop all processes: in order, or by force."""
    for node in world.running:
        node.thaw()
        node.child.stop()
    for node in world.nodes:
        if node.child.wait(15) is None:
            node.child.kill()


def check_logs(world: World) -> None:
    """Check that no node met a fault of its own."""
    for node in world.nodes:
        assert "Traceback" not in node.log, f"{node.name}:\n{node.log[-6000:]}"
        assert " ERROR " not in node.log, f"{node.name}:\n{node.log[-6000:]}"
