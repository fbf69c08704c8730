"""Proposes when the others are about to give up, or after they did; its votes are late as well."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.core.messages import Proposal, Vote
from tests.simulation.actors.actor import Actor
from tests.simulation.node import Node


class LateProposer(Actor):
    """Everything it owes comes late, to everybody at another time."""

    def propose(self, proposal: Proposal, to: Sequence[Node]) -> None:
        about = self.pace.leader * self.rng.choice((80, 100, 150)) // 100
        for node in to:
            self.post(proposal, (node,), later=about + self.rng.randrange(60))

    def vote(self, vote: Vote, to: Sequence[Node]) -> None:
        for node in to:
            self.post(vote, (node,), later=self.rng.randrange(self.pace.certificate))
