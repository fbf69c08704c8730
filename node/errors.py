"""What can go wrong around the rules: storage, blocks that are not known, the pool's refusals."""

from __future__ import annotations

from enum import Enum

from runtime.primitives.errors import Refusal


class NodeError(Exception):
    """The environment does not allow the node to go on; the text says what to do."""


class StorageError(NodeError):
    """The database cannot be used."""


class StorageLocked(StorageError):
    """Another process has the database open."""


class StorageFull(StorageError):
    """The disk took no more bytes; nothing of the last batch counts, the node must stop."""


class StorageFailure(StorageError):
    """The disk or the database refused to read or write."""


class StorageClosed(StorageError):
    """The database was closed while somebody still read from it."""


class WrongDatabase(StorageError):
    """The database belongs to another genesis, schema or pruning mode."""


class UnknownBlock(LookupError):
    """No block of this hash is known here."""

    def __init__(self, block_hash: bytes) -> None:
        super().__init__(f"block 0x{block_hash.hex()} is not known to this node")
        self.block_hash = block_hash


class StatePruned(LookupError):
    """The block is known, its state is not kept any more."""

    def __init__(self, block_hash: bytes, number: int, oldest: int) -> None:
        super().__init__(
            f"the state of block {number} (0x{block_hash.hex()}) was pruned; the oldest state "
            f"kept is that of block {oldest}; run an archive node (--state-pruning archive)"
        )
        self.block_hash = block_hash
        self.number = number
        self.oldest = oldest


class PoolReason(Enum):
    """Why the pool does not take, or no longer holds, an extrinsic; the values tell the sender."""

    ALREADY_IMPORTED = "the pool holds this extrinsic already"
    TEMPORARILY_BANNED = "it was found invalid a moment ago; sign a new one or wait"
    TOO_LARGE = "it exceeds the pool's limit for one extrinsic"
    SENDER_FULL = "the sender's share of the pool is full; wait for inclusions"
    POOL_FULL = "the pool is full of higher priorities; raise the tip or try later"
    PRIORITY_TOO_LOW = "to replace an extrinsic raise its priority by an eighth"
    UNACTIONABLE = "it provides nothing that the pool could order it by"
    CYCLE = "it requires what it provides itself"
    INVALID = "the state does not admit it"
    EXPIRED = "its era ended before inclusion; sign again with a recent block"
    USURPED = "another extrinsic took its place"
    EVICTED = "it was evicted for extrinsics of higher priority"
    REMOVED = "the operator of this node removed it"
    INCLUDED = "it is in a block of the best chain"


class PoolRefusal(Refusal):
    """The pool does not take an extrinsic, although the state may admit it."""

    def __init__(self, reason: PoolReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: PoolReason = reason
