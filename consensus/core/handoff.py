"""From one epoch to the next (H3, H4), and when the key may sign in it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from consensus.core.actions import Action, Ask, OpenEpoch, SetTimer
from consensus.core.catchup import CatchUp
from consensus.core.events import Peer, Timer, TimerKind
from consensus.core.messages import (
    CertificatesRequest,
    EpochProof,
    EpochProofsRequest,
    FinalityRequest,
    Message,
    Status,
    VotesRequest,
)
from consensus.core.ports import FinalRef, ParticipantConfig
from consensus.core.replica import Replica
from consensus.core.state import WALK
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate
from runtime.primitives.digest import find_next_epoch


class Handoff(ABC):
    """The replicas of the current epoch and of the one before, and the way between them."""

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

    @abstractmethod
    def _receive(self, peer: Peer, message: Message, now: int) -> None:
        """Take a message of an epoch that is open."""

    @abstractmethod
    def _tell_status(self) -> None:
        """Tell the peers how far this node is, now and regularly."""

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

    def _use_proof(self, peer: Peer, now: int) -> None:
        replica = self._replica()
        for proof in self._proofs:
            if proof.certificate.epoch == replica.epoch.number:
                replica.take_certificate(peer, proof.certificate, now)

    def _ask(
        self,
        request: EpochProofsRequest | FinalityRequest | CertificatesRequest | VotesRequest,
        peer: Peer | None,
    ) -> None:
        self._actions.append(Ask(request, peer or None))

    def _replica(self) -> Replica:
        if self.current is None:
            raise RuntimeError("the first event has to be Started")
        return self.current

    def _of_epoch(self, epoch: int) -> Replica | None:
        for replica in (self.current, self.previous):
            if replica is not None and replica.epoch.number == epoch:
                return replica
        return None
