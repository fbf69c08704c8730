"""The executive: checks extrinsics, builds and applies blocks. State in, state out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from runtime.api import call_api
from runtime.apis.description import metadata
from runtime.block import BlockExecution
from runtime.construct import CALLS, Runtime, decode_call
from runtime.frame.weights import MAX_LENGTH
from runtime.primitives.digest import NextEpoch
from runtime.primitives.errors import (
    BlockReason,
    InvalidBlock,
    InvalidTransaction,
    TransactionReason,
)
from runtime.primitives.extrinsic import UncheckedExtrinsic
from runtime.primitives.header import Block, DigestItem, Header
from runtime.primitives.scale import DecodeError
from runtime.state.overlay import Overlay
from runtime.state.store import State
from runtime.state.trie import TrieUpdate, ordered_root, update
from runtime.validity import Checker, ValidTransaction

EXTRINSICS_ROOT_VERSION = 0
"""Of the trie over a block's extrinsics, as `system_version` 1 means it."""
PATIENCE = 16
"""Extrinsics in a row that may prove too heavy before a block counts as full."""


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """What a block did: its header and the state's changes."""

    header: Header
    changes: dict[bytes, bytes | None]
    update: TrieUpdate


@dataclass(frozen=True, slots=True)
class BuiltBlock:
    """A new block, what it did, and the candidates that the state refused."""

    block: Block
    outcome: BlockOutcome
    refused: tuple[tuple[bytes, InvalidTransaction], ...]


def genesis_header(state_root: bytes) -> Header:
    """Return the header of block 0."""
    return Header(bytes(32), 0, state_root, ordered_root((), EXTRINSICS_ROOT_VERSION), ())


def timestamp(state: State) -> int:
    """Return the time that the last block set, milliseconds since 1970."""
    return Runtime(Overlay(state)).timestamp.now.get()


def current_epoch(state: State) -> NextEpoch:
    """Return number, validators and seed of the epoch that the next block belongs to."""
    return Runtime(Overlay(state)).session.current()


def is_whole(block: Block) -> bool:
    """Tell whether a block's header commits to exactly its extrinsics; nothing is executed."""
    root = ordered_root(block.extrinsics, EXTRINSICS_ROOT_VERSION)
    return root == block.header.extrinsics_root


def block_time(block: Block) -> int | None:
    """Return the time that a block sets, milliseconds since 1970; None where it sets none.

    Only the first extrinsic may set it, and nothing is executed for it.
    """
    if not block.extrinsics:
        return None
    try:
        extrinsic = UncheckedExtrinsic.decode(block.extrinsics[0])
        call = decode_call(extrinsic.call)
    except DecodeError:
        return None
    if extrinsic.signed is not None or (call.pallet, call.name) != ("Timestamp", "set"):
        return None
    now: int = call.arguments[0]
    return now


def timestamp_inherent(now: int) -> bytes:
    """Return the extrinsic by which an author sets the time of its block."""
    call = CALLS.encode(CALLS.make("Timestamp", "set", now=now))
    return UncheckedExtrinsic(None, call).encode()


def build_block(
    parent: Header,
    state: State,
    *,
    timestamp: int,
    digest: tuple[DigestItem, ...],
    candidates: Iterable[bytes],
    full: Callable[[], bool],
) -> BuiltBlock:
    """Build a block on the parent's state.

    Args:
        parent: The parent's header.
        state: The state after the parent.
        timestamp: Time of the block, milliseconds since 1970.
        digest: The leader's claim, and nothing else; the last block of an epoch gets the rules'
            own item beside it.
        candidates: Encoded extrinsics, best first.
        full: Asked before each candidate; True closes the block.
    """
    execution = BlockExecution(parent, state, digest)
    included = [timestamp_inherent(timestamp)]
    execution.apply(included[0])
    refused = []
    too_heavy = 0
    for extrinsic in candidates:
        if full() or too_heavy >= PATIENCE:
            break
        try:
            execution.apply(extrinsic)
        except InvalidTransaction as invalid:
            if invalid.reason is TransactionReason.EXHAUSTS_RESOURCES:
                too_heavy += 1
            else:
                refused.append((extrinsic, invalid))
        else:
            too_heavy = 0
            included.append(extrinsic)
    outcome = _close(execution, state, parent, included)
    return BuiltBlock(Block(outcome.header, tuple(included)), outcome, tuple(refused))


def apply_block(parent: Header, state: State, block: Block) -> BlockOutcome:
    """Check and execute a block; raises InvalidBlock."""
    header = block.header
    if header.parent_hash != parent.hash():
        raise InvalidBlock(BlockReason.WRONG_PARENT, f"expected 0x{parent.hash().hex()}")
    if header.number != parent.number + 1:
        raise InvalidBlock(BlockReason.WRONG_NUMBER, f"{header.number} after {parent.number}")
    if sum(map(len, block.extrinsics)) > MAX_LENGTH:
        raise InvalidBlock(BlockReason.TOO_HEAVY, f"more than {MAX_LENGTH} bytes of extrinsics")
    root = ordered_root(block.extrinsics, EXTRINSICS_ROOT_VERSION)
    if root != header.extrinsics_root:
        raise InvalidBlock(BlockReason.WRONG_EXTRINSICS_ROOT)
    execution = BlockExecution(parent, state, header.digest[:1])
    if execution.digest != header.digest:
        raise InvalidBlock(
            BlockReason.WRONG_DIGEST,
            "after the leader's claim stands the next epoch in the last block of an epoch, "
            "else nothing",
        )
    if not block.extrinsics:
        raise InvalidBlock(BlockReason.MISSING_INHERENT, "the time is not set")
    for index, extrinsic in enumerate(block.extrinsics):
        try:
            execution.apply(extrinsic)
        except InvalidTransaction as invalid:
            raise InvalidBlock(
                BlockReason.INVALID_EXTRINSIC, f"extrinsic {index}: {invalid}"
            ) from invalid
    outcome = _close(execution, state, parent, list(block.extrinsics))
    if outcome.header.state_root != header.state_root:
        raise InvalidBlock(
            BlockReason.WRONG_STATE_ROOT, f"executed to 0x{outcome.header.state_root.hex()}"
        )
    return outcome


def validate_transaction(
    state: State, best: Header, extrinsic: bytes, source: int = 2
) -> ValidTransaction:
    """Check an extrinsic for the block after `best`; raises InvalidTransaction.

    `source` is the ecosystem's `TransactionSource` (0 in a block, 1 local, 2 external). Many
    checks against one state are cheaper through one `Checker`.
    """
    return Checker(state, best).validate(extrinsic)


def _close(
    execution: BlockExecution,
    state: State,
    parent: Header,
    included: list[bytes],
) -> BlockOutcome:
    execution.close()
    changes = execution.overlay.changes()
    change = update(state.node, state.root, changes)
    header = Header(
        parent.hash(),
        parent.number + 1,
        change.root,
        ordered_root(included, EXTRINSICS_ROOT_VERSION),
        execution.digest,
    )
    return BlockOutcome(header, changes, change)


__all__ = [
    "BlockOutcome",
    "BuiltBlock",
    "Checker",
    "ValidTransaction",
    "apply_block",
    "block_time",
    "build_block",
    "call_api",
    "current_epoch",
    "genesis_header",
    "metadata",
    "timestamp",
    "timestamp_inherent",
    "validate_transaction",
]
