"""A digest of the logits behind an answer, which a replay can recompute.

At each output position the 16 largest logits, rounded to the nearest sixteenth (halves up), enter a
blake2b-256 as `u32 position`, then per logit `u32 id, i32 sixteenths`, little endian, largest
first, ties by id. The rounding lets most answers agree between machines whose float32 sums differ
in their last bits.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from inference.sampling import Logits

TAG = b"openledger-logits-v1"
KEPT = 16
STEPS = 16.0
NEAR = 64
"""So many of the largest logits are rounded first: rarely is a further one needed."""

Steps = NDArray[np.int64]


class LogitsDigest:
    """Accumulates output positions in order."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(TAG, digest_size=32)
        self._position = 0

    def add(self, ids: Steps, steps: Steps) -> None:
        """Add what `sixteenths` says of the next output position."""
        entry = np.empty((len(ids), 2), dtype="<i4")
        entry[:, 0] = ids
        entry[:, 1] = steps
        self._hash.update(self._position.to_bytes(4, "little") + entry.tobytes())
        self._position += 1

    def digest(self) -> bytes:
        """Return the digest of the positions so far."""
        return self._hash.digest()


def sixteenths(logits: Logits) -> tuple[Steps, Steps]:
    """Pick the 16 largest logits after rounding: int64 ids and sixteenths, largest first."""
    size = len(logits)
    if size > NEAR:
        near = np.argpartition(logits, size - NEAR)[size - NEAR :]
        ids, steps = _largest(near, logits[near])
        # What is not near is at most the least of the near: it matters only if that ties.
        if _rounded(logits[near].min()) < steps[-1]:
            return ids, steps
    return _largest(np.arange(size), logits)


def _largest(ids: Steps, logits: Logits) -> tuple[Steps, Steps]:
    steps = _rounded(logits)
    order = np.lexsort((ids, -steps))[:KEPT]
    return ids[order], steps[order]


def _rounded(logits: Logits) -> Steps:
    steps: Steps = np.floor(logits.astype(np.float64) * STEPS + 0.5).astype(np.int64)
    return steps
