"""Does at the end of an epoch what must not be done there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from consensus.core.messages import Proposal
from tests.simulation.actors.actor import (
    Actor,
    claim_of,
    is_last,
    is_original,
    timestamp_of,
)
from tests.simulation.node import Node


class DoubleBoundary(Actor):
    """Two last blocks; a block above the last one; the last one again in the wrong way."""

    def propose(self, proposal: Proposal, to: Sequence[Node]) -> None:
        if is_original(proposal) and is_last(proposal):
            other = self.remade(proposal, claim_of(proposal), timestamp_of(proposal) + 3)
            self.post(proposal, self.some(to))
            self.post(other, self.some(to))
        elif is_original(proposal):
            self.post(proposal, to)
            self._again(proposal, to)
        else:
            self._above(proposal, to)

    def _again(self, proposal: Proposal, to: Sequence[Node]) -> None:
        """Propose the parent again, which is not the last block of the epoch."""
        parent = self.ledger.block(proposal.block.header.parent_hash)
        if parent is not None and proposal.parent is not None and self.rng.random() < 0.5:
            self.post(self.resigned(replace(proposal, block=parent)), self.some(to))

    def _above(self, proposal: Proposal, to: Sequence[Node]) -> None:
        """Instead of the last block again: a child of it, another one, or a wrong parent view."""
        claim = replace(claim_of(proposal), view=proposal.view, parent_view=proposal.parent_view)
        choice = self.rng.randrange(4)
        if choice == 0:
            hash_ = proposal.block.header.hash()
            block = self.world.chain.seal(hash_, claim, timestamp_of(proposal) + 50)
            self.post(self.resigned(replace(proposal, block=block)), to)
        elif choice == 1:
            self.post(self.remade(proposal, claim, timestamp_of(proposal) + 9), to)
        elif choice == 2:
            view = max(0, proposal.parent_view - 1)
            self.post(self.resigned(replace(proposal, parent_view=view)), to)
        else:
            self.post(proposal, to)
