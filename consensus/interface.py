"""What an agreement engine asks of the node, and what the node asks of the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from consensus.core.pace import Pace
from consensus.core.validators import Epoch
from runtime.primitives.header import Block, DigestItem, Header


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block by hash, with its number."""

    hash: bytes
    number: int


@dataclass(frozen=True, slots=True)
class AgreementSettings:
    """What every member of a chain's agreement knows beforehand.

    epoch: the first one; fork_id: raised by every coordinated rollback; minimum_period_ms: by
    which a block's time exceeds its parent's at least.
    """

    genesis_hash: bytes
    epoch: Epoch
    fork_id: int
    pace: Pace
    minimum_period_ms: int = 1


class Application(Protocol):
    """The chain below the agreement; all methods are called from the loop's thread."""

    def best(self) -> BlockRef:
        """Name the tip."""

    def finalized(self) -> BlockRef:
        """Name the last finalised block."""

    def header(self, block_hash: bytes) -> Header | None:
        """Read the header of a known block."""

    def block(self, block_hash: bytes) -> Block | None:
        """Read a known block."""

    def block_hash(self, number: int) -> bytes | None:
        """Find the finalised block of a number."""

    def justification(self, block_hash: bytes) -> bytes | None:
        """Read the finality proof stored for a block."""

    def boundary(self, epoch: int) -> bytes | None:
        """Find the finalised block that ended an epoch."""

    def block_time(self, block: Block) -> int | None:
        """Read the time (unix ms) that a block sets; None where it sets none. Pure."""

    def is_whole(self, block: Block) -> bool:
        """Tell whether the header commits to exactly these extrinsics. Pure."""

    async def build(
        self,
        parent: bytes,
        *,
        timestamp: int,
        digest: tuple[DigestItem, ...],
        full: Callable[[], bool],
    ) -> Block:
        """Build a block on a known parent from the pool; `full` says when to stop taking."""

    async def execute(self, block: Block) -> BlockRef:
        """Check and execute a block; idempotent; raises InvalidBlock or UnknownBlock."""

    def set_best(self, block_hash: bytes) -> None:
        """Make an executed block the tip."""

    async def finalize(self, block_hash: bytes, proof: bytes | None) -> None:
        """Make a block and its ancestors final; on the disk before this returns.

        proof: of this very block; None for an ancestor of a block that is proven.
        """


@dataclass(frozen=True, slots=True)
class PeerEvent:
    """A peer joined or left, or sent a message (bytes of `consensus.core.messages.Message`)."""

    peer: str
    message: bytes | None = None
    joined: bool = False


class Peers(Protocol):
    """The other validators and nodes, as the engine reaches them."""

    def broadcast(self, message: bytes) -> None:
        """Send a message to everybody; never waits."""

    def send(self, peer: str, message: bytes) -> None:
        """Send a message to a connected peer; never waits, lost where it is gone."""

    async def ask(self, request: bytes, peer: str | None) -> tuple[str, bytes] | None:
        """Ask a peer, or any that is likely to know; returns who answered, and what."""

    def penalise(self, peer: str, reason: str, detail: str) -> None:
        """Count a fault against a peer; enough of them ban it."""

    async def next(self) -> PeerEvent:
        """Wait for what happens next."""


class Agreement(Protocol):
    """An engine that decides which block is next and when it is final."""

    async def run(self, application: Application, peers: Peers) -> None:
        """Take part until cancelled."""

    async def answer(self, request: bytes) -> bytes | None:
        """Answer a peer's request (of `consensus.core.messages`); None where it is malformed."""

    def close(self) -> None:
        """Release what the engine holds open."""
