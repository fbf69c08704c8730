"""Votes for every block, and in the same view for one that does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from consensus.core.messages import Vote
from tests.simulation.actors.actor import NULLIFY, Actor
from tests.simulation.node import Node


class Conflicter(Actor):
    """Two notarize votes, two finalize votes, or finalize for what it did not notarize."""

    def vote(self, vote: Vote, to: Sequence[Node]) -> None:
        self.post(vote, to)
        subject = vote.subject()
        if subject.kind is NULLIFY:
            return
        change = self.rng.randrange(3)
        if change == 0:
            subject = replace(subject, block_hash=self.rng.randbytes(32))
        elif change == 1:
            subject = replace(subject, parent_view=subject.parent_view + 1)
        else:
            subject = replace(subject, number=subject.number + 1)
        self.say(subject, self.some(to))
