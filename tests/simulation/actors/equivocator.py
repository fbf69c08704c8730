"""Leads with two blocks: each half of the others sees another one, or everybody both."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.core.messages import Proposal
from tests.simulation.actors.actor import Actor, claim_of, is_original, timestamp_of
from tests.simulation.node import Node


class Equivocator(Actor):
    """Two proposals for one view."""

    def propose(self, proposal: Proposal, to: Sequence[Node]) -> None:
        if not is_original(proposal):
            self.post(proposal, to)
            return
        other = self.remade(proposal, claim_of(proposal), timestamp_of(proposal) + 7)
        first = self.some(to)
        both = self.rng.random() < 0.3
        self.post(proposal, to if both else first)
        self.post(other, to if both else [node for node in to if node not in first])
