"""Leads with blocks whose proof is missing, of something else, or not what the header says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from consensus.core.digest import justification_hash
from consensus.core.messages import Proposal
from tests.simulation.actors.actor import Actor, claim_of, is_original, timestamp_of
from tests.simulation.node import Node


class WrongJustification(Actor):
    """One flaw per proposal."""

    def propose(self, proposal: Proposal, to: Sequence[Node]) -> None:
        flawed = self._flawed(proposal)
        self.post(flawed, to)
        if self.rng.random() < 0.2:
            self.post(proposal, self.some(to))

    def _flawed(self, proposal: Proposal) -> Proposal:
        rng = self.rng
        choice = rng.randrange(8)
        if choice == 0:
            return replace(proposal, nullifications=proposal.nullifications[1:])
        if choice == 1:
            return self._skipping(proposal)
        if choice == 2:
            return replace(proposal, parent=None)
        if choice == 3 and proposal.parent is not None:
            bent = replace(proposal.parent, signatures=proposal.parent.signatures[:-1])
            return replace(proposal, parent=bent)
        if choice == 4:
            return self.resigned(replace(proposal, parent_view=proposal.parent_view + 1))
        if choice == 5 and proposal.parent is not None:
            extra = (proposal.parent, *proposal.nullifications)
            return replace(proposal, nullifications=extra)
        if choice == 6 and is_original(proposal):
            claim = replace(claim_of(proposal), justification_hash=rng.randbytes(32))
            return self.remade(proposal, claim, timestamp_of(proposal))
        if is_original(proposal):
            claim = replace(claim_of(proposal), parent_signers=b"\1")
            return self.remade(proposal, claim, timestamp_of(proposal))
        return replace(proposal, skipped=(*proposal.skipped, bytes(32)))

    def _skipping(self, proposal: Proposal) -> Proposal:
        """Build on the start of the epoch, as if nothing had been notarized since."""
        if not is_original(proposal) or not proposal.parent_view:
            return proposal
        start = self.world.chain.states[self.ledger.tip]
        if start is None or start.epoch != proposal.epoch:
            return proposal
        hash_ = self.ledger.final[start.start]
        skipped = tuple(bytes(32) for _ in range(proposal.view - 1))
        claim = replace(
            claim_of(proposal),
            parent_view=0,
            justification_hash=justification_hash(None, skipped),
            parent_signers=b"",
        )
        block = self.world.chain.seal(hash_, claim, self.clock)
        bare = Proposal(proposal.epoch, proposal.view, 0, block, bytes(64), None, skipped, ())
        return self.resigned(bare)
