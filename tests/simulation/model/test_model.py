"""The rules of agreement keep their promises under every schedule, and every broken rule is found.

``python -m tests.simulation.model`` prints the same as a table.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consensus.core import rules
from runtime.primitives.leaders import quorum
from tests.simulation.model.accountability import hold_to_account
from tests.simulation.model.candidates import START, Tree, grow
from tests.simulation.model.configurations import (
    ABOVE_A_THIRD,
    ANY,
    BOUNDARY,
    CHAIN,
    EQUAL,
    STAKED,
    Check,
    checks,
)
from tests.simulation.model.explorer import Configuration, Explorer, Harm, State
from tests.simulation.model.guards import Guards, Rule, blind
from tests.simulation.model.validator import Votes


def each() -> Iterator[object]:
    for check in checks():
        yield pytest.param(check, id=check.name, marks=[pytest.mark.slow] if check.slow else [])


@pytest.mark.parametrize("check", list(each()))
def test_the_rules_do_no_harm_and_each_broken_one_does(check: Check) -> None:
    outcome = Explorer(check.configuration, check.guards).find(check.looks_for)
    assert outcome.harm is check.harm
    assert outcome.states > 100 or check.harm is Harm.FRAMED


@pytest.mark.parametrize("configuration", ABOVE_A_THIRD, ids=lambda c: c.name)
def test_every_fork_proves_more_than_a_third_guilty_and_frames_nobody(
    configuration: Configuration,
) -> None:
    account = hold_to_account(configuration, Guards())
    total = sum(configuration.weights)
    assert account.forks > 50
    assert account.framed == 0
    assert account.least_guilty >= 2 * quorum(total) - total > total // 3


def always(**_facts: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("name", "broken", "configuration"),
    [
        ("may_nullify", blind(rules.may_nullify, own_finalize=False), EQUAL),
        ("may_finalize", blind(rules.may_finalize, own_nullify=False), EQUAL),
        ("may_notarize", blind(rules.may_notarize, gap_nullified=True), EQUAL),
        ("is_certificate", lambda weight, quorum: weight >= quorum - 1, EQUAL),
        ("is_certificate", lambda weight, quorum: weight >= quorum - 1, STAKED),
        ("boundary_legal", always, BOUNDARY),
    ],
)
def test_a_rule_broken_in_the_product_breaks_the_model(
    monkeypatch: pytest.MonkeyPatch, name: str, broken: Rule, configuration: Configuration
) -> None:
    monkeypatch.setattr(rules, name, broken)
    assert Explorer(configuration, Guards()).find(CHAIN).harm in CHAIN


def test_a_boundary_block_can_end_its_epoch_in_a_later_view_than_its_own() -> None:
    explorer = Explorer(BOUNDARY, Guards())
    tree = BOUNDARY.tree
    again = {
        tree.finalize(i)
        for i, node in enumerate(tree.nodes)
        if node.parent != START and node.block == tree.nodes[node.parent].block
    }
    assert len(again) > 1
    for _, reached in explorer.walk(5_000_000):
        again -= {bit for bit in again if reached & bit}
        if not again:
            return
    pytest.fail("a proposal of the same block is never finalized")


def test_all_that_the_protocol_can_decide_is_decided_in_some_run() -> None:
    explorer = Explorer(EQUAL, Guards())
    decided = 0
    for _, reached in explorer.walk(100_000):
        decided |= reached
    # Twins are exchangeable, so a second variant is never voted for before the first.
    assert decided == (1 << EQUAL.tree.width) - 1


def test_symmetry_hides_no_outcome() -> None:
    tree = grow((2, 1))
    reduced = Explorer(Configuration("reduced", (1, 1, 1), (1,), tree), Guards())
    outcomes = {reached for _, reached in reduced.walk(100_000)}
    swapped = {swap_twins(tree, reached) for reached in outcomes}
    assert outcomes | swapped == every_outcome(tree)


def every_outcome(tree: Tree) -> set[int]:
    """Walk through all states of three equal validators and one byzantine, without symmetry."""
    votes = Votes(tree, Guards())
    start: State = (0, 0, 0)
    pending, seen, outcomes = [start], {start}, set()
    memo: dict[tuple[int, int], tuple[int, ...]] = {}
    while pending:
        a, b, c = state = pending.pop()
        reached = a & b | a & c | b & c
        outcomes.add(reached)
        for position, own in enumerate(state):
            key = own, reached
            if key not in memo:
                memo[key] = tuple(own | bit for bit in votes.allowed(own, reached))
            for after in memo[key]:
                successor = (*state[:position], after, *state[position + 1 :])
                if successor not in seen:
                    seen.add(successor)
                    pending.append(successor)
    return outcomes


def swap_twins(tree: Tree, reached: int) -> int:
    """Exchange the two blocks of the first view, and what is built on them."""
    first, second = tree.by_view[1]
    child = {node.parent: i for i, node in enumerate(tree.nodes) if node.view == 2}
    other = {first: second, second: first}
    other |= {child[first]: child[second], child[second]: child[first], child[START]: child[START]}
    swapped = sum(tree.nullify(v) for v in (1, 2) if reached & tree.nullify(v))
    for node, image in other.items():
        swapped |= tree.notarize(image) if reached & tree.notarize(node) else 0
        swapped |= tree.finalize(image) if reached & tree.finalize(node) else 0
    return swapped


def test_the_model_looks_for_every_kind_of_harm() -> None:
    assert {check.looks_for for check in checks() if check.harm is None} == {ANY}
    assert {check.harm for check in checks()} >= {None, Harm.FORK, Harm.OVERRUN, Harm.FRAMED}
