"""Nullifies and finalizes every view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from consensus.core.messages import Proposal, Vote
from consensus.core.votes import Subject
from tests.simulation.actors.actor import FINALIZE, NOTARIZE, NULLIFY, Actor
from tests.simulation.node import Node


class Nuller(Actor):
    """S and F in one view, to all or to halves."""

    def propose(self, proposal: Proposal, to: Sequence[Node]) -> None:
        self.post(proposal, to)
        self._both(proposal.subject(), to)

    def vote(self, vote: Vote, to: Sequence[Node]) -> None:
        self.post(vote, to)
        if vote.kind == NOTARIZE:
            self._both(vote.subject(), to)
        elif vote.kind == FINALIZE:
            self.say(Subject(NULLIFY, vote.epoch, vote.view), to)

    def _both(self, subject: Subject, to: Sequence[Node]) -> None:
        halved = self.rng.random() < 0.5
        self.say(replace(subject, kind=FINALIZE), self.some(to) if halved else to)
        nothing = Subject(NULLIFY, subject.epoch, subject.view)
        self.say(nothing, self.some(to) if halved else to)
