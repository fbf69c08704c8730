"""The vote rules, one function each, over plain facts. README.md explains the numbers.

The replica, the signing gate, the explicit-state model and the trace checker all call these.
"""

from __future__ import annotations


def may_enter(
    view: int, current: int, *, notarized: bool, nullified: bool, finalized_from: int
) -> bool:
    """R0: enter a view.

    notarized, nullified: a certificate for the view before it is held; finalized_from: the highest
    view with a finalization certificate.
    """
    return view > current and (notarized or nullified or finalized_from >= view - 1)


def may_propose(
    *, leads: bool, current: bool, proposed: bool, nullified: bool, notarized: bool
) -> bool:
    """R1: build a block for a view; proposed, nullified, notarized: own acts in it so far."""
    return leads and current and not (proposed or nullified or notarized)


def may_notarize(
    *,
    view: int,
    final_view: int,
    from_leader: bool,
    parent_proven: bool,
    gap_nullified: bool,
    boundary_legal: bool,
    own_notarize: bool,
) -> bool:
    """R2: notarize a block that executed and came in time.

    It stays allowed after an own nullify vote and after the view was left.
    """
    return (
        from_leader
        and view > final_view
        and parent_proven
        and gap_nullified
        and boundary_legal
        and not own_notarize
    )


def is_certificate(weight: int, quorum: int) -> bool:
    """R3: weight, never a number of heads, makes a certificate."""
    return weight >= quorum


def may_finalize(
    *,
    view: int,
    final_view: int,
    notarized: bytes | int | None,
    own_notarize: bytes | int | None,
    own_nullify: bool,
    own_finalize: bool,
) -> bool:
    """R4: finalize what was notarized by all and by oneself; `notarized` names the block."""
    return (
        notarized is not None
        and own_notarize == notarized
        and not own_nullify
        and not own_finalize
        and view > final_view
    )


def may_nullify(*, view: int, current: int, own_nullify: bool, own_finalize: bool) -> bool:
    """R5: give up the current view."""
    return view == current and not own_nullify and not own_finalize


def boundary_legal(*, parent_is_boundary: bool, same_block: bool, original: bool) -> bool:
    """H2: above a notarized boundary block only that block may be proposed again.

    parent_is_boundary: the block at the parent view announces the next epoch; same_block: the
    proposal repeats it; original: its leader's claim names this view.
    """
    return same_block if parent_is_boundary else original


def admits(
    *,
    view: int,
    final_view: int,
    current: int,
    retention: int,
    lookahead: int,
) -> bool:
    """R10: look at a vote for this view at all."""
    return final_view - retention < view <= current + lookahead
