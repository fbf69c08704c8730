"""Says again what anybody said long ago."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from consensus.core.messages import Message
from tests.simulation.actors.actor import Actor
from tests.simulation.node import Node

KEPT = 400


class Replayer(Actor):
    """Old messages, in any order."""

    def accepts(self, message: Message) -> bool:
        if not hasattr(self, "_old"):
            self._old: deque[Message] = deque(maxlen=KEPT)
        self._old.append(message)
        return super().accepts(message)

    def transmit(self, message: Message, to: Sequence[Node]) -> None:
        self.post(message, to)
        old = getattr(self, "_old", None)
        if old and self.rng.random() < 0.4:
            self.post(self.rng.choice(old), self.some(to))
