"""What the core reads without doing: the chain below it, and the mathematics of signatures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from consensus.core.pace import Pace
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate, VoteDomain
from runtime.primitives.header import Block, Header


class Ledger(Protocol):
    """The chain as far as it is executed; pure reads."""

    def header(self, block_hash: bytes) -> Header | None:
        """Read the header of an executed block."""

    def block(self, block_hash: bytes) -> Block | None:
        """Read an executed block."""

    def executed(self, block_hash: bytes) -> bool:
        """Tell whether a block is executed, final or not."""

    def time(self, block_hash: bytes) -> int:
        """Read the time (unix ms) that an executed block set; 0 at genesis."""

    def block_time(self, block: Block) -> int | None:
        """Read the time that a block sets; None where it sets none."""

    def is_whole(self, block: Block) -> bool:
        """Tell whether the header commits to exactly these extrinsics."""

    def justification(self, block_hash: bytes) -> bytes | None:
        """Read the finality proof stored for exactly this block."""

    def block_hash(self, number: int) -> bytes | None:
        """Find the finalised block of a number."""

    def boundary(self, epoch: int) -> bytes | None:
        """Find the finalised block that ended an epoch."""


class Crypto(Protocol):
    """Checks of signatures and of proofs of randomness."""

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Check an ed25519 signature, strictly."""

    def vrf(self, public: bytes, alpha: bytes, proof: bytes) -> bytes | None:
        """Return the output (64 bytes) that an ECVRF proof shows, None if it shows none."""


@dataclass(frozen=True, slots=True)
class FinalRef:
    """The last final block: where it stands in its epoch, and what proves it."""

    view: int
    number: int
    hash: bytes
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class ParticipantConfig:
    """What a validator knows when it starts.

    publics: its session keys, none on a node that only follows; a key that is added while the
    core runs counts from the next epoch that it enters; epoch: of the block after the last
    final one, which `final` names (view 0 where that one ended the epoch before); minimum_period:
    milliseconds by which a block's time exceeds its parent's.
    """

    domain: VoteDomain
    pace: Pace
    ledger: Ledger
    crypto: Crypto
    publics: Collection[bytes]
    epoch: Epoch
    final: FinalRef
    minimum_period: int = 1
