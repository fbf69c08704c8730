"""A validator, or a node that follows: replicas epoch by epoch, and the way to catch up."""

from __future__ import annotations

from consensus.core.actions import (
    Action,
    Ask,
    Broadcast,
    CloseEpoch,
    Fault,
    OpenEpoch,
    Penalise,
    Send,
    SetTimer,
    StopSigning,
)
from consensus.core.catchup import FETCH_VIEW, CatchUp
from consensus.core.certificates import FINALIZE, holds
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
    Blocks,
    BlocksRequest,
    CertificateNotice,
    Certificates,
    CertificatesRequest,
    EpochProof,
    EpochProofs,
    EpochProofsRequest,
    Finality,
    FinalityRequest,
    HeadersRequest,
    Message,
    Proposal,
    Status,
    Vote,
    Votes,
    VotesRequest,
)
from consensus.core.ports import FinalRef, ParticipantConfig
from consensus.core.replica import WALK, Replica
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate
from runtime.primitives.digest import find_next_epoch

EARLY = 32
"""Messages of a peer that wait until the next epoch is open, one proposal among them."""


class Participant:
    """Events in, actions out; see `handle`."""

    def __init__(self, config: ParticipantConfig) -> None:
        self.config = config
        self.current: Replica | None = None
        self.previous: Replica | None = None
        """The epoch before: it serves until something is final in the current one (H4)."""
        self.catch_up: CatchUp | None = None
        self._peers: dict[Peer, Status | None] = {}
        self._early: list[tuple[Peer, Message]] = []
        self._shown: dict[Peer, int] = {}
        """When a peer was told last how the epoch before ended (unix ms)."""
        self._listening = True
        """Until the driver has listened for a double after the start."""
        self._late_listening = False
        self._log_open = False
        self._opening: tuple[Epoch, Certificate] | None = None
        self._next_log_open: bool | None = None
        self._proofs: list[EpochProof] = []
        self._final_epoch = config.epoch.number
        """The highest epoch in which something is known to be final."""
        self._unsure = False
        """Whether that is being asked."""
        self._late = False
        """Whether something was final in the epoch that is being opened."""
        self._actions: list[Action] = []

    # --- reading --------------------------------------------------------------------------

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

    # --- events ---------------------------------------------------------------------------

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

    # --- messages -------------------------------------------------------------------------

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

    def _ask(
        self,
        request: EpochProofsRequest | FinalityRequest | CertificatesRequest | VotesRequest,
        peer: Peer | None,
    ) -> None:
        self._actions.append(Ask(request, peer or None))

    # --- answers --------------------------------------------------------------------------

    def _respond(self, event: Responded, now: int) -> None:
        request, peer, response = event.request, event.peer, event.response
        match request:
            case CertificatesRequest(epoch):
                replica = self._of_epoch(epoch)
                if isinstance(response, Certificates) and replica is not None:
                    for certificate in response.certificates:
                        if certificate.epoch == epoch:
                            replica.take_certificate(peer, certificate, now)
            case VotesRequest(epoch):
                replica = self._of_epoch(epoch)
                if isinstance(response, Votes) and replica is not None:
                    for vote in response.votes:
                        if vote.epoch == epoch:
                            replica.on_vote(peer, vote, now)
            case BlocksRequest():
                if self.catch_up is not None:
                    self.catch_up.on_response(request, peer, response)
                if isinstance(response, Blocks):
                    self._take_blocks(request, response, now)
            case HeadersRequest():
                if self.catch_up is not None:
                    self.catch_up.on_response(request, peer, response)
                    for header in self.catch_up.headers:
                        self._replica().saw_header(header)
            case EpochProofsRequest():
                if isinstance(response, EpochProofs):
                    self._take_proofs(peer, response, now)
            case FinalityRequest():
                self._unsure = False
                if isinstance(response, Finality) and response.proof is not None:
                    self._take_finality(peer, response.proof, now)

    def _take_blocks(self, request: BlocksRequest, response: Blocks, now: int) -> None:
        asked = set(request.hashes)
        for block in response.blocks:
            if block.header.hash() in asked:
                self._replica().add_block(block, now)

    def _take_proofs(self, peer: Peer, response: EpochProofs, now: int) -> None:
        """Check a chain of epochs' ends, each by the validators that the one before announced."""
        replica = self._replica()
        epoch = replica.epoch
        checked: list[EpochProof] = []
        for proof in response.proofs:
            announced = find_next_epoch(proof.header.digest)
            if (
                announced is None
                or announced.epoch != epoch.number + 1
                or not self._proves(proof, epoch)
            ):
                if proof.certificate.epoch >= replica.epoch.number:
                    self._blame(peer, f"no proof of the end of epoch {epoch.number}")
                break
            checked.append(proof)
            self._final_epoch = max(self._final_epoch, epoch.number)
            epoch = epoch.after(announced, proof.header.hash(), proof.header.number)
        if not checked or replica.ended is not None:
            return
        self._proofs = checked
        self._unsure = True
        self._ask(FinalityRequest(), peer)
        self._use_proof(peer, now)

    def _use_proof(self, peer: Peer, now: int) -> None:
        replica = self._replica()
        for proof in self._proofs:
            if proof.certificate.epoch == replica.epoch.number:
                replica.take_certificate(peer, proof.certificate, now)

    def _take_finality(self, peer: Peer, proof: EpochProof, now: int) -> None:
        replica = self._replica()
        epoch = proof.certificate.epoch
        if epoch == replica.epoch.number:
            if self._proves(proof, replica.epoch):
                replica.take_certificate(peer, proof.certificate, now)
            else:
                self._blame(peer, "no proof of the last final block")
            return
        last = self._proofs[-1] if self._proofs else None
        announced = None if last is None else find_next_epoch(last.header.digest)
        if last is not None and announced is not None and announced.epoch == epoch:
            following = replica.epoch.after(announced, last.header.hash(), last.header.number)
            if self._proves(proof, following):
                self._final_epoch = max(self._final_epoch, epoch)

    def _proves(self, proof: EpochProof, epoch: Epoch) -> bool:
        certificate, header = proof.certificate, proof.header
        return (
            certificate.kind == FINALIZE
            and (certificate.block_hash, certificate.number) == (header.hash(), header.number)
            and holds(certificate, self.config.domain, epoch, self.config.crypto)
        )

    def _blame(self, peer: Peer, detail: str) -> None:
        self._actions.append(Penalise(peer, Fault.BAD_RESPONSE, detail))

    # --- timers ---------------------------------------------------------------------------

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

    # --- epochs ---------------------------------------------------------------------------

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
        elif self.catch_up.failed is not None:
            self._actions.append(StopSigning(replica.epoch.number, self.catch_up.failed))
            replica.stop_signing()
        self._open_next(replica)
        self._enter_next(replica, now)

    def _stored(self, number: int, now: int) -> None:
        replica = self._replica()
        replica.on_stored(number, now)
        if self.previous is not None and number > replica.epoch.start_number:
            self._actions.append(CloseEpoch(self.previous.epoch.number))
            self.previous = None

    def _open_next(self, replica: Replica) -> None:
        """H3: the last block of the epoch is final; open the next epoch's log, then enter it.

        The log is asked for in front of storing the block, so that no crash leaves the chain in an
        epoch whose log was never made; the epoch begins when both are on the disk.
        """
        ended = replica.ended
        if ended is None or self._opening is not None or self._unsure:
            return
        header = self.config.ledger.header(ended.block_hash)
        announced = None if header is None else find_next_epoch(header.digest)
        if announced is None:
            return
        following = replica.epoch.after(announced, ended.block_hash, ended.number)
        self._opening = following, ended
        self._late = self._final_epoch > replica.epoch.number
        live = not replica.stopped and (self._log_open or not self._late)
        self._actions.append(OpenEpoch(following, ended, live))
        replica.end()

    def _epoch_ready(self, epoch: int, signing: bool, now: int) -> None:
        if self._opening is None or self._opening[0].number != epoch:
            self._log_open = signing
            self._allow_signing(now)
        else:
            self._next_log_open = signing

    def _enter_next(self, old: Replica, now: int) -> None:
        """Begin the next epoch when its log is open and the block it starts from is stored."""
        if self._opening is None or self._next_log_open is None:
            return
        following, _ = self._opening
        if old.stored < following.start_number:
            return
        signing = self._next_log_open
        self._opening = self._next_log_open = None
        self.previous = old
        final = FinalRef(0, following.start_number, following.start_hash)
        self.current = Replica(self.config, following, final, now, self._actions)
        self.current.start((), now)
        self._final_epoch = max(self._final_epoch, following.number)
        self._log_open = signing
        self._late_listening = False
        if signing and (self._late or self._listening):
            self._listen()
        self._allow_signing(now)
        self._use_proof("", now)
        early, self._early = self._early, []
        for peer, message in early:
            self._receive(peer, message, now)
        self._tell_status()

    def _listen(self) -> None:
        """Listen for the own key before signing in an epoch that others began without this node.

        Its log is new, but an older copy of this disk may have been there before.
        """
        replica = self._replica()
        if replica.me is None or len(replica.epoch.validators) == 1:
            return
        self._late_listening = True
        for peer in self._peers:
            self._ask(VotesRequest(replica.epoch.number, replica.me), peer)
        timer = Timer(TimerKind.LISTEN, replica.epoch.number, 0)
        self._actions.append(SetTimer(timer, 2 * self.config.pace.leader))

    def _heard_nothing(self, epoch: int, now: int) -> None:
        """End the listening when this node has all that is final of the epoch."""
        replica = self._replica()
        if replica.epoch.number != epoch:
            return
        target = replica.unfinalized
        behind = target is not None and target.number > replica.stored + WALK
        if behind or self.catch_up is not None:
            timer = Timer(TimerKind.LISTEN, epoch, 0)
            self._actions.append(SetTimer(timer, self.config.pace.leader))
            return
        self._late_listening = False
        self._allow_signing(now)

    def _allow_signing(self, now: int) -> None:
        if (
            self.current is not None
            and self._log_open
            and not (self._listening or self._late_listening)
        ):
            self.current.allow_signing(now)

    # --- which replica --------------------------------------------------------------------

    def _replica(self) -> Replica:
        if self.current is None:
            raise RuntimeError("the first event has to be Started")
        return self.current

    def _of_epoch(self, epoch: int) -> Replica | None:
        for replica in (self.current, self.previous):
            if replica is not None and replica.epoch.number == epoch:
                return replica
        return None


def _epoch_of(certificate: Certificate | None) -> int:
    return -1 if certificate is None else certificate.epoch
