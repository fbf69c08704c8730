"""Which blobs the chain declares: only those does a node store for others.

A pallet declares blobs in a storage map `Blobs` from blake2b-256 to length in bytes.
"""

from __future__ import annotations

from node.chain import Chain
from runtime.construct import PALLETS
from runtime.frame.pallet import storage_items
from runtime.frame.storage import StorageItem
from runtime.primitives.scale import U64, decode
from runtime.state.store import StateReader

MAP_NAME = "Blobs"


def _maps() -> tuple[StorageItem, ...]:
    items = (item for pallet in PALLETS for item in storage_items(pallet).values())
    return tuple(item for item in items if item.name == MAP_NAME)


BLOB_MAPS = _maps()


class DeclaredBlobs:
    """Looks hashes up in the state behind the tip."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def __call__(self, blob_hash: bytes) -> int | None:
        """Return the declared size of a blob, or None; call it from any thread."""
        return declared_size(self._chain.best_state(), blob_hash)


def declared_size(state: StateReader, blob_hash: bytes) -> int | None:
    """Look a blob's hash up in a state; returns its size in bytes, or None."""
    for item in BLOB_MAPS:
        value = state.get(item.key(blob_hash))
        if value is not None:
            size: int = decode(U64, value)
            return size
    return None
