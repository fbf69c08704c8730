"""A validator within one epoch: entering views (R0), certificates (R3), finality (R6).

The other rules stand in the classes below: `Fetching`, `Voting` (R4, R5), `Leading` (R1),
`Repeating` (R7, R8), `Judging` (R2). README.md explains the numbers.
"""

from __future__ import annotations

from dataclasses import replace

from consensus.core import rules
from consensus.core.actions import Broadcast, Fault, Finalize, Log, Penalise, SetBest
from consensus.core.certificates import FINALIZE, NOTARIZE, NULLIFY, holds
from consensus.core.events import Peer, Timer, TimerKind, Verdict
from consensus.core.judging import Judging
from consensus.core.messages import CertificateNotice, Proposal, Vote
from consensus.core.ports import FinalRef
from consensus.core.records import (
    EpochOpened,
    Floor,
    OwnVote,
    Record,
    SeenCertificate,
    SeenProposal,
)
from consensus.core.state import LOOKAHEAD, WALK
from consensus.core.votes import Certificate, VoteKind

RETENTION = 8
"""Views below the last final one whose votes and certificates are kept."""
LOSERS = 16
"""For so many views the blocks of a view that was given up are kept."""
CROWD = 7
"""Up to so many validators everybody passes a new certificate on; in larger sets a few do."""
RELAYS = 3


class Replica(Judging):
    """One validator in one epoch."""

    def start(self, records: tuple[Record, ...], now: int) -> None:
        """Take up the log, loop the own votes back (R9), and enter the first open view."""
        for record in records:
            self._replay(record)
        self._sign_replayed()
        for held in self.certificates.between(1, self.certificates.highest_view()):
            if held.kind == FINALIZE and held.view > self.final.view:
                self._adopt_final(held)
        self._enter(max(self.final.view, self.certificates.highest_view()) + 1, now)
        self._set(TimerKind.STANDSTILL, 0, self.config.pace.standstill)
        for certificate in self.pool.complete():
            if certificate.view > self.final.view:
                self._store(certificate, now)
        self.advance(now)

    def _replay(self, record: Record) -> None:
        match record:
            case OwnVote(vote):
                self._mark_own(vote)
                self._note(vote)
            case SeenCertificate(certificate) | Floor(certificate):
                self.certificates.add(certificate)
                self._count_votes_in(certificate)
            case SeenProposal(proposal):
                self._replay_proposal(proposal)
            case EpochOpened():
                pass

    def _replay_proposal(self, proposal: Proposal) -> None:
        place = self._round(proposal.view)
        block = proposal.block
        self.blocks[block.header.hash()] = block
        if proposal.parent is not None:
            self.certificates.add(proposal.parent)
        for certificate in proposal.nullifications:
            self.certificates.add(certificate)
        if self.epoch.leader(proposal.view) == self.me:
            place.own = proposal
        place.proposals.append((proposal, self.config.ledger.block_time(block) or 0))

    def _sign_replayed(self) -> None:
        """Put the signatures back under the own proposals: the log has them as votes."""
        for place in self.rounds.values():
            if place.own is None or self.me is None:
                continue
            vote = self.pool.vote(place.own.view, self.me, NOTARIZE)
            if vote is not None and vote.subject() == place.own.subject():
                place.own = replace(place.own, signature=vote.signature)
                place.proposals = [(place.own, arrived) for _, arrived in place.proposals]

    def allow_signing(self, now: int) -> None:
        """Start to vote: what waited for it is tried now."""
        if self.me is None or self.signing or self.stopped:
            return
        self.signing = True
        self._arm(now)
        for view in sorted(self.rounds):
            self._try_finalize(view)
        self.advance(now)
        self._resend_all()

    def _enter(self, view: int, now: int) -> None:
        """R0."""
        final = self.certificates.highest_final
        if view != 1 and not rules.may_enter(
            view,
            self.view,
            notarized=self.certificates.get(NOTARIZE, view - 1) is not None,
            nullified=self.certificates.nullified(view - 1),
            finalized_from=max(self.final.view, final.view if final else 0),
        ):
            return
        if view <= self.view:
            return
        self.view = view
        self._drop_loser(view - LOSERS)
        self._arm(now)

    def _drop_loser(self, view: int) -> None:
        """Forget the blocks of a view that was given up long ago."""
        place = self.rounds.get(view)
        if place is None or self.certificates.proof_of(view) is not None:
            return
        for proposal, _ in place.proposals:
            self.blocks.pop(proposal.block.header.hash(), None)
        place.proposals.clear()

    def _arm(self, now: int) -> None:
        """Set the timers of the current view."""
        if self.quiet:
            return
        pace, view = self.config.pace, self.view
        failed = view - self.final.view
        self._set(TimerKind.LEADER, view, pace.backed_off(pace.leader, failed))
        self._set(TimerKind.CERTIFICATE, view, pace.backed_off(pace.certificate, failed))
        place = self._round(view)
        if place.nullified:
            self._set(TimerKind.RETRY, view, pace.retry)
        if place.refused:
            self._nullify(view)
        if self.epoch.leader(view) == self.me:
            self._set(TimerKind.PROPOSE, view, self._pause(now))
        elif self._is_silent(self.epoch.leader(view), now):
            self._nullify(view)

    def on_timer(self, timer: Timer, now: int) -> None:
        """Act on a timer of this epoch."""
        kind, view = timer.kind, timer.view
        if kind is TimerKind.STANDSTILL:
            self._standstill()
        elif kind is TimerKind.FETCH:
            self._fetch_wanted()
            self.advance(now)
        elif self.quiet:
            return
        elif kind is TimerKind.TIMELY:
            self._try_notarize(view, now)
        elif view != self.view:
            return
        elif kind is TimerKind.PROPOSE:
            self._propose(view)
        elif kind is TimerKind.LEADER:
            if not self._round(view).proposals:
                self._nullify(view)
        elif kind is TimerKind.CERTIFICATE:
            self._nullify(view)
        elif kind is TimerKind.RETRY:
            self._retry(view)

    def on_executed(self, hash_: bytes, verdict: Verdict, now: int) -> None:
        """Go on with what waited for the block."""
        self.executing.discard(hash_)
        if verdict is Verdict.INVALID:
            self.invalid.add(hash_)
            for view, place in sorted(self.rounds.items()):
                if any(p.block.header.hash() == hash_ for p, _ in place.proposals):
                    self._refuse(view, now)
        if verdict is Verdict.UNAVAILABLE:
            self._set(TimerKind.FETCH, 0, self.config.pace.retry)
        if verdict is Verdict.VALID:
            self.advance(now)

    def advance(self, now: int) -> None:
        """Try everything that waits for a block, a certificate or its turn."""
        self._push_finality()
        for view in sorted(self.rounds):
            self._try_notarize(view, now)
        self._execute_certified()
        self._choose_best()
        place = self.rounds.get(self.view)
        if (
            place is not None
            and self.epoch.leader(self.view) == self.me
            and not (place.building or place.own or place.nullified or place.notarized)
            and not self.quiet
        ):
            self._set(TimerKind.PROPOSE, self.view, self._pause(now))

    def on_vote(self, peer: Peer, vote: Vote, now: int) -> None:
        """R10, then count a vote."""
        if (
            vote.signer >= len(self.epoch.validators)
            or vote.kind > FINALIZE
            or self.pool.holds(vote)
            or not rules.admits(
                view=vote.view,
                final_view=self.final.view,
                current=self.view,
                retention=RETENTION,
                lookahead=LOOKAHEAD,
            )
        ):
            return
        if not self._is_signed(vote):
            self._do(Penalise(peer, Fault.BAD_SIGNATURE, f"a vote for view {vote.view}"))
            return
        self._heard[vote.signer] = now
        self._count(vote, now)

    def _count(self, vote: Vote, now: int) -> None:
        """Add a verified vote, and act on what it completes."""
        self._note(vote)
        subject = vote.subject()
        if subject.kind is NULLIFY and vote.signer == self.epoch.leader(vote.view):
            self._nullify(vote.view)
        if (
            subject.view > self.final.view
            and self.certificates.get(subject.kind, subject.view) is None
        ):
            complete = self.pool.certificate(subject)
            if complete is not None:
                self._store(complete, now)
                self._pass_on(complete)

    def on_signed(self, vote: Vote, now: int) -> None:
        """R9: an own vote is on the disk; show it, and count it like any other."""
        place = self._round(vote.view)
        own = place.own
        if vote.kind == NOTARIZE and own is not None and own.subject() == vote.subject():
            shown = replace(own, signature=vote.signature)
            place.own = shown
            self._keep_proposal(shown, self.config.ledger.block_time(shown.block) or now)
            self._do(Broadcast(shown))
        else:
            self._do(Broadcast(vote))
        self._count(vote, now)
        self._try_finalize(vote.view)

    def take_certificate(
        self, peer: Peer, certificate: Certificate, now: int, *, attached: bool = False
    ) -> bool:
        """Take a certificate from somebody else; False where it does not hold.

        attached: it stands in a proposal, whose header names its signers, so that another one of
        the same subject does not speak for it.
        """
        if certificate.kind > FINALIZE:
            return False
        kind = VoteKind(certificate.kind)
        held = self.certificates.get(kind, certificate.view)
        if certificate == held:
            return True
        if held is not None and held.subject() == certificate.subject():
            return not attached or self._holds(certificate)
        if certificate.view < self.final.view and held is None:
            return self._holds(certificate)
        if not self._holds(certificate):
            self._do(
                Penalise(peer, Fault.BAD_CERTIFICATE, f"{kind.name} of view {certificate.view}")
            )
            return False
        self._count_votes_in(certificate)
        if held is None:
            self._store(certificate, now)
        return True

    def _holds(self, certificate: Certificate) -> bool:
        return holds(certificate, self.config.domain, self.epoch, self.config.crypto, self.pool)

    def _store(self, certificate: Certificate, now: int) -> None:
        """R3: keep and log a certificate, and act on it."""
        if not self.certificates.add(certificate):
            return
        self._do(Log(self.epoch.number, SeenCertificate(certificate)))
        if certificate.kind == FINALIZE and certificate.view > self.final.view:
            self._adopt_final(certificate)
        self._enter(certificate.view + 1, now)
        self._try_finalize(certificate.view)
        self.advance(now)

    def _pass_on(self, certificate: Certificate) -> None:
        """Show a certificate that was completed here.

        In a large set only a few do, other ones for each view: whoever misses it gets it from them,
        with the next proposal, or from R7 and R8.
        """
        count = len(self.epoch.validators)
        if self.me is None:
            return
        turn = (self.me - certificate.view * RELAYS) % count
        leads_next = self.epoch.leader(certificate.view + 1) == self.me
        if count <= CROWD or turn < RELAYS or leads_next:
            self._do(Broadcast(CertificateNotice(certificate)))

    def _adopt_final(self, certificate: Certificate) -> None:
        """R6: the block and its ancestors are final; store that as soon as they are executed."""
        self.final = FinalRef(
            certificate.view, certificate.number, certificate.block_hash, certificate
        )
        self._finalizing = certificate
        keep_from = certificate.view - RETENTION
        self.pool.prune(keep_from)
        self.certificates.prune(keep_from)
        for view in [view for view in self.rounds if view < keep_from]:
            del self.rounds[view]
        if certificate.number > self.stored + WALK:
            self._drop_far_blocks()
        self._set(TimerKind.STANDSTILL, 0, self.config.pace.standstill)

    def _drop_far_blocks(self) -> None:
        """Keep the blocks of the last views only: those below are fetched in ranges."""
        kept = {p.block.header.hash() for r in self.rounds.values() for p, _ in r.proposals}
        self.blocks = {h: block for h, block in self.blocks.items() if h in kept}

    def _push_finality(self) -> None:
        certificate = self._finalizing
        if certificate is None:
            return
        hash_ = certificate.block_hash
        if not self.config.ledger.executed(hash_):
            block = self.blocks.get(hash_)
            if block is not None:
                self._execute(block)
            elif certificate.number <= self.stored + WALK:
                self.want(hash_)
            return
        if self._is_boundary(hash_):
            self.ended = certificate
            self.quiet = True
            if not self.may_end:
                return
        self._finalizing = None
        if certificate.number > self.finalize_issued:
            self.finalize_issued = certificate.number
            self._do(Finalize(hash_, certificate))

    def end(self) -> None:
        """Store the block that ends the epoch: the log of the next one was asked for."""
        self.may_end = True
        self._push_finality()

    @property
    def unfinalized(self) -> Certificate | None:
        """The finalization whose block is not executed here yet."""
        return self._finalizing

    def on_stored(self, number: int, now: int) -> None:
        """Forget the blocks that are on the disk now."""
        self.stored = max(self.stored, number)
        for hash_ in [h for h, b in self.blocks.items() if b.header.number <= self.stored]:
            del self.blocks[hash_]
        self.invalid &= self.blocks.keys()
        for hash_ in list(self.wanted):
            if self.config.ledger.executed(hash_):
                del self.wanted[hash_]
        self.advance(now)

    def _choose_best(self) -> None:
        """Make the executed block of the highest notarized view the tip."""
        for view in range(self.certificates.highest_view(), self.final.view, -1):
            proof = self.certificates.proof_of(view)
            if proof is not None and self.config.ledger.executed(proof.block_hash):
                self._set_best(proof.block_hash)
                return
        if self.config.ledger.executed(self.final.hash):
            self._set_best(self.final.hash)

    def _set_best(self, hash_: bytes) -> None:
        if hash_ != self._best:
            self._best = hash_
            self._do(SetBest(hash_))
