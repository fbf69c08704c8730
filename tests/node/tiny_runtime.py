"""Rules small enough for tests of the chain: extrinsics that put or delete one key.

The first extrinsic of a block sets the time. State roots, extrinsic roots and headers are real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from node.storage.metadata import RulesRecords
from runtime.primitives.digest import NextEpoch
from runtime.primitives.errors import (
    BlockReason,
    InvalidBlock,
    InvalidTransaction,
    TransactionReason,
)
from runtime.primitives.extrinsic import UncheckedExtrinsic
from runtime.primitives.header import Block, DigestItem, Header
from runtime.primitives.scale import U64, DecodeError, decode, encode
from runtime.state.overlay import Overlay
from runtime.state.store import State
from runtime.state.trie import TrieUpdate, ordered_root, update

NOW = b"now"
Put = tuple[bytes, bytes | None]


def put(key: bytes, value: bytes | None) -> bytes:
    """An extrinsic that writes, or with None deletes, a key."""
    return UncheckedExtrinsic(None, b"p" + encode(Put, (key, value))).encode()


def set_time(now: int) -> bytes:
    return UncheckedExtrinsic(None, b"t" + encode(U64, now)).encode()


@dataclass(frozen=True)
class TinyOutcome:
    header: Header
    changes: Mapping[bytes, bytes | None]
    update: TrieUpdate


@dataclass(frozen=True)
class TinyBuilt:
    block: Block
    outcome: TinyOutcome
    refused: tuple[tuple[bytes, InvalidTransaction], ...]


@dataclass(frozen=True)
class TinyValidity:
    priority: int
    requires: tuple[bytes, ...]
    provides: tuple[bytes, ...]
    longevity: int
    propagate: bool = True


@dataclass(frozen=True)
class TinyGenesis:
    entries: tuple[tuple[bytes, bytes], ...] = ((b"a", b"1"), (b"big", b"x" * 100))

    def genesis_entries(self) -> dict[bytes, bytes]:
        return dict(self.entries)


class TinyRuntime:
    """The functions that the chain calls; counts executions."""

    def __init__(self) -> None:
        self.applied = 0

    def genesis_header(self, state_root: bytes) -> Header:
        return Header(b"\0" * 32, 0, state_root, ordered_root(()), ())

    def build_block(
        self,
        parent: Header,
        state: State,
        *,
        timestamp: int,
        digest: tuple[DigestItem, ...],
        candidates: Iterable[bytes],
        full: Callable[[], bool],
    ) -> TinyBuilt:
        overlay = Overlay(state)
        body = [set_time(timestamp)]
        self._run(overlay, body[0])
        refused = []
        for candidate in candidates:
            if full():
                break
            try:
                self._run(overlay, candidate)
            except InvalidTransaction as refusal:
                refused.append((candidate, refusal))
            else:
                body.append(candidate)
        outcome = self._outcome(parent, state, overlay, tuple(body), digest)
        return TinyBuilt(Block(outcome.header, tuple(body)), outcome, tuple(refused))

    def apply_block(self, parent: Header, state: State, block: Block) -> TinyOutcome:
        self.applied += 1
        overlay = Overlay(state)
        for extrinsic in block.extrinsics:
            self._run(overlay, extrinsic)
        outcome = self._outcome(parent, state, overlay, block.extrinsics, block.header.digest)
        if outcome.header != block.header:
            raise InvalidBlock(BlockReason.WRONG_STATE_ROOT)
        return outcome

    def validate_transaction(
        self, state: State, best: Header, extrinsic: bytes, source: int
    ) -> TinyValidity:
        self._run(Overlay(state), extrinsic)
        return TinyValidity(len(extrinsic), (), (extrinsic,), 64)

    def keep_records(self, records: RulesRecords) -> None:
        """Keep nothing: these rules have no metadata."""

    def call_api(self, state: State, header: Header, method: str, data: bytes) -> bytes:
        raise NotImplementedError(method)

    def current_epoch(self, state: State) -> NextEpoch:
        return NextEpoch(0, (), bytes(32))

    def block_time(self, block: Block) -> int | None:
        try:
            call = UncheckedExtrinsic.decode(block.extrinsics[0]).call
            now: int = decode(U64, call[1:])
        except (DecodeError, IndexError):
            return None
        return now

    def is_whole(self, block: Block) -> bool:
        return ordered_root(block.extrinsics) == block.header.extrinsics_root

    def timestamp(self, state: State) -> int:
        now: int = decode(U64, state.get(NOW) or bytes(8))
        return now

    def _run(self, overlay: Overlay, extrinsic: bytes) -> None:
        try:
            call = UncheckedExtrinsic.decode(extrinsic).call
            if call[:1] == b"t":
                overlay.put(NOW, encode(U64, decode(U64, call[1:])))
                return
            key, value = decode(Put, call[1:])
        except DecodeError as error:
            raise InvalidTransaction(TransactionReason.MALFORMED, str(error)) from error
        if key == b"bug" and value == bytes(overlay.get(b"armed") or b""):
            raise KeyError("a bug of the rules")
        if key == b"forbidden":
            raise InvalidTransaction(TransactionReason.CALL)
        if value is None:
            overlay.delete(key)
        else:
            overlay.put(key, value)

    def _outcome(
        self,
        parent: Header,
        state: State,
        overlay: Overlay,
        body: tuple[bytes, ...],
        digest: tuple[DigestItem, ...],
    ) -> TinyOutcome:
        changes = overlay.changes()
        changed = update(state.node, state.root, changes)
        header = Header(parent.hash(), parent.number + 1, changed.root, ordered_root(body), digest)
        return TinyOutcome(header, changes, changed)
