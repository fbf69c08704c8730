"""Speaks for others with its own key, and proposes in views that it does not lead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from consensus.core.messages import Proposal, Vote
from tests.simulation.actors.actor import NOTARIZE, Actor, claim_of, timestamp_of
from tests.simulation.node import Node


class Impersonator(Actor):
    """Votes under other positions; proposals out of turn."""

    _last: Proposal | None = None

    def propose(self, proposal: Proposal, to: Sequence[Node]) -> None:
        self._last = proposal
        self.post(proposal, to)

    def vote(self, vote: Vote, to: Sequence[Node]) -> None:
        self.post(vote, to)
        count = len(self.world.oracle.members(vote.epoch))
        other = self.rng.randrange(count + 1)
        if other != vote.signer:
            self.post(replace(vote, signer=other), self.some(to))
        if vote.kind == NOTARIZE and self._last is not None:
            self._out_of_turn(self._last, vote, to)

    def _out_of_turn(self, last: Proposal, vote: Vote, to: Sequence[Node]) -> None:
        if last.epoch != vote.epoch or last.view == vote.view + 1:
            return
        stolen = replace(last, view=vote.view + 1)
        if self.rng.random() < 0.5:
            claim = replace(claim_of(last), view=vote.view + 1)
            stolen = self.remade(stolen, claim, timestamp_of(last) + 1)
        else:
            stolen = self.resigned(stolen)
        self.post(stolen, to)
