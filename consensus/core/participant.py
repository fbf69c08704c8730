"""A validator, or a node that follows: replicas epoch by epoch, and the way to catch up."""

from __future__ import annotations

from consensus.core.actions import (
    Action,
    Broadcast,
    CloseEpoch,
    Send,
    SetTimer,
    StopSigning,
)
from consensus.core.answers import Answers
from consensus.core.catchup import FETCH_VIEW, CatchUp
from consensus.core.events import (
    BlockBuilt,
    BlockExecuted,
    EpochReady,
    Event,
    FinalityStored,
    Peer,
    PeerJoined,
    PeerLeft,
    Received,
    Responded,
    SigningAllowed,
    Started,
    Timer,
    TimerFired,
    TimerKind,
    VoteRefused,
    VoteSigned,
)
from consensus.core.messages import (
    MAX_CERTIFICATES,
    MAX_EPOCH_PROOFS,
    CertificateNotice,
    CertificatesRequest,
    EpochProofsRequest,
    FinalityRequest,
    Message,
    Proposal,
    Status,
    Vote,
)
from consensus.core.replica import Replica
from consensus.core.state import WALK
from consensus.core.votes import Certificate

EARLY = 32
"""Messages of a peer that wait until the next epoch is open, one proposal among them."""


class Participant(Answers):
    """Events in, actions out; see `handle`."""

    def status(self) -> Status:
        """Tell how far this node is."""
        replica = self._replica()
        final = replica.final
        return Status(replica.epoch.number, replica.view, final.view, final.number, final.hash)

    def certificates(self, epoch: int, first: int, last: int) -> tuple[Certificate, ...]:
        """List the certificates held of an epoch's views first..last."""
        replica = self._of_epoch(epoch)
        held = [] if replica is None else replica.certificates.between(first, last)
        return tuple(held[-MAX_CERTIFICATES:])

    def votes_of(self, epoch: int, signer: int) -> tuple[Vote, ...]:
        """List the votes held of a signer in an epoch."""
        replica = self._of_epoch(epoch)
        return () if replica is None else replica.pool.of_signer(signer)

    @property
    def signing(self) -> bool:
        """Whether this validator votes."""
        return self.current is not None and self.current.signing

    def handle(self, event: Event, now: int) -> list[Action]:
        """Take an event (now: unix ms) and return what is to be done, in order."""
        match event:
            case Started(records):
                config = self.config
                self.current = Replica(config, config.epoch, config.final, now, self._actions)
                self.current.start(records, now)
                self._tell_status()
            case Received(peer, message):
                self._receive(peer, message, now)
            case TimerFired(timer):
                self._fire(timer, now)
            case VoteSigned(vote):
                replica = self._of_epoch(vote.epoch)
                if replica is not None:
                    replica.on_signed(vote, now)
            case BlockBuilt(epoch, view, block):
                replica = self._of_epoch(epoch)
                if replica is not None:
                    replica.on_built(view, block, now)
            case BlockExecuted(block_hash, verdict):
                if self.catch_up is not None:
                    self.catch_up.on_executed(block_hash, verdict)
                self._replica().on_executed(block_hash, verdict, now)
            case FinalityStored(_, number):
                self._stored(number, now)
            case Responded():
                self._respond(event, now)
            case EpochReady(epoch, signing):
                self._epoch_ready(epoch, signing, now)
            case SigningAllowed():
                self._listening = False
                self._allow_signing(now)
            case PeerJoined(peer):
                self._peers[peer] = None
                self._actions.append(Send(peer, self.status()))
            case PeerLeft(peer):
                self._peers.pop(peer, None)
                self._shown.pop(peer, None)
                self._early = [(sender, kept) for sender, kept in self._early if sender != peer]
            case VoteRefused():
                pass
        self._pump(now)
        return self._taken()

    def _taken(self) -> list[Action]:
        """Take away what all parts want done, in the order in which they said so."""
        if self.catch_up is not None and self.catch_up.done and self.catch_up.failed is None:
            self.catch_up = None
        taken = list(self._actions)
        self._actions.clear()
        return taken

    def _receive(self, peer: Peer, message: Message, now: int) -> None:
        if isinstance(message, Status):
            self._on_status(peer, message)
            return
        notice = message.certificate if isinstance(message, CertificateNotice) else None
        epoch = message.epoch if isinstance(message, Vote | Proposal) else _epoch_of(notice)
        replica = self._replica()
        if epoch == replica.epoch.number:
            self._deliver(replica, peer, message, now)
        elif epoch == replica.epoch.number + 1:
            self._keep_early(peer, message)
        elif self.previous is not None and epoch == self.previous.epoch.number:
            self._answer_late(self.previous, peer, message, now)

    def _keep_early(self, peer: Peer, message: Message) -> None:
        """Keep some of what belongs to the next epoch; R8 brings the rest again."""
        mine = [kept for sender, kept in self._early if sender == peer]
        proposals = sum(isinstance(kept, Proposal) for kept in mine)
        if len(mine) < EARLY and not (proposals and isinstance(message, Proposal)):
            self._early.append((peer, message))

    def _deliver(self, replica: Replica, peer: Peer, message: Message, now: int) -> None:
        match message:
            case Vote():
                replica.on_vote(peer, message, now)
            case CertificateNotice(certificate):
                replica.take_certificate(peer, certificate, now)
            case Proposal():
                replica.on_proposal(peer, message, now)
            case Status():
                pass

    def _answer_late(self, old: Replica, peer: Peer, message: Message, now: int) -> None:
        """Show somebody who is still in the old epoch how it ended; its votes are evidence yet."""
        if isinstance(message, Vote):
            old.on_vote(peer, message, now)
        asks = peer in self._peers and not isinstance(message, CertificateNotice)
        due = now >= self._shown.get(peer, 0) + self.config.pace.retry
        if asks and due and old.ended is not None:
            self._shown[peer] = now
            self._actions.append(Send(peer, CertificateNotice(old.ended)))

    def _on_status(self, peer: Peer, status: Status) -> None:
        """Ask a peer that is ahead; help one that is behind."""
        if peer in self._peers:
            self._peers[peer] = status
        replica = self._replica()
        epoch, final = replica.epoch.number, replica.final
        if status.epoch > epoch:
            self._ask(EpochProofsRequest(epoch, MAX_EPOCH_PROOFS), peer)
        elif status.epoch < epoch:
            old = self.previous
            if old is not None and old.ended is not None and status.epoch == old.epoch.number:
                self._actions.append(Send(peer, CertificateNotice(old.ended)))
        elif status.final_view > final.view:
            self._ask(FinalityRequest(), peer)
        else:
            if status.view > replica.view:
                self._ask(CertificatesRequest(epoch, final.view + 1, status.view), peer)
            if status.final_view < final.view and final.certificate is not None:
                self._actions.append(Send(peer, CertificateNotice(final.certificate)))

    def _fire(self, timer: Timer, now: int) -> None:
        if timer.kind is TimerKind.STATUS:
            self._tell_status()
            return
        if timer.kind is TimerKind.LISTEN:
            self._heard_nothing(timer.epoch, now)
            return
        if timer.kind is TimerKind.FETCH and timer.view == FETCH_VIEW:
            if self.catch_up is not None and self.catch_up.target.epoch == timer.epoch:
                self.catch_up.on_timer()
            return
        replica = self._of_epoch(timer.epoch)
        if replica is not None:
            replica.on_timer(timer, now)

    def _tell_status(self) -> None:
        self._actions.append(Broadcast(self.status()))
        self._actions.append(SetTimer(Timer(TimerKind.STATUS, 0, 0), self.config.pace.status))

    def _pump(self, now: int) -> None:
        """Start to catch up where a final block is far ahead; open the next epoch when due."""
        replica = self._replica()
        if self.catch_up is None:
            target = replica.unfinalized
            far = target is not None and target.number > replica.stored + WALK
            if far and target and not self.config.ledger.executed(target.block_hash):
                base = self.config.ledger.block_hash(replica.stored)
                if base is not None:
                    self.catch_up = CatchUp(
                        target,
                        replica.stored,
                        base,
                        self.config.ledger,
                        self.config.pace.retry,
                        self._actions,
                    )
        elif self.catch_up.failed is not None and not replica.stopped:
            replica.stop_signing()
            self._actions.append(StopSigning(replica.epoch.number, self.catch_up.failed))
        self._open_next(replica)
        self._enter_next(replica, now)

    def _stored(self, number: int, now: int) -> None:
        replica = self._replica()
        replica.on_stored(number, now)
        if self.previous is not None and number > replica.epoch.start_number:
            self._actions.append(CloseEpoch(self.previous.epoch.number))
            self.previous = None


def _epoch_of(certificate: Certificate | None) -> int:
    return -1 if certificate is None else certificate.epoch
