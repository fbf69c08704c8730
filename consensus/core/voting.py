"""The own votes, and what others' votes say of them: R4, R5, evidence, doubles."""

from __future__ import annotations

from dataclasses import replace

from consensus.core import rules
from consensus.core.actions import Cast, Report, StopSigning
from consensus.core.certificates import FINALIZE, NOTARIZE, NULLIFY
from consensus.core.events import TimerKind
from consensus.core.evidence import EvidenceKind, votes_in
from consensus.core.fetching import Fetching
from consensus.core.messages import Vote
from consensus.core.state import LOOKAHEAD
from consensus.core.votes import Certificate, Subject, VoteKind, vote_bytes
from runtime.primitives.digest import find_claim
from runtime.primitives.header import Header


class Voting(Fetching):
    """Casts nullify and finalize votes, and notes whose votes contradict each other."""

    def _try_finalize(self, view: int) -> None:
        """R4."""
        place = self.rounds.get(view)
        proof = self.certificates.get(NOTARIZE, view)
        if place is None or proof is None or not self.signing or self.quiet:
            return
        subject = proof.subject()
        own = place.notarized
        if rules.may_finalize(
            view=view,
            final_view=self.final.view,
            notarized=subject.block_hash,
            own_notarize=own.block_hash if own == subject else None,
            own_nullify=place.nullified,
            own_finalize=place.finalized,
        ):
            place.finalized = True
            self._vote(replace(subject, kind=FINALIZE))

    def _nullify(self, view: int) -> None:
        """R5."""
        place = self._round(view)
        if (
            not self.signing
            or self.quiet
            or not rules.may_nullify(
                view=view,
                current=self.view,
                own_nullify=place.nullified,
                own_finalize=place.finalized,
            )
        ):
            return
        place.nullified = True
        self._vote(Subject(NULLIFY, self.epoch.number, view))
        self._set(TimerKind.RETRY, view, self.config.pace.retry)

    def _refuse(self, view: int, now: int) -> None:
        """Give a view up whose leader's proposal is invalid whoever looks at it."""
        if view <= self.view + LOOKAHEAD:
            self._round(view).refused = True
            self._nullify(view)

    def _is_silent(self, leader: int, now: int) -> bool:
        """Tell whether a leader was not heard for long while a quorum was (R5, skip policy)."""
        horizon = now - self.config.pace.skip
        if leader == self.me or self._heard[leader] > horizon:
            return False
        active = [who for who, when in self._heard.items() if when > horizon or who == self.me]
        validators = self.epoch.validators
        return rules.is_certificate(validators.weight_of(active), validators.quorum)

    def _vote(self, subject: Subject) -> None:
        self._cast[subject.view, subject.kind] = subject
        self._do(Cast(subject))

    def _mark_own(self, vote: Vote) -> None:
        place = self._round(vote.view)
        self._cast[vote.view, vote.kind] = vote.subject()
        if vote.kind == NOTARIZE:
            place.notarized = vote.subject()
        elif vote.kind == NULLIFY:
            place.nullified = True
        else:
            place.finalized = True

    def stop_signing(self) -> None:
        """Vote no more in this epoch."""
        self.stopped = True
        self.signing = False

    def _is_signed(self, vote: Vote) -> bool:
        subject = vote.subject()
        if not subject.is_sound():
            return False
        public = self.epoch.validators.members[vote.signer].public
        message = vote_bytes(self.config.domain, subject)
        return self.config.crypto.verify(public, message, vote.signature)

    def _note(self, vote: Vote) -> None:
        """Count a verified vote; report what it contradicts."""
        if vote.signer == self.me and not self._is_own(vote):
            self._double(vote)
        for evidence in self.pool.add(vote):
            self._do(Report(evidence))
            leads = vote.signer == self.epoch.leader(vote.view)
            if evidence.kind == EvidenceKind.CONFLICTING_NOTARIZE and leads:
                self._nullify(vote.view)

    def _count_votes_in(self, certificate: Certificate) -> None:
        for vote in votes_in(certificate):
            self._note(vote)

    def _is_own(self, vote: Vote) -> bool:
        """Tell whether this validator cast a vote; of views before its log it cannot know."""
        return vote.view <= self._known_from or (
            self._cast.get((vote.view, vote.kind)) == vote.subject()
        )

    def _double(self, vote: Vote) -> None:
        """Something else signs with this key, or the log was lost: be silent."""
        if not self.signing and self.stopped:
            return
        self.stopped = True
        self.signing = False
        detail = f"a {VoteKind(vote.kind).name} vote for view {vote.view} that the log lacks"
        self._do(StopSigning(self.epoch.number, detail))

    def saw_header(self, header: Header) -> None:
        """Look for the own signature in a block that was fetched: an old copy of the disk has none.

        A leader's claim names the signers of the parent's certificate.
        """
        claim = find_claim(header.digest)
        if claim is None or self.me is None or claim.epoch != self.epoch.number:
            return
        signers = self.epoch.validators.positions(claim.parent_signers) or []
        if (
            self.me in signers
            and claim.parent_view > self._known_from
            and (claim.parent_view, NOTARIZE) not in self._cast
        ):
            self._double(
                Vote(NOTARIZE, claim.epoch, claim.parent_view, 0, 0, bytes(32), self.me, bytes(64))
            )
