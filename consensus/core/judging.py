"""R2: whose proposal gets this validator's notarize vote."""

from __future__ import annotations

from consensus.core import rules
from consensus.core.actions import Fault, Log, Penalise
from consensus.core.events import Peer, TimerKind
from consensus.core.messages import Proposal, vote_of
from consensus.core.proposing import Flaw, find_flaw, is_original, is_whole, parent_hash
from consensus.core.records import SeenProposal
from consensus.core.repeating import Repeating
from consensus.core.state import LOOKAHEAD
from runtime.primitives.digest import find_next_epoch


class Judging(Repeating):
    """Takes proposals in, and votes for one per view."""

    def on_proposal(self, peer: Peer, proposal: Proposal, now: int) -> None:
        """Take a leader's proposal in, its certificates first."""
        view = proposal.view
        if self._take_certified(proposal.block, now) or view <= self.final.view or self.quiet:
            return
        place = self.rounds.get(view)
        if place is not None and any(held == proposal for held, _ in place.proposals):
            return
        leader = self.epoch.leader(view)
        subject = proposal.subject()
        vote = vote_of(subject, leader, proposal.signature)
        if not self._is_signed(vote):
            self._do(Penalise(peer, Fault.BAD_SIGNATURE, f"a proposal for view {view}"))
            return
        self._heard[leader] = now
        if self._take_attached(peer, proposal, now) and view > self.final.view:
            self._keep_proposal(proposal, now)
        if view <= self.view + LOOKAHEAD:
            self._count(vote, now)
        self._try_notarize(view, now)

    def _take_attached(self, peer: Peer, proposal: Proposal, now: int) -> bool:
        """Take the certificates of a proposal in, and tell whether it may be voted for.

        What its leader's signature covers, the justification's hash included, is the leader's: a
        flaw there gives the view up. Anything else may have been changed on the way.
        """
        original = is_original(proposal)
        if not (is_whole(proposal) and self.config.ledger.is_whole(proposal.block)):
            self._do(Penalise(peer, Fault.BAD_PROPOSAL, f"changed, for view {proposal.view}"))
            return False
        attached = [c for c in (proposal.parent, *proposal.nullifications) if c is not None]
        sound = all(self.take_certificate(peer, c, now, attached=True) for c in attached)
        epoch, config = self.epoch, self.config
        flaw = find_flaw(proposal, epoch, config.domain, config.crypto) if sound else Flaw.PARENT
        if flaw is None and config.ledger.block_time(proposal.block) is None:
            flaw = Flaw.TIME
        if flaw is not None and original:
            self._refuse(proposal.view, now)
        return flaw is None

    def _keep_proposal(self, proposal: Proposal, now: int) -> None:
        place = self._round(proposal.view)
        if len(place.proposals) >= 2 or proposal.view > self.view + LOOKAHEAD:
            return
        place.proposals.append((proposal, now))
        self.blocks.setdefault(proposal.block.header.hash(), proposal.block)

    def _try_notarize(self, view: int, now: int) -> None:
        """R2: vote for a proposal as soon as everything that speaks for it is here."""
        place = self.rounds.get(view)
        if place is None or place.notarized is not None or view <= self.final.view:
            return
        for proposal, arrived in place.proposals:
            if self._is_proven(proposal):
                self._notarize(proposal, arrived, now)
                if place.notarized is not None:
                    return

    def _is_proven(self, proposal: Proposal) -> bool:
        """Tell whether parent and gap are certified; asks for what is missing."""
        pv = proposal.parent_view
        hash_ = parent_hash(proposal)
        if pv == self.final.view:
            proven = hash_ == self.final.hash
        else:
            proof = self.certificates.proof_of(pv)
            proven = pv > self.final.view and proof is not None and proof.block_hash == hash_
        if not proven:
            return False
        missing = [u for u in range(pv + 1, proposal.view) if not self.certificates.nullified(u)]
        if missing:
            self._ask_certificates(missing[0], missing[-1])
        return not missing

    def _notarize(self, proposal: Proposal, arrived: int, now: int) -> None:
        block, view = proposal.block, proposal.view
        hash_ = block.header.hash()
        if hash_ in self.invalid:
            self._refuse(view, now)
            return
        parent = self._header(parent_hash(proposal))
        if parent is None:
            self.want(parent_hash(proposal))
            return
        if not rules.boundary_legal(
            parent_is_boundary=proposal.parent_view > 0
            and find_next_epoch(parent.digest) is not None,
            same_block=not is_original(proposal),
            original=is_original(proposal),
        ):
            self._refuse(view, now)
            return
        if not self.config.ledger.executed(hash_):
            self._execute(block)
            return
        if not self._is_timely(proposal, arrived, now):
            return
        place = self._round(view)
        if (
            not self.signing
            or self.quiet
            or not rules.may_notarize(
                view=view,
                final_view=self.final.view,
                from_leader=True,
                parent_proven=True,
                gap_nullified=True,
                boundary_legal=True,
                own_notarize=place.notarized is not None,
            )
        ):
            return
        subject = proposal.subject()
        place.notarized = subject
        self._do(Log(self.epoch.number, SeenProposal(proposal)))
        self._vote(subject)

    def _is_timely(self, proposal: Proposal, arrived: int, now: int) -> bool:
        """Check the block's time against the clock, unless a quorum did or it is an old block."""
        proof = self.certificates.proof_of(proposal.view)
        if proof is not None and proof.block_hash == proposal.block.header.hash():
            return True
        if not is_original(proposal):
            return True
        timestamp = self.config.ledger.block_time(proposal.block) or 0
        pace = self.config.pace
        if timestamp > now + pace.precision:
            wait = min(timestamp - now - pace.precision, pace.longest)
            self._set(TimerKind.TIMELY, proposal.view, wait)
            return False
        return arrived <= pace.latest_arrival(timestamp, len(proposal.skipped))
