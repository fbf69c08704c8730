"""The rules as the node sees them: functions over states, without a clock or a disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from node.storage.metadata import RulesRecords
from runtime.primitives.digest import NextEpoch
from runtime.primitives.errors import InvalidTransaction
from runtime.primitives.header import Block, DigestItem, Header
from runtime.state.store import State
from runtime.state.trie import TrieUpdate


class Outcome(Protocol):
    """What executing a block gave."""

    @property
    def header(self) -> Header:
        """The complete header."""

    @property
    def changes(self) -> Mapping[bytes, bytes | None]:
        """The keys that changed, with None where one was deleted."""

    @property
    def update(self) -> TrieUpdate:
        """The change of the state tree."""


class Built(Protocol):
    """A block made from candidates, and the candidates that the state refused."""

    @property
    def block(self) -> Block:
        """The block, ready to be shown to others."""

    @property
    def outcome(self) -> Outcome:
        """What executing it gave."""

    @property
    def refused(self) -> tuple[tuple[bytes, InvalidTransaction], ...]:
        """Candidates that did not get in, with the reason."""


class Validity(Protocol):
    """What the pool must know of a valid extrinsic."""

    @property
    def priority(self) -> int:
        """Higher is better."""

    @property
    def requires(self) -> tuple[bytes, ...]:
        """Tags that other extrinsics must provide first."""

    @property
    def provides(self) -> tuple[bytes, ...]:
        """Tags that this one provides; no two of the same tag can be valid together."""

    @property
    def longevity(self) -> int:
        """For so many blocks it stays valid."""

    @property
    def propagate(self) -> bool:
        """Whether peers may hear of it."""


class RuntimeInterface(Protocol):
    """Everything that the node calls in the rules."""

    def keep_records(self, records: RulesRecords) -> None:
        """Note what these rules are among the records, and look up there what earlier ones were."""

    def genesis_header(self, state_root: bytes) -> Header:
        """Make the header of block 0."""

    def build_block(
        self,
        parent: Header,
        state: State,
        *,
        timestamp: int,
        digest: tuple[DigestItem, ...],
        candidates: Iterable[bytes],
        full: Callable[[], bool],
    ) -> Built:
        """Build a block on `state` (the parent's) from candidates, best first."""

    def apply_block(self, parent: Header, state: State, block: Block) -> Outcome:
        """Check and execute a block; raises InvalidBlock."""

    def validate_transaction(
        self, state: State, best: Header, extrinsic: bytes, source: int
    ) -> Validity:
        """Check an extrinsic against a state; raises InvalidTransaction."""

    def call_api(self, state: State, header: Header, method: str, data: bytes) -> bytes:
        """Answer a runtime call.

        Raises UnknownApi, ApiArgumentError, and OtherRules where the state belongs to rules that
        this release does not have, and the records do not tell either.
        """

    def current_epoch(self, state: State) -> NextEpoch:
        """Read number, validators and seed of the epoch that the next block belongs to."""

    def block_time(self, block: Block) -> int | None:
        """Read the time (ms) that a block sets; None where it sets none."""

    def is_whole(self, block: Block) -> bool:
        """Tell whether the header commits to exactly these extrinsics."""

    def timestamp(self, state: State) -> int:
        """Read the time (ms) that the last block set."""
