"""Its blocks are from the future, from long ago, or older than their parents."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.core.messages import Proposal
from tests.simulation.actors.actor import Actor, claim_of, is_original
from tests.simulation.node import Node


class TimestampLiar(Actor):
    """Another lie in each view that it leads."""

    def propose(self, proposal: Proposal, to: Sequence[Node]) -> None:
        if not is_original(proposal):
            self.post(proposal, to)
            return
        parent = self.ledger.time(proposal.block.header.parent_hash)
        lies = (
            self.clock + 400,
            self.clock + 3_000,
            self.clock + 600_000,
            parent + 1,
            parent,
            max(0, parent - 1),
            0,
            (1 << 63) - 1,
            (1 << 64) - 1,
        )
        self.post(self.remade(proposal, claim_of(proposal), self.rng.choice(lies)), to)
