"""The rules of this release behind the interface that the chain and JSON-RPC call."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from node.past_rules import PastRules
from node.storage.metadata import RulesDescription, RulesRecords
from runtime import executive
from runtime.executive import BlockOutcome, BuiltBlock
from runtime.frame.metadata import VERSIONS
from runtime.frame.runtime_api import OtherRules
from runtime.pallets.timestamp import Timestamp
from runtime.primitives.digest import NextEpoch
from runtime.primitives.header import Block, DigestItem, Header
from runtime.primitives.version import offered_version
from runtime.state.store import State
from runtime.validity import Checker, ValidTransaction

MINIMUM_PERIOD_MS = Timestamp.minimum_period.value
"""A block's time exceeds its parent's by so many milliseconds at least."""


class NativeRuntime:
    """Delegates to the executive; checks of extrinsics on one block share their set-up."""

    def __init__(self) -> None:
        self._checker: tuple[bytes, Checker] | None = None
        self._past: PastRules | None = None

    def prepare(self) -> None:
        """Make the metadata before anybody asks.

        It takes two tenths of a second and reads the source files, which an upgrade may replace
        under a running node.
        """
        for version in VERSIONS:
            executive.metadata(version)

    def keep_records(self, records: RulesRecords) -> None:
        """Note version and metadata of these rules, and look up there those of earlier ones."""
        blobs = {version: executive.metadata(version) for version in VERSIONS}
        metadata = {version: blob for version, blob in blobs.items() if blob is not None}
        records.keep(RulesDescription(offered_version(), metadata))
        self._past = PastRules(records)

    def genesis_header(self, state_root: bytes) -> Header:
        """Make the header of block 0."""
        return executive.genesis_header(state_root)

    def build_block(
        self,
        parent: Header,
        state: State,
        *,
        timestamp: int,
        digest: tuple[DigestItem, ...],
        candidates: Iterable[bytes],
        full: Callable[[], bool],
    ) -> BuiltBlock:
        """Build a block on `state` (the parent's) from candidates, best first."""
        return executive.build_block(
            parent, state, timestamp=timestamp, digest=digest, candidates=candidates, full=full
        )

    def apply_block(self, parent: Header, state: State, block: Block) -> BlockOutcome:
        """Check and execute a block; raises InvalidBlock."""
        return executive.apply_block(parent, state, block)

    def validate_transaction(
        self, state: State, best: Header, extrinsic: bytes, source: int
    ) -> ValidTransaction:
        """Check an extrinsic for the block after `best`; raises InvalidTransaction.

        Call it from one thread.
        """
        block_hash = best.hash()
        if self._checker is None or self._checker[0] != block_hash:
            self._checker = (block_hash, Checker(state, best))
        return self._checker[1].validate(extrinsic)

    def call_api(self, state: State, header: Header, method: str, data: bytes) -> bytes:
        """Answer a runtime call; raises UnknownApi, ApiArgumentError, OtherRules."""
        try:
            return executive.call_api(state, header, method, data)
        except OtherRules as other:
            if self._past is None:
                raise
            return self._past.call(other, method, data)

    def current_epoch(self, state: State) -> NextEpoch:
        """Read number, validators and seed of the epoch that the next block belongs to."""
        return executive.current_epoch(state)

    def block_time(self, block: Block) -> int | None:
        """Read the time (ms) that a block sets; None where it sets none."""
        return executive.block_time(block)

    def is_whole(self, block: Block) -> bool:
        """Tell whether the header commits to exactly these extrinsics."""
        return executive.is_whole(block)

    def timestamp(self, state: State) -> int:
        """Read the time (ms) that the last block set."""
        return executive.timestamp(state)
