"""What an answer's last hidden states looked like: kept by who answers, compared by who repeats.

Per output position the 16 largest entries by magnitude of the normalised last hidden state, as
`u16 index, bfloat16 value`, little endian, largest first, ties by index: 64 bytes per token. A
receipt binds the bytes, so a machine whose sums round otherwise can still measure how far the
committed computation was from its own (after TOPLOC, arXiv 2501.16007, with the values themselves
in place of a polynomial through them).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

KEPT = 16
ENTRY_BYTES = 4 * KEPT
Hidden = NDArray[np.float32]


def fingerprint_entry(hidden: Hidden) -> bytes:
    """Encode one position's float32 [hidden size]; a shorter state is padded with zeros."""
    kept = min(KEPT, len(hidden))
    size = np.abs(hidden)
    best = np.argpartition(size, -kept)[-kept:]
    best = best[np.lexsort((best, -size[best]))]
    entry = np.zeros((KEPT, 2), dtype="<u2")
    entry[:kept, 0] = best
    entry[:kept, 1] = _to_bfloat16(hidden[best])
    return entry.tobytes()


def deviations(fingerprint: bytes, hidden: Sequence[Hidden]) -> NDArray[np.float64] | None:
    """Measure how far recomputed states are from a fingerprint, float64 [positions].

    A position's deviation is `Σ|committed - recomputed| / Σ|committed|` over the committed indices:
    0 for equal values, about 0.001 for bfloat16's rounding alone. None where the bytes are no
    fingerprint of so many positions of this size.
    """
    if len(fingerprint) != ENTRY_BYTES * len(hidden):
        return None
    entries = np.frombuffer(fingerprint, dtype="<u2").reshape(len(hidden), KEPT, 2)
    result = np.empty(len(hidden))
    for row, (entry, state) in enumerate(zip(entries, hidden, strict=True)):
        kept = min(KEPT, len(state))
        index, committed = entry[:kept, 0].astype(np.int64), _from_bfloat16(entry[:kept, 1])
        if len(set(index.tolist())) < kept or index.max() >= len(state):
            return None
        if not np.isfinite(committed).all() or not committed.any():
            return None
        wide = committed.astype(np.float64)
        result[row] = np.abs(wide - state[index]).sum() / np.abs(wide).sum()
    return result


def _to_bfloat16(values: Hidden) -> NDArray[np.uint16]:
    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4").astype(np.uint64)
    rounded = bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))
    return (rounded >> np.uint64(16)).astype(np.uint16)


def _from_bfloat16(values: NDArray[np.uint16]) -> Hidden:
    return (values.astype("<u4") << np.uint32(16)).view("<f4")
