"""Which validator leads a view: a draw by weight that everybody can repeat."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.primitives.hashing import blake2_256

_TAG = b"leader"


def leader_of(seed: bytes, view: int, weights: Sequence[int]) -> int:
    """Draw the position of a view's leader.

    r = blake2b-256("leader" ‖ seed ‖ view u64 little-endian), as a little-endian integer, modulo
    the total weight; the leader is the first position whose cumulative weight exceeds r. With a
    total below 2^128 the bias of the modulus is below 2^-128.
    """
    draw = int.from_bytes(blake2_256(_TAG + seed + view.to_bytes(8, "little")), "little")
    draw %= sum(weights)
    for position, weight in enumerate(weights):
        draw -= weight
        if draw < 0:
            return position
    raise AssertionError("the draw is below the total")


def quorum(total: int) -> int:
    """Return the least weight of a certificate: more than two thirds of the total."""
    return 2 * total // 3 + 1
