"""Says nothing, or only that it gives up."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.core.messages import Message, Vote
from tests.simulation.actors.actor import NULLIFY, Actor
from tests.simulation.node import Node


class Silent(Actor):
    """A validator that went away."""

    def transmit(self, message: Message, to: Sequence[Node]) -> None:
        pass


class NullifyOnly(Actor):
    """A validator that only ever gives up."""

    def transmit(self, message: Message, to: Sequence[Node]) -> None:
        if isinstance(message, Vote) and message.kind == NULLIFY:
            self.post(message, to)
