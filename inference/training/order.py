"""Which records are trained on, in which order, in which batches: a function of the seed.

A batch holds records of like length, so little is padded; the order of the batches is shuffled anew
in each epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TAG = b"openledger-training-order-v1"


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of the records that are trained on and of those that are only measured."""

    trained: tuple[int, ...]
    held_out: tuple[int, ...]


def split_records(count: int, share: float, seed: int) -> Split:
    """Hold a share of the records back (rounded down, never the last one)."""
    held = min(int(count * share), count - 1)
    shuffled = _shuffled(range(count), seed, 0)
    return Split(tuple(sorted(shuffled[held:])), tuple(sorted(shuffled[:held])))


def epoch_batches(
    indices: Sequence[int], lengths: Sequence[int], size: int, seed: int, epoch: int
) -> list[tuple[int, ...]]:
    """Order one epoch (from 0): windows of eight batches are sorted by length, then cut."""
    shuffled = _shuffled(indices, seed, epoch + 1)
    window = 8 * size
    batches: list[tuple[int, ...]] = []
    for start in range(0, len(shuffled), window):
        part = sorted(shuffled[start : start + window], key=lambda index: (lengths[index], index))
        batches.extend(tuple(part[i : i + size]) for i in range(0, len(part), size))
    return [batches[i] for i in _shuffled(range(len(batches)), seed, (1 << 32) + epoch)]


def order_hash(split: Split, epochs: Sequence[Sequence[Sequence[int]]]) -> bytes:
    """Hash the split and the order of all batches, indices as u32 little endian."""
    digest = hashlib.blake2b(TAG, digest_size=32)
    for group in (split.trained, split.held_out, *(b for epoch in epochs for b in epoch)):
        digest.update(len(group).to_bytes(4, "little"))
        digest.update(np.asarray(group, dtype="<u4").tobytes())
    return digest.digest()


def _shuffled(indices: Sequence[int], seed: int, stream: int) -> list[int]:
    """Sort by blake2b of (seed, stream, index): stable on every machine and library version."""
    prefix = TAG + seed.to_bytes(8, "little") + stream.to_bytes(8, "little")

    def key(index: int) -> bytes:
        return hashlib.blake2b(prefix + index.to_bytes(8, "little"), digest_size=16).digest()

    return sorted(indices, key=key)
