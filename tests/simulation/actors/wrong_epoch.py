"""Votes and proposes in epochs and views that are not open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from consensus.core.messages import CertificateNotice, Proposal, Vote
from consensus.core.votes import certificate
from tests.simulation.actors.actor import Actor
from tests.simulation.node import Node

FAR = (1, 2, 63, 64, 65, 1000, (1 << 64) - 1)


class WrongEpoch(Actor):
    """The same words, for another time."""

    def propose(self, proposal: Proposal, to: Sequence[Node]) -> None:
        self.post(proposal, to)
        epoch = proposal.epoch + self.rng.choice((1, 2, 9))
        if self.position(epoch) is not None:
            self.post(self.resigned(replace(proposal, epoch=epoch)), self.some(to))

    def vote(self, vote: Vote, to: Sequence[Node]) -> None:
        self.post(vote, to)
        subject = vote.subject()
        epoch = max(0, subject.epoch + self.rng.choice((-1, 1, 1, 2)))
        view = min((1 << 64) - 1, subject.view + self.rng.choice(FAR))
        self.say(replace(subject, epoch=epoch), to)
        self.say(replace(subject, view=view), to)
        position = self.position(epoch)
        if position is not None:
            early = replace(subject, epoch=epoch, view=view)
            signature = self.sign(early).signature
            count = len(self.world.oracle.members(epoch))
            alone = certificate(early, {position: signature}, count)
            self.post(CertificateNotice(alone), self.some(to))
