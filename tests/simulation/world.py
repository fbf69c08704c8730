"""Virtual time: a heap of what happens next, and a running hash of all that happened."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING

from consensus.core.events import Event
from consensus.core.messages import Message
from tests.simulation.chain import Chain
from tests.simulation.crypto import KeyRing
from tests.simulation.links import Links
from tests.simulation.oracle import Oracle

if TYPE_CHECKING:
    from tests.simulation.node import Node

EPOCH_MS = 1_700_000_000_000
"""Unix time (ms) at which every world starts."""
Call = Callable[[], None]


class World:
    """Nodes, the links between them, and the clock."""

    def __init__(
        self, seed: int, chain: Chain, ring: KeyRing, links: Links, oracle: Oracle
    ) -> None:
        self.seed = seed
        self.rng = Random(f"world {seed}")
        self.chain = chain
        self.ring = ring
        self.links = links
        self.oracle = oracle
        self.now = 0
        self.nodes: list[Node] = []
        self.events = 0
        self.sent = 0
        self.trace: Callable[[str], None] | None = None
        self.measure: Callable[[int, Message], None] | None = None
        self.filter: Callable[[Node, Node, Message], bool] | None = None
        """Which messages may pass from a node to another."""
        self._heap: list[tuple[int, int, Node | None, int, Event | Call]] = []
        self._sequence = 0
        self._hash = blake2b(digest_size=16)

    # --- time -----------------------------------------------------------------------------

    def at(self, when: int, call: Call) -> None:
        """Have something done at a time."""
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, None, 0, call))

    def tell(self, node: Node, when: int, event: Event) -> None:
        """Have a node told of an event, unless it crashed in between."""
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, node, node.life, event))

    def call(self, node: Node, when: int, call: Call) -> None:
        """Have something done at a node, unless it crashed in between."""
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, node, node.life, call))

    def run(self, until: int, stop: Callable[[], bool] | None = None) -> bool:
        """Let time pass; True where `stop` said so before the end. `stop` is asked every 16."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, node, life, what = heapq.heappop(heap)
            if node is not None and (node.life != life or not node.alive):
                continue
            self.events += 1
            if callable(what):
                what()
            elif node is not None:
                node.handle(what)
            if stop is not None and not self.events & 15 and stop():
                return True
        self.now = max(self.now, until) if not heap or heap[0][0] > until else self.now
        return stop is not None and stop()

    # --- messages -------------------------------------------------------------------------

    def audit(self, text: str) -> None:
        """Put a line into the hash, and show it where somebody reads along."""
        self._hash.update(text.encode())
        if self.trace is not None:
            self.trace(f"{self.now:>8} {text}")

    def digest(self) -> str:
        """Return the hash of everything so far."""
        return self._hash.hexdigest()

    def peers_of(self, node: Node) -> list[Node]:
        """List the nodes that a node is connected to."""
        return [other for other in self.nodes if other is not node and other.alive]
