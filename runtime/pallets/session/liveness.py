"""Who takes part: counted from what each leader says of its parent's votes and of skipped views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runtime.pallets.session.types import Activity
from runtime.primitives.digest import PreDigest
from runtime.primitives.leaders import leader_of

MOST_SKIPPED = 256
"""Skipped views that one block accounts for: the first ones after its parent's."""


def idle(validators: int) -> Activity:
    """Return the activity of a set before its first block."""
    none = (0,) * validators
    return Activity(0, none, none, none)


def count(activity: Activity, claim: PreDigest, seed: bytes, weights: Sequence[int]) -> Activity:
    """Add what a block's claim, which was checked, says of its epoch."""
    attested, missed, made = list(activity.attested), list(activity.missed), list(activity.made)
    made[claim.leader] += 1
    for position in signers(claim.parent_signers):
        attested[position] += 1
    first = claim.parent_view + 1
    for view in range(first, min(claim.view, first + MOST_SKIPPED)):
        missed[leader_of(seed, view, weights)] += 1
    blocks = activity.blocks + (claim.parent_view > 0)
    return Activity(blocks, tuple(attested), tuple(missed), tuple(made))


def signers(bitmap: bytes) -> Iterator[int]:
    """Yield the positions whose bit is set, rising."""
    for index, byte in enumerate(bitmap):
        for bit in range(8):
            if byte >> bit & 1:
                yield 8 * index + bit


def offline(activity: Activity) -> tuple[int, ...]:
    """Return the positions of who attested less than a third of the epoch's blocks."""
    return tuple(
        position
        for position, attested in enumerate(activity.attested)
        if 3 * attested < activity.blocks
    )
