"""Each rule by its table: every combination of facts, against the rule written out again."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.core import rules
from consensus.core.pace import Pace
from runtime.primitives.leaders import quorum

BOTH = (False, True)
NOTARIZE: dict[str, Any] = {
    "view": 3,
    "final_view": 2,
    "from_leader": True,
    "parent_proven": True,
    "gap_nullified": True,
    "boundary_legal": True,
    "own_notarize": False,
}
FINALIZE: dict[str, Any] = {
    "view": 3,
    "final_view": 2,
    "notarized": b"b",
    "own_notarize": b"b",
    "own_nullify": False,
    "own_finalize": False,
}


@pytest.mark.parametrize(
    ("view", "current", "notarized", "nullified", "finalized_from", "entered"),
    [
        (4, 3, True, False, 0, True),
        (4, 3, False, True, 0, True),
        (4, 3, False, False, 3, True),
        (4, 3, False, False, 9, True),
        (4, 3, False, False, 2, False),
        (4, 4, True, True, 9, False),
        (3, 4, True, True, 9, False),
        (9, 3, True, False, 0, True),
    ],
)
def test_a_view_is_entered_forwards_and_by_a_certificate(
    view: int, current: int, notarized: bool, nullified: bool, finalized_from: int, entered: bool
) -> None:
    assert entered is rules.may_enter(
        view, current, notarized=notarized, nullified=nullified, finalized_from=finalized_from
    )


def test_a_leader_proposes_once_in_its_view_before_it_votes() -> None:
    facts = ("leads", "current", "proposed", "nullified", "notarized")
    allowed = [
        f for f in product(BOTH, repeat=5) if rules.may_propose(**dict(zip(facts, f, strict=True)))
    ]
    assert allowed == [(True, True, False, False, False)]


def test_a_notarize_vote_needs_every_proof_and_a_free_view() -> None:
    assert rules.may_notarize(**NOTARIZE)
    for fact, value in NOTARIZE.items():
        if isinstance(value, bool):
            assert not rules.may_notarize(**{**NOTARIZE, fact: not value}), fact
    for final_view in (3, 4):
        assert not rules.may_notarize(**{**NOTARIZE, "final_view": final_view})


@pytest.mark.parametrize(
    ("notarized", "own", "allowed"),
    [
        (b"b", b"b", True),
        (b"b", b"c", False),
        (b"b", None, False),
        (None, b"b", False),
        (None, None, False),
    ],
)
def test_a_finalize_vote_is_for_what_oneself_and_a_quorum_notarized(
    notarized: bytes | None, own: bytes | None, allowed: bool
) -> None:
    facts = {**FINALIZE, "notarized": notarized, "own_notarize": own}
    assert rules.may_finalize(**facts) is allowed


@pytest.mark.parametrize(
    "changed",
    [{"own_nullify": True}, {"own_finalize": True}, {"final_view": 3}, {"final_view": 4}],
)
def test_no_finalize_vote_after_a_nullify_vote_a_second_time_or_below_finality(
    changed: dict[str, Any],
) -> None:
    assert rules.may_finalize(**FINALIZE)
    assert not rules.may_finalize(**{**FINALIZE, **changed})


def test_only_the_current_view_is_given_up_once_and_not_after_a_finalize_vote() -> None:
    for view, own_nullify, own_finalize in product((2, 3, 4), BOTH, BOTH):
        allowed = rules.may_nullify(
            view=view, current=3, own_nullify=own_nullify, own_finalize=own_finalize
        )
        assert allowed == (view == 3 and not own_nullify and not own_finalize)


@pytest.mark.parametrize(
    ("ended", "same", "original", "legal"),
    [
        (False, False, True, True),
        (False, False, False, False),
        (False, True, False, False),
        (True, True, False, True),
        (True, False, True, False),
        (True, False, False, False),
    ],
)
def test_above_the_last_block_of_an_epoch_only_that_block_is_proposed(
    ended: bool, same: bool, original: bool, legal: bool
) -> None:
    assert legal is rules.boundary_legal(
        parent_is_boundary=ended, same_block=same, original=original
    )


@given(st.integers(1, 2**70))
def test_two_quorums_share_more_than_a_third_and_two_thirds_make_one(total: int) -> None:
    needed = quorum(total)
    assert rules.is_certificate(needed, needed) and not rules.is_certificate(needed - 1, needed)
    assert 3 * (2 * needed - total) > total
    assert 3 * (needed - 1) <= 2 * total < 3 * needed
    faulty = (total - 1) // 3  # the most below a third: the others are a quorum alone
    assert total - faulty >= needed


@given(
    st.fixed_dictionaries({name: st.booleans() for name in list(NOTARIZE)[2:]}),
    st.integers(1, 6),
    st.integers(0, 6),
)
def test_finality_never_allows_a_vote_that_was_not_allowed_before(
    facts: dict[str, bool], view: int, final_view: int
) -> None:
    later = rules.may_notarize(view=view, final_view=final_view + 1, **facts)
    assert not later or rules.may_notarize(view=view, final_view=final_view, **facts)
    votes = {**FINALIZE, "view": view, "own_nullify": facts["own_notarize"]}
    finalized = rules.may_finalize(**{**votes, "final_view": final_view + 1})
    assert not finalized or rules.may_finalize(**{**votes, "final_view": final_view})


@given(st.sampled_from(["b", "c", None]), st.sampled_from(["b", "c", None]), st.booleans())
def test_a_vote_that_was_cast_rules_out_its_contradiction(
    notarized: str | None, own: str | None, own_finalize: bool
) -> None:
    named = {"b": 1, "c": 2, None: None}
    nullify = rules.may_nullify(view=3, current=3, own_nullify=False, own_finalize=own_finalize)
    finalize = rules.may_finalize(
        **{
            **FINALIZE,
            "notarized": named[notarized],
            "own_notarize": named[own],
            "own_finalize": own_finalize,
            "own_nullify": True,
        }
    )
    assert not finalize
    assert nullify is not own_finalize


@pytest.mark.parametrize(
    ("view", "looked_at"), [(2, False), (3, True), (10, True), (16, True), (17, False)]
)
def test_votes_are_looked_at_within_a_window(view: int, looked_at: bool) -> None:
    admitted = rules.admits(view=view, final_view=10, current=12, retention=8, lookahead=4)
    assert admitted is looked_at


@given(st.integers(1, 50_000), st.integers(0, 400))
def test_waiting_grows_with_failed_views_up_to_a_bound(duration: int, failed: int) -> None:
    pace = Pace(block_interval=2000)
    waits = [pace.backed_off(duration, n) for n in range(failed, failed + 3)]
    assert duration <= waits[0] <= waits[1] <= waits[2] <= pace.longest


def test_waiting_doubles_and_doubles_and_arrives_at_the_bound() -> None:
    pace = Pace(block_interval=2000)
    waits = [pace.backed_off(4000, n) for n in range(20)]
    assert waits[:4] == [4000, 4000, 4000, 5000]
    assert waits[-1] == pace.longest
    assert pace.backed_off(70_000, 9) == 70_000
