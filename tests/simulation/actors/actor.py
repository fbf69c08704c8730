"""A byzantine validator: the honest core drives it, and what it says is bent on the way out.

It signs with its own key only, and no gate looks at what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from consensus.core.actions import Penalise, Report, StopSigning
from consensus.core.messages import Message, Proposal, Vote
from consensus.core.votes import Subject, VoteKind
from runtime.primitives.digest import PreDigest, find_claim, find_next_epoch
from tests.simulation.chain import time_of
from tests.simulation.node import Node

NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE


class Actor(Node):
    """What byzantine validators share; on its own it is honest, but for its gate."""

    byzantine = True
    gate = False

    def accepts(self, message: Message) -> bool:
        """Keep its own contradictions from the core, which would fall silent."""
        return not isinstance(message, Vote) or message.signer != self.position(message.epoch)

    def refuse(self, subject: Subject, why: str) -> None:
        """Its core may be confused; nothing follows from that."""

    def _stop_signing(self, action: StopSigning) -> None:
        """Go on all the same: its core just met what this actor said in another place."""
        for replica in (self.participant.current, self.participant.previous):
            if replica is not None and replica.epoch.number == action.epoch:
                replica.stopped = False
                replica.signing = replica.me is not None

    def _report(self, action: Report) -> None:
        pass

    def _penalise(self, action: Penalise) -> None:
        pass

    def transmit(self, message: Message, to: Sequence[Node]) -> None:
        """Say what the core wants said, or something else."""
        if self.position(_epoch_of(message)) is None:
            self.post(message, to)
        elif isinstance(message, Proposal):
            self.propose(message, to)
        elif isinstance(message, Vote):
            self.vote(message, to)
        else:
            self.post(message, to)

    def propose(self, proposal: Proposal, to: Sequence[Node]) -> None:
        """Show an own proposal."""
        self.post(proposal, to)

    def vote(self, vote: Vote, to: Sequence[Node]) -> None:
        """Show an own vote."""
        self.post(vote, to)

    def say(self, subject: Subject, to: Sequence[Node]) -> None:
        """Sign anything, and show it."""
        if self.position(subject.epoch) is not None:
            self.post(self.sign(subject), to)

    def resigned(self, proposal: Proposal) -> Proposal:
        """Sign a changed proposal."""
        return replace(proposal, signature=self.sign(proposal.subject()).signature)

    def remade(self, proposal: Proposal, claim: PreDigest, timestamp: int) -> Proposal:
        """Sign a proposal of another block on the same parent."""
        block = self.world.chain.seal(proposal.block.header.parent_hash, claim, timestamp)
        return self.resigned(replace(proposal, block=block))

    def some(self, nodes: Sequence[Node]) -> list[Node]:
        """Choose about half of the nodes."""
        return [node for node in nodes if self.rng.random() < 0.5]


def claim_of(proposal: Proposal) -> PreDigest:
    """Read the claim of a block that its leader built."""
    claim = find_claim(proposal.block.header.digest)
    if claim is None:
        raise ValueError("the core proposes no block without a claim")
    return claim


def is_original(proposal: Proposal) -> bool:
    """Tell whether a proposal's block was built for its view."""
    return claim_of(proposal).view == proposal.view


def is_last(proposal: Proposal) -> bool:
    """Tell whether a proposal's block ends its epoch."""
    return find_next_epoch(proposal.block.header.digest) is not None


def timestamp_of(proposal: Proposal) -> int:
    """Read the time of a block that its leader built."""
    return time_of(proposal.block) or 0


def _epoch_of(message: Message) -> int:
    return message.epoch if isinstance(message, Proposal | Vote) else 0
