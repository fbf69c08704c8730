"""R1: what a leader proposes, and when."""

from __future__ import annotations

from consensus.core import rules
from consensus.core.actions import Build, Log
from consensus.core.certificates import NOTARIZE, NULLIFY
from consensus.core.digest import certificate_hash, justification_hash, vrf_alpha
from consensus.core.messages import Proposal
from consensus.core.ports import FinalRef
from consensus.core.proposing import inline, parent_signers
from consensus.core.records import SeenProposal
from consensus.core.votes import Certificate
from consensus.core.voting import Voting
from runtime.primitives.header import Block


class Leading(Voting):
    """Builds a block in the views that this validator leads, or proposes a boundary again."""

    def _pause(self, now: int) -> int:
        """Return how long the leader waits: the parent's time and the block interval."""
        parent = self._choose_parent(self.view)
        if parent is None:
            return 0
        hash_ = parent.hash if isinstance(parent, FinalRef) else parent.block_hash
        if self._is_boundary(hash_):
            return 0
        since = self._time_of(hash_)
        return max(0, since + self.config.pace.block_interval - now) if since else 0

    def _choose_parent(self, view: int) -> Certificate | FinalRef | None:
        """R1: walk down to the highest view that has an executed block.

        Returns what is known of the parent as a certificate, or the last final block; None where
        the way down is not proven, or a block is missing.
        """
        below = view - 1
        while below > self.final.view:
            proof = self.certificates.proof_of(below)
            if proof is not None and self.config.ledger.executed(proof.block_hash):
                return proof
            if not self.certificates.nullified(below):
                self._fetch_for_parent(proof, below)
                return None
            below -= 1
        if not self.config.ledger.executed(self.final.hash):
            return None
        return self.certificates.proof_of(self.final.view) or self.final

    def _fetch_for_parent(self, proof: Certificate | None, view: int) -> None:
        if proof is not None:
            self.want(proof.block_hash)
        else:
            self._ask_certificates(view, view)

    def _propose(self, view: int) -> None:
        place = self._round(view)
        if not self.signing or not rules.may_propose(
            leads=self.epoch.leader(view) == self.me,
            current=view == self.view,
            proposed=place.building or place.own is not None,
            nullified=place.nullified,
            notarized=place.notarized is not None,
        ):
            return
        parent = self._choose_parent(view)
        if parent is None:
            return
        if isinstance(parent, FinalRef) and parent.view:
            self._ask_certificates(parent.view, parent.view)
            return
        parent_view = parent.view
        proof = None if isinstance(parent, FinalRef) else self._fullest(parent)
        skipped = self._nullifications(parent_view, view)
        if skipped is None:
            return
        if proof is not None and self._is_boundary(proof.block_hash):
            self._propose_again(view, proof, skipped)
            return
        place.building = True
        hashes = tuple(map(certificate_hash, skipped))
        hash_ = self.epoch.start_hash if proof is None else proof.block_hash
        place.own = None
        self._plan = (view, proof, hashes, inline(skipped))
        self._do(
            Build(
                epoch=self.epoch.number,
                view=view,
                parent_view=parent_view,
                parent_hash=hash_,
                leader=self.epoch.leader(view),
                least_timestamp=self._time_of(hash_) + self.config.minimum_period,
                alpha=vrf_alpha(
                    self.config.domain.genesis_hash, self.epoch.number, view, self.epoch.seed
                ),
                justification_hash=justification_hash(proof, hashes),
                parent_signers=parent_signers(proof),
            )
        )

    def _fullest(self, proof: Certificate) -> Certificate:
        """Add the notarize votes that came after the quorum: their signers are to be credited."""
        notarized = self.certificates.get(NOTARIZE, proof.view) or proof
        return self.pool.certificate(notarized.subject()) or notarized

    def _nullifications(self, parent_view: int, view: int) -> list[Certificate] | None:
        held = [self.certificates.get(NULLIFY, u) for u in range(parent_view + 1, view)]
        found = [certificate for certificate in held if certificate is not None]
        return found if len(found) == len(held) else None

    def _propose_again(self, view: int, proof: Certificate, skipped: list[Certificate]) -> None:
        """H2: above a notarized last block of the epoch, propose that block."""
        block = self._block(proof.block_hash)
        if block is None:
            self.want(proof.block_hash)
            return
        hashes = tuple(map(certificate_hash, skipped))
        self._show(self._proposal(view, proof.view, block, proof, hashes, inline(skipped)))

    def on_built(self, view: int, block: Block | None, now: int) -> None:
        """Propose the block that was built, unless the view is over."""
        place = self._round(view)
        plan, self._plan = self._plan, None
        if not place.building or place.nullified or view != self.view or not self.signing:
            return
        if block is None:
            self._nullify(view)
            return
        if plan is None or plan[0] != view:
            return
        _, proof, hashes, inlined = plan
        parent_view = 0 if proof is None else proof.view
        self._show(self._proposal(view, parent_view, block, proof, hashes, inlined))

    def _proposal(
        self,
        view: int,
        parent_view: int,
        block: Block,
        proof: Certificate | None,
        skipped: tuple[bytes, ...],
        inlined: tuple[Certificate, ...],
    ) -> Proposal:
        number = self.epoch.number
        return Proposal(number, view, parent_view, block, bytes(64), proof, skipped, inlined)

    def _show(self, proposal: Proposal) -> None:
        """Log the own proposal and vote for it; the vote is the proposal's signature."""
        place = self._round(proposal.view)
        place.own = proposal
        subject = proposal.subject()
        place.notarized = subject
        self.blocks[subject.block_hash] = proposal.block
        self._do(Log(self.epoch.number, SeenProposal(proposal)))
        self._vote(subject)
