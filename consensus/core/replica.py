"""A validator within one epoch: the rules R0 to R9 as transitions; see README.md.

Methods append to `actions`, the participant's list, in the order in which things are to be done.
Nothing here reads a clock: the time comes with the event.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain

from consensus.core import rules
from consensus.core.actions import (
    Action,
    Ask,
    Broadcast,
    Build,
    Cast,
    Execute,
    Fault,
    Finalize,
    Log,
    Penalise,
    Report,
    SetBest,
    SetTimer,
    StopSigning,
)
from consensus.core.certificates import FINALIZE, NOTARIZE, NULLIFY, CertificateStore, holds
from consensus.core.digest import certificate_hash, justification_hash, vrf_alpha
from consensus.core.events import Peer, Timer, TimerKind, Verdict
from consensus.core.evidence import EvidenceKind, votes_in
from consensus.core.messages import (
    BlocksRequest,
    CertificateNotice,
    CertificatesRequest,
    Message,
    Proposal,
    Vote,
    encode_message,
)
from consensus.core.pool import VotePool
from consensus.core.ports import FinalRef, ParticipantConfig
from consensus.core.proposing import (
    Flaw,
    find_flaw,
    inline,
    is_original,
    is_whole,
    parent_hash,
    parent_signers,
)
from consensus.core.records import (
    EpochOpened,
    Floor,
    OwnVote,
    Record,
    SeenCertificate,
    SeenProposal,
)
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate, Subject, VoteKind, vote_bytes
from runtime.primitives.digest import find_claim, find_next_epoch
from runtime.primitives.header import Block, Header

RETENTION = 8
"""Views below the last final one whose votes and certificates are kept."""
LOOKAHEAD = 64
"""Views above the current one whose votes are kept."""
STANDSTILL_BYTES = 256 << 10
"""Most that one standstill sends again."""
LOSERS = 16
"""For so many views the blocks of a view that was given up are kept."""
CROWD = 7
"""Up to so many validators everybody passes a new certificate on; in larger sets a few do."""
RELAYS = 3
WALK = 4
"""A gap of so many blocks below a final one is fetched block by block, a larger one in ranges."""

LONGEST_WALK = 256
"""So many notarized blocks without a final one are fetched block by block at most."""

_Plan = tuple[int, Certificate | None, tuple[bytes, ...], tuple[Certificate, ...]]


@dataclass(slots=True)
class Round:
    """What this validator knows of a view beside votes and certificates."""

    proposals: list[tuple[Proposal, int]] = field(default_factory=list)
    """With the time of arrival (unix ms): the leader's first, and one that contradicts it."""
    notarized: Subject | None = None
    nullified: bool = False
    finalized: bool = False
    own: Proposal | None = None
    building: bool = False
    refused: bool = False
    """The proposal is invalid: this view deserves to be given up."""


class Replica:
    """One validator in one epoch."""

    def __init__(
        self,
        config: ParticipantConfig,
        epoch: Epoch,
        final: FinalRef,
        now: int,
        actions: list[Action],
    ) -> None:
        self.config = config
        self.epoch = epoch
        self.me = None if config.public is None else epoch.validators.position(config.public)
        self.signing = False
        """Whether it votes; see `allow_signing`."""
        self.final = final
        self.stored = final.number
        """The number of the last block that is final on the disk."""
        self.view = 0
        self.pool = VotePool(epoch.validators)
        self.certificates = CertificateStore()
        self.rounds: dict[int, Round] = {}
        self.blocks: dict[bytes, Block] = {}
        self.executing: set[bytes] = set()
        self.invalid: set[bytes] = set()
        self.wanted: dict[bytes, None] = {}
        self.stopped = False
        """A vote of this key was seen that the log lacks."""
        self.actions = actions
        self.ended: Certificate | None = None
        """The finalization of the block that ends the epoch."""
        self.quiet = False
        """The epoch is over: serve, but vote no more."""
        self.may_end = False
        """The next epoch's log was asked for: the block that ends this one may be stored."""
        self._finalizing: Certificate | None = None
        self.finalize_issued = final.number
        self._best = final.hash
        self._heard = dict.fromkeys(range(len(epoch.validators)), now)
        self._known_from = final.view
        self._cast: dict[tuple[int, int], Subject] = {}
        """All own votes of the epoch, by view and kind, those of final views too."""
        self._standstill_cursor = 0
        self._finality_mark = final.view
        self._asked: set[CertificatesRequest] = set()
        self._plan: _Plan | None = None
        if final.certificate is not None and final.view:
            self.certificates.add(final.certificate)

    # --- starting -------------------------------------------------------------------------

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

    def _mark_own(self, vote: Vote) -> None:
        place = self._round(vote.view)
        self._cast[vote.view, vote.kind] = vote.subject()
        if vote.kind == NOTARIZE:
            place.notarized = vote.subject()
        elif vote.kind == NULLIFY:
            place.nullified = True
        else:
            place.finalized = True

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

    def stop_signing(self) -> None:
        """Vote no more in this epoch."""
        self.signing = False

    # --- R0: views ------------------------------------------------------------------------

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
        if self.epoch.leader(view) == self.me:
            self._set(TimerKind.PROPOSE, view, self._pause(now))
        elif self._is_silent(self.epoch.leader(view), now):
            self._nullify(view)

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

    def _is_silent(self, leader: int, now: int) -> bool:
        """Tell whether a leader was not heard for long while a quorum was (R5, skip policy)."""
        horizon = now - self.config.pace.skip
        if leader == self.me or self._heard[leader] > horizon:
            return False
        active = [who for who, when in self._heard.items() if when > horizon or who == self.me]
        validators = self.epoch.validators
        return rules.is_certificate(validators.weight_of(active), validators.quorum)

    # --- timers ---------------------------------------------------------------------------

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

    def _set(self, kind: TimerKind, view: int, delay: int) -> None:
        self._do(SetTimer(Timer(kind, self.epoch.number, view), delay))

    # --- R1: proposing --------------------------------------------------------------------

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

    # --- proposals ------------------------------------------------------------------------

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
        vote = Vote(*_vote_fields(subject), leader, proposal.signature)
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

    def _take_certified(self, block: Block, now: int) -> bool:
        """Take the block of the last final view, if it comes behind its certificate."""
        certificate = self._finalizing
        hash_ = block.header.hash()
        if certificate is None or certificate.block_hash != hash_ or hash_ in self.blocks:
            return False
        if not self.config.ledger.is_whole(block):
            return False
        self.wanted.pop(hash_, None)
        self.blocks[hash_] = block
        self.advance(now)
        return True

    def _keep_proposal(self, proposal: Proposal, now: int) -> None:
        place = self._round(proposal.view)
        if len(place.proposals) >= 2 or proposal.view > self.view + LOOKAHEAD:
            return
        place.proposals.append((proposal, now))
        self.blocks.setdefault(proposal.block.header.hash(), proposal.block)

    def _refuse(self, view: int, now: int) -> None:
        """Give a view up whose leader's proposal is invalid whoever looks at it."""
        if view <= self.view + LOOKAHEAD:
            self._round(view).refused = True
            self._nullify(view)

    # --- R2: notarizing -------------------------------------------------------------------

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

    # --- executing and fetching -----------------------------------------------------------

    def _execute(self, block: Block) -> None:
        """Execute a block whose parent is executed; else its parent first, if that is here."""
        while True:
            hash_ = block.header.hash()
            if hash_ in self.executing or hash_ in self.invalid:
                return
            parent = block.header.parent_hash
            if self.config.ledger.executed(parent):
                break
            held = self.blocks.get(parent)
            if held is None:
                self._want_parent(block)
                return
            block = held
        self.executing.add(hash_)
        self._do(Execute(block))

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

    def _execute_certified(self) -> None:
        """Execute, or fetch, the blocks of all notarized views above the last final one."""
        for view in range(self.final.view + 1, self.certificates.highest_view() + 1):
            proof = self.certificates.proof_of(view)
            if proof is not None and not self.config.ledger.executed(proof.block_hash):
                block = self.blocks.get(proof.block_hash)
                if block is None:
                    self.want(proof.block_hash)
                else:
                    self._execute(block)

    def add_block(self, block: Block, now: int) -> bool:
        """Take a block that was asked for; False where nobody asked, or its body is another's."""
        hash_ = block.header.hash()
        if hash_ not in self.wanted or not self.config.ledger.is_whole(block):
            return False
        del self.wanted[hash_]
        self.blocks[hash_] = block
        if not self.config.ledger.executed(block.header.parent_hash):
            self._want_parent(block)
        self.advance(now)
        return True

    def _want_parent(self, block: Block) -> None:
        """Walk down block by block, unless the gap is left to fetching in ranges."""
        final = self._finalizing
        far = final is not None and final.number > self.stored + WALK
        if not far and self.stored + 1 < block.header.number <= self.stored + LONGEST_WALK:
            self.want(block.header.parent_hash)

    def want(self, hash_: bytes) -> None:
        """Ask for a block, and again until it comes."""
        if hash_ in self.wanted or hash_ in self.blocks or self.config.ledger.executed(hash_):
            return
        if not self.wanted:
            self._set(TimerKind.FETCH, 0, self.config.pace.retry)
        self.wanted[hash_] = None
        self._do(Ask(BlocksRequest((hash_,))))

    def _fetch_wanted(self) -> None:
        self._asked.clear()
        for hash_ in [h for h in self.wanted if self.config.ledger.executed(h)]:
            del self.wanted[hash_]
        if self.wanted:
            self._do(Ask(BlocksRequest(tuple(list(self.wanted)[:16]))))
            self._set(TimerKind.FETCH, 0, self.config.pace.retry)

    def _ask_certificates(self, first: int, last: int) -> None:
        """Ask for certificates, the same ones not again before the retry time is over."""
        request = CertificatesRequest(self.epoch.number, first, last)
        if request in self._asked:
            return
        if not self._asked:
            self._set(TimerKind.FETCH, 0, self.config.pace.retry)
        self._asked.add(request)
        self._do(Ask(request))

    # --- votes ----------------------------------------------------------------------------

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

    def _is_signed(self, vote: Vote) -> bool:
        subject = vote.subject()
        if subject.kind is NULLIFY and subject != Subject(NULLIFY, vote.epoch, vote.view):
            return False
        public = self.epoch.validators.members[vote.signer].public
        message = vote_bytes(self.config.domain, subject)
        return self.config.crypto.verify(public, message, vote.signature)

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

    def _note(self, vote: Vote) -> None:
        """Count a verified vote; report what it contradicts."""
        if vote.signer == self.me and not self._is_own(vote):
            self._double(vote)
        for evidence in self.pool.add(vote):
            self._do(Report(evidence))
            leads = vote.signer == self.epoch.leader(vote.view)
            if evidence.kind == EvidenceKind.CONFLICTING_NOTARIZE and leads:
                self._nullify(vote.view)

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

    def _count_votes_in(self, certificate: Certificate) -> None:
        for vote in votes_in(certificate):
            self._note(vote)

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

    # --- R3: certificates -----------------------------------------------------------------

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

    # --- R4, R5 ---------------------------------------------------------------------------

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

    # --- R6: finality ---------------------------------------------------------------------

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

    # --- R7, R8: saying it again ----------------------------------------------------------

    def _retry(self, view: int) -> None:
        """R7: in a view that was given up, repeat the own votes and what opened the view."""
        place = self._round(view)
        if not place.nullified:
            return
        for message in chain(self._own_votes(view), self._entry(view)):
            self._do(Broadcast(message))
        self._set(TimerKind.RETRY, view, self.config.pace.retry)

    def _entry(self, view: int) -> list[Message]:
        for kind in (FINALIZE, NULLIFY, NOTARIZE):
            certificate = self.certificates.get(kind, view - 1)
            if certificate is not None:
                return [CertificateNotice(certificate)]
        return []

    def _own_votes(self, view: int) -> list[Message]:
        if self.me is None:
            return []
        votes = [self.pool.vote(view, self.me, kind) for kind in VoteKind]
        return [vote for vote in votes if vote is not None]

    def _standstill(self) -> None:
        """R8: nothing became final for long; send again what is undecided."""
        if self.final.view == self._finality_mark:
            self._resend_all()
        self._finality_mark = self.final.view
        self._set(TimerKind.STANDSTILL, 0, self.config.pace.standstill)

    def _resend_all(self) -> None:
        """Send the undecided again, at most `STANDSTILL_BYTES`, the next time where it stopped."""
        if self.me is None:
            return
        messages: list[Message] = []
        final = self.certificates.highest_final
        if final is not None:
            messages.append(CertificateNotice(final))
        for view in range(self.final.view + 1, self.view + 1):
            messages += map(CertificateNotice, self.certificates.between(view, view))
            place = self.rounds.get(view)
            if place is not None and place.own is not None and any(place.own.signature):
                messages.append(place.own)
            messages += self._own_votes(view)
        left = STANDSTILL_BYTES
        start = self._standstill_cursor if self._standstill_cursor < len(messages) else 0
        self._standstill_cursor = 0
        for index, message in enumerate(messages[start:], start):
            left -= len(encode_message(message))
            if left < 0 and index > start:
                self._standstill_cursor = index
                return
            self._do(Broadcast(message))

    # --- reading --------------------------------------------------------------------------

    def _vote(self, subject: Subject) -> None:
        self._cast[subject.view, subject.kind] = subject
        self._do(Cast(subject))

    def _do(self, action: Action) -> None:
        self.actions.append(action)

    def _round(self, view: int) -> Round:
        return self.rounds.setdefault(view, Round())

    def _block(self, hash_: bytes) -> Block | None:
        return self.blocks.get(hash_) or self.config.ledger.block(hash_)

    def _header(self, hash_: bytes) -> Header | None:
        block = self.blocks.get(hash_)
        return block.header if block is not None else self.config.ledger.header(hash_)

    def _is_boundary(self, hash_: bytes) -> bool:
        """Tell whether a block ends this epoch; the block that it starts from does not."""
        if hash_ == self.epoch.start_hash:
            return False
        header = self._header(hash_)
        return header is not None and find_next_epoch(header.digest) is not None

    def _time_of(self, hash_: bytes) -> int:
        if self.config.ledger.executed(hash_):
            return self.config.ledger.time(hash_)
        block = self.blocks.get(hash_)
        return (self.config.ledger.block_time(block) or 0) if block is not None else 0

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


def _vote_fields(subject: Subject) -> tuple[VoteKind, int, int, int, int, bytes]:
    return (
        subject.kind,
        subject.epoch,
        subject.view,
        subject.parent_view,
        subject.number,
        subject.block_hash,
    )
