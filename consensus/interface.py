"""What an agreement engine asks of the node, and what the node asks of the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from runtime.primitives.header import Block, DigestItem, Header


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block by hash, with its number."""

    hash: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Authority:
    """A member of the set that agrees: its ed25519 key and its weight."""

    public: bytes
    weight: int


@dataclass(frozen=True, slots=True)
class AgreementSettings:
    """What every member of a chain's agreement knows beforehand.

    seed: entropy of epoch 0; fork_id: raised by every coordinated rollback; minimum_period_ms: by
    which a block's time exceeds its parent's at least.
    """

    genesis_hash: bytes
    authorities: tuple[Authority, ...]
    seed: bytes
    fork_id: int
    block_interval_ms: int
    minimum_period_ms: int = 1


class Application(Protocol):
    """The chain below the agreement; all methods are called from the loop's thread."""

    def best(self) -> BlockRef:
        """Name the tip to build on."""

    def finalized(self) -> BlockRef:
        """Name the last finalised block."""

    def header(self, block_hash: bytes) -> Header | None:
        """Read the header of a known block."""

    def justification(self, block_hash: bytes) -> bytes | None:
        """Read the finality proof stored for a block."""

    def timestamp(self, block_hash: bytes) -> int:
        """Read the time (ms) that a known block set; 0 at genesis."""

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

    async def finalize(self, block_hash: bytes, proof: bytes) -> None:
        """Make a block and its ancestors final; on the disk before this returns."""


class Agreement(Protocol):
    """An engine that decides which block is next and when it is final."""

    async def run(self, application: Application) -> None:
        """Take part until cancelled."""

    def verify_header(self, header: Header, parent: Header) -> None:
        """Check the right of a block's maker to make it; raises InvalidClaim."""

    def verify_finality_proof(self, proof: bytes, block: BlockRef) -> None:
        """Check that a proof makes exactly this block final; raises InvalidFinalityProof."""

    def close(self) -> None:
        """Release what the engine holds open."""
