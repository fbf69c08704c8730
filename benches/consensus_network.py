"""Real nodes on the loopback interface, and what their logs, counters and disks tell afterwards."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from genesis.spec import ChainSpec
from genesis.validators import validator_suri
from node.chain import Chain
from node.localnet.child import Child
from node.localnet.free_ports import free_ports
from node.localnet.plan import Member, Ports, node_command, validator_name
from node.native_runtime import NativeRuntime
from node.paths import ChainPaths

PATIENCE = 60.0
_LINE = re.compile(r"^(\S+ \S+) INFO .* block finalised number=(\d+) ")
_EXECUTED = re.compile(r"^(\S+ \S+) DEBUG .* block executed number=(\d+) ")
_SENT = re.compile(r"bytes_sent:(\d+)")


@dataclass(frozen=True, slots=True)
class Node:
    """A node and its process."""

    member: Member
    child: Child

    def metrics(self) -> dict[str, float]:
        """Read all figures, labels behind the name; raises OSError."""
        url = f"http://{self.member.host}:{self.member.ports.prometheus}/metrics"
        with urllib.request.urlopen(url, timeout=5) as response:
            text = response.read().decode()
        return {
            " ".join((sample.name, *sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def final(self) -> int:
        """Return the last final block, -1 where the node does not answer."""
        try:
            return int(self.metrics().get("substrate_block_height finalized", -1))
        except (OSError, urllib.error.URLError):
            return -1

    def times(self, pattern: re.Pattern[str] = _LINE) -> dict[int, float]:
        """Return when which block was stored as final (unix seconds), from the log."""
        found: dict[int, float] = {}
        for line in self.child.log.read_text(errors="replace").splitlines():
            match = pattern.match(line)
            if match:
                when = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S.%f").astimezone()
                found.setdefault(int(match[2]), when.timestamp())
        return found

    def executed(self) -> dict[int, float]:
        """Return when a block of a number was executed first; needs the log of `chain=debug`."""
        return self.times(_EXECUTED)

    def blocks(self, spec: ChainSpec) -> dict[int, tuple[int, tuple[bytes, ...]]]:
        """Read time (unix ms) and extrinsics of all final blocks; the node has to be stopped."""
        runtime = NativeRuntime()
        chain = Chain.open(ChainPaths.of(self.member.folder, spec.id).database, spec, runtime)
        try:
            found = {}
            for number in range(1, chain.finalized().number + 1):
                block = chain.block(chain.block_hash(number) or b"")
                if block is not None:
                    found[number] = (runtime.block_time(block) or 0, block.extrinsics)
            return found
        finally:
            chain.close()


@dataclass(frozen=True, slots=True)
class Network:
    """Nodes of one chain."""

    spec: ChainSpec
    nodes: tuple[Node, ...]

    def wait(self, number: int, seconds: float = PATIENCE) -> None:
        """Wait until a block is final everywhere; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not all(node.final() >= number for node in self.nodes):
            if time.monotonic() > deadline:
                last = "; ".join(node.child.last_line() for node in self.nodes)
                raise TimeoutError(f"block {number} is not final everywhere: {last}")
            time.sleep(0.2)

    def sent_over_tcp(self) -> int:
        """Sum what all connections between the nodes have carried, in bytes."""
        ports = {node.member.ports.peers for node in self.nodes}
        ours = " or ".join(f"sport = :{port} or dport = :{port}" for port in sorted(ports))
        shown = subprocess.run(
            ["ss", "-tinH", f"( {ours} )"], check=True, capture_output=True, text=True
        )
        return sum(map(int, _SENT.findall(shown.stdout)))

    def traffic(self) -> dict[str, float]:
        """Sum the nodes' own counters of messages and bytes."""
        total: dict[str, float] = {}
        for node in self.nodes:
            for name, value in node.metrics().items():
                total[name] = total.get(name, 0.0) + value
        return total


@contextmanager
def running(
    folder: Path, spec: ChainSpec, members: Sequence[Member], *more: str, init_log: bool = True
) -> Iterator[Network]:
    """Run nodes; the first one is everybody's bootnode. They are stopped in order at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    chain = folder / "chain.json"
    chain.write_text(spec.to_json())
    first = members[0].address(spec)
    nodes = []
    for member in members:
        bootnodes = () if member is members[0] else (first,)
        command = node_command(member, chain, bootnodes, *more, init_log=init_log)
        nodes.append(Node(member, Child(member.name, command, folder / f"{member.name}.log")))
    try:
        for node in nodes:
            node.child.start()
        yield Network(spec, tuple(nodes))
    finally:
        for node in nodes:
            node.child.stop()
        for node in nodes:
            if node.child.wait(20) is None:
                node.child.kill()


def validators(folder: Path, count: int) -> list[Member]:
    """Plan the validators of a network."""
    free, names = free_ports(), [validator_name(place) for place in range(count)]
    return [
        Member(name, folder / name, Ports(*islice(free, 4)), validator_suri(place))
        for place, name in enumerate(names)
    ]
