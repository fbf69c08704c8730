"""The staging area: a state that is being fetched, and what was checked on the way to it.

Nothing of it is part of the chain before the switch (`node.storage.switching`). The staged state is
a trie that grows range by range, so its root says at the end whether it is the one that was wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from node.storage.layout import (
    STAGED,
    STAGED_META,
    STAGED_NODE,
    STAGED_PROOF,
    STAGED_STATE,
    of_epoch,
)
from node.storage.leveldb import Database
from node.storage.nodes import NodeCounts, read_node
from runtime.primitives.header import Block, Header
from runtime.primitives.scale import decode, encode
from runtime.primitives.types import Hash
from runtime.state.store import MissingNode
from runtime.state.trie import EMPTY_ROOT, update

TRUST_KEY = STAGED_META + b"trust"
TARGET_KEY = STAGED_META + b"target"
PROGRESS_KEY = STAGED_META + b"progress"
CLEARED_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class ProvenHeader:
    """A header that ended an epoch; no proof where it is trusted by its hash."""

    header: Header
    proof: bytes | None


@dataclass(frozen=True, slots=True)
class Target:
    """The block whose state is fetched, with its finality proof."""

    block: Block
    proof: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """The root of what is staged, and the first key that is not; None where all is there."""

    root: Hash
    following: bytes | None


class Staging:
    """The staging area of one database; its methods are called one at a time."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def begin(self, trust: bytes) -> None:
        """Keep what is there if it was checked from the same trusted start, else discard it."""
        if self._db.get(TRUST_KEY) != trust:
            self.discard()
            self._db.write([(TRUST_KEY, trust)])

    def proofs(self) -> Iterator[tuple[int, ProvenHeader]]:
        """Yield the ends of epochs that were checked, ascending."""
        for key, data in self._db.iterate(STAGED_PROOF):
            yield int.from_bytes(key[len(STAGED_PROOF) :], "big"), decode(ProvenHeader, data)

    def add_proofs(self, proofs: Mapping[int, ProvenHeader]) -> None:
        """Keep the ends of epochs; synced."""
        self._db.write(
            (of_epoch(STAGED_PROOF, epoch), encode(ProvenHeader, proof))
            for epoch, proof in proofs.items()
        )

    def target(self) -> Target | None:
        """Return the block whose state is being fetched."""
        data = self._db.get(TARGET_KEY)
        return None if data is None else decode(Target, data)

    def set_target(self, target: Target) -> None:
        """Begin to fetch another block's state; what there is of one is discarded first."""
        self._db.write([(TARGET_KEY, None), (PROGRESS_KEY, None)])
        clear(self._db, (STAGED_STATE, STAGED_NODE))
        progress = encode(Progress, Progress(EMPTY_ROOT, b""))
        self._db.write([(TARGET_KEY, encode(Target, target)), (PROGRESS_KEY, progress)])

    def progress(self) -> Progress:
        """Return how much of the target's state there is."""
        data = self._db.get(PROGRESS_KEY)
        return Progress(EMPTY_ROOT, b"") if data is None else decode(Progress, data)

    def put_range(self, entries: Sequence[tuple[bytes, bytes]], following: bytes | None) -> None:
        """Add the next entries, ascending, with their trie nodes and the progress, in one batch.

        The batch is synced where the range is the last one.
        """
        changed = update(self._node, self.progress().root, dict(entries))
        counts = NodeCounts(self._db, STAGED_NODE)
        counts.add(changed.inserted)
        counts.subtract(changed.removed)
        writes: dict[bytes, bytes | None] = {STAGED_STATE + key: value for key, value in entries}
        writes.update(counts.writes())
        writes[PROGRESS_KEY] = encode(Progress, Progress(changed.root, following))
        self._db.write(writes.items(), sync=following is None)

    def discard(self) -> None:
        """Delete everything that is staged."""
        self._db.write([(TRUST_KEY, None), (TARGET_KEY, None), (PROGRESS_KEY, None)])
        clear(self._db, (STAGED,))

    def _node(self, node_hash: bytes) -> bytes:
        data = read_node(self._db, node_hash, STAGED_NODE)
        if data is None:
            raise MissingNode(node_hash)
        return data


def clear(db: Database, columns: Iterable[bytes]) -> None:
    """Delete columns, in unsynced batches of bounded size."""
    for column in columns:
        while keys := [key for key, _ in islice(db.iterate(column), CLEARED_AT_ONCE)]:
            db.write(((key, None) for key in keys), sync=False)
