"""A digest of the logits behind an answer, which a replay can recompute.

At each output position the 16 largest logits, rounded to the nearest sixteenth (halves up), enter a
blake2b-256 as `u32 position`, then per logit `u32 id, i32 sixteenths`, little endian, largest
first, ties by id. The rounding lets most answers agree between machines whose float32 sums differ
in their last bits.
"""

from __future__ import annotations

import hashlib

import numpy as np

from inference.sampling import Logits

TAG = b"openledger-logits-v1"
KEPT = 16
STEPS = 16.0


class LogitsDigest:
    """Accumulates output positions in order."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(TAG, digest_size=32)
        self._position = 0

    def update(self, logits: Logits) -> None:
        """Add the float32 [vocabulary] from which the next output id was drawn."""
        steps = np.floor(logits.astype(np.float64) * STEPS + 0.5).astype(np.int64)
        order = (steps << 32) - np.arange(len(steps))
        kept = min(KEPT, len(order))
        best = np.argpartition(order, -kept)[-kept:]
        best = best[np.argsort(-order[best])]
        entry = np.empty((len(best), 2), dtype="<i4")
        entry[:, 0] = best
        entry[:, 1] = steps[best]
        self._hash.update(self._position.to_bytes(4, "little") + entry.tobytes())
        self._position += 1

    def digest(self) -> bytes:
        """Return the digest of the positions so far."""
        return self._hash.digest()
