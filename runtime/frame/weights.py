"""What blocks can hold and what calls cost.

A weight counts picoseconds of computation on the machine that is named in each pallet's generated
`weights.py`, and bytes of proof. ``python -m benches.weights --write`` writes those files: reads,
writes and one and a half times the computation that it measures. The same command measures what is
declared here: the fixed part of a block and of an extrinsic, a write's share of the trie, and
whether full blocks are executed in the time that they weigh.
"""

from __future__ import annotations

from runtime.frame.limits import (
    BlockLength,
    BlockWeights,
    LengthPerClass,
    LimitsPerClass,
    RuntimeDbWeight,
    WeightsPerClass,
)
from runtime.primitives.types import Weight

MICROSECOND = 1_000_000
MAX_BLOCK = Weight(600_000 * MICROSECOND, 5 * 1024 * 1024)
"""Six tenths of a second of computation in a block."""
NORMAL_PERCENT = 75
"""Most of a block that extrinsics may take; the rest is for what every block does by itself."""
EXTRINSIC_PERCENT = 70
"""Most of a block that one extrinsic may take: what every block does must fit beside it."""
DUTY_PERCENT = 25
"""Most of a block's weight that feeless duties may take."""
BASE_BLOCK = Weight(1000 * MICROSECOND, 0)
"""What a block of 100 validators does without extrinsics."""
BASE_EXTRINSIC = Weight(150 * MICROSECOND, 0)
"""Signature, nonce, fee and bookkeeping of one extrinsic."""
MAX_LENGTH = 5 * 1024 * 1024
DB_WEIGHT = RuntimeDbWeight(read=4 * MICROSECOND, write=30 * MICROSECOND)
"""A read from the flat table; a write there, with its share of the trie."""


def _share(percent: int) -> Weight:
    return Weight(MAX_BLOCK.ref_time * percent // 100, MAX_BLOCK.proof_size * percent // 100)


_NORMAL = WeightsPerClass(BASE_EXTRINSIC, _share(EXTRINSIC_PERCENT), _share(NORMAL_PERCENT), None)
_WHOLE = WeightsPerClass(BASE_EXTRINSIC, _share(100), _share(100), None)
BLOCK_WEIGHTS = BlockWeights(
    BASE_BLOCK,
    MAX_BLOCK,
    LimitsPerClass(_NORMAL, _WHOLE, WeightsPerClass(BASE_BLOCK, None, None, None)),
)
BLOCK_LENGTH = BlockLength(
    LengthPerClass(MAX_LENGTH * NORMAL_PERCENT // 100, MAX_LENGTH, MAX_LENGTH)
)


def db(reads: int, writes: int, microseconds: int = 0) -> Weight:
    """Return the weight of so many reads and writes and so much computation beside them."""
    time = reads * DB_WEIGHT.read + writes * DB_WEIGHT.write + microseconds * MICROSECOND
    return Weight(time, 512 * (reads + writes))


def per_unit(fixed: Weight, units: int, picoseconds: int) -> Weight:
    """Return the weight of a call whose computation grows with the size of its arguments."""
    return Weight(fixed.ref_time + units * picoseconds, fixed.proof_size)


def add(a: Weight, b: Weight) -> Weight:
    """Return the sum of two weights."""
    return Weight(a.ref_time + b.ref_time, a.proof_size + b.proof_size)
