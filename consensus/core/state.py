"""What a validator holds of one epoch, and how it reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from consensus.core.actions import Action, SetTimer
from consensus.core.certificates import CertificateStore
from consensus.core.events import Peer, Timer, TimerKind
from consensus.core.messages import CertificatesRequest, Proposal, Vote
from consensus.core.pool import VotePool
from consensus.core.ports import FinalRef, ParticipantConfig
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate, Subject
from runtime.primitives.digest import find_next_epoch
from runtime.primitives.header import Block, Header

LOOKAHEAD = 64
"""Views above the current one whose votes are kept."""
WALK = 4
"""A gap of so many blocks below a final one is fetched block by block, a larger one in ranges."""

Plan = tuple[int, Certificate | None, tuple[bytes, ...], tuple[Certificate, ...]]
"""What a block is being built for: view, parent's certificate, hashes of the nullifications, and
those that travel with the proposal."""


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


class EpochState(ABC):
    """The state of one epoch; the rules over it are in the classes above.

    Methods append to `actions`, the participant's list, in the order in which things are to be
    done. Nothing reads a clock: the time comes with the event.
    """

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
        self.me = epoch.validators.position_among(config.publics)
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
        """Signing is over in this epoch: a vote of this key was seen that the log lacks, or the
        chain below contradicts a final block."""
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
        self._asked: set[CertificatesRequest] = set()
        self._plan: Plan | None = None
        if final.certificate is not None and final.view:
            self.certificates.add(final.certificate)

    @abstractmethod
    def advance(self, now: int) -> None:
        """Try everything that waits for a block, a certificate or its turn."""

    @abstractmethod
    def take_certificate(
        self, peer: Peer, certificate: Certificate, now: int, *, attached: bool = False
    ) -> bool:
        """Take a certificate from somebody else; False where it does not hold."""

    @abstractmethod
    def _count(self, vote: Vote, now: int) -> None:
        """Add a verified vote, and act on what it completes."""

    def _do(self, action: Action) -> None:
        self.actions.append(action)

    def _set(self, kind: TimerKind, view: int, delay: int) -> None:
        self._do(SetTimer(Timer(kind, self.epoch.number, view), delay))

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
