"""Nodes in network namespaces of one machine, on two switches that can be parted and joined."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from genesis.presets import local_network
from genesis.validators import validator_suri
from node.localnet.plan import Ports, validator_name
from tests.e2e.network_world import BLOCK_MS, DELTA_MS, World, alone, end

SUBNET = "10.213.77"


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@dataclass(frozen=True)
class Switches:
    """Two switches, linked unless they are parted; every node is at the first one at first."""

    tag: str
    count: int

    def bridge(self, number: int) -> str:
        return f"{self.tag}b{number}"

    def space(self, place: int) -> str:
        return f"{self.tag}n{place}"

    def build(self) -> None:
        """Lay all cables; the test's own process is at the first switch, and sees all nodes."""
        for number in (0, 1):
            _ip("link", "add", self.bridge(number), "type", "bridge")
            _ip("link", "set", self.bridge(number), "up")
            _ip("address", "add", f"{SUBNET}.{250 + number}/24", "dev", self.bridge(number))
        for place in range(self.count):
            outer, inner, space = f"{self.tag}o{place}", f"{self.tag}i{place}", self.space(place)
            _ip("netns", "add", space)
            _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            _ip("link", "set", inner, "netns", space)
            _ip("link", "set", outer, "master", self.bridge(0), "up")
            _ip("-n", space, "address", "add", f"{SUBNET}.{place + 1}/24", "dev", inner)
            _ip("-n", space, "link", "set", inner, "up")
            _ip("-n", space, "link", "set", "lo", "up")

    def part(self, places: Sequence[int]) -> None:
        """Move nodes to the second switch; what is on its way is lost."""
        for place in places:
            _ip("link", "set", f"{self.tag}o{place}", "master", self.bridge(1))
            _ip("route", "replace", f"{SUBNET}.{place + 1}/32", "dev", self.bridge(1))

    def join(self, places: Sequence[int]) -> None:
        """Move them back."""
        for place in places:
            _ip("link", "set", f"{self.tag}o{place}", "master", self.bridge(0))
            _ip("route", "del", f"{SUBNET}.{place + 1}/32", "dev", self.bridge(1))

    def remove(self) -> None:
        """Take everything away, as far as it was built."""
        ends = [("netns", "del", self.space(place)) for place in range(self.count)]
        ends += [("link", "del", f"{self.tag}o{place}") for place in range(self.count)]
        ends += [("link", "del", self.bridge(number)) for number in (0, 1)]
        for command in ends:
            subprocess.run(["ip", *command], capture_output=True, check=False)


@contextmanager
def split_network(folder: Path, validators: int) -> Iterator[tuple[World, Switches]]:
    """Run validators in namespaces of their own; skips the test where that is not allowed."""
    switches = Switches(f"ol{os.getpid() % 100000}", validators)
    try:
        switches.build()
    except OSError as error:
        switches.remove()
        pytest.skip(f"network namespaces cannot be made here: {error}")
    spec = local_network(validators, block_interval_ms=BLOCK_MS, delta_ms=DELTA_MS)
    world = World(folder, spec)
    folder.mkdir(parents=True)
    world.chain.write_text(spec.to_json())
    with ExitStack() as stack:
        stack.enter_context(alone())
        stack.callback(switches.remove)
        stack.callback(end, world)
        for place in range(validators):
            host = f"{SUBNET}.{place + 1}"
            node = world.add(validator_name(place), validator_suri(place), ports=Ports(), host=host)
            wrapper = ("ip", "netns", "exec", switches.space(place))
            world.start(node, "--rpc-external", "--prometheus-external", wrapper=wrapper)
        yield world, switches
