"""The rules under test: the product's own functions, or one of them with a fact hidden from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from consensus.core import rules
from runtime.primitives.leaders import quorum

Rule = Callable[..., bool]


def blind(rule: Rule, **facts: Any) -> Rule:
    """Return the rule as it would be without looking at these facts; a function gets the others."""

    def blinded(**given: Any) -> bool:
        told = {name: f(given) if callable(f) else f for name, f in facts.items()}
        return rule(**{**given, **told})

    return blinded


def by_weight(weights: Sequence[int]) -> tuple[int, ...]:
    return tuple(weights)


def by_heads(weights: Sequence[int]) -> tuple[int, ...]:
    return (1,) * len(weights)


@dataclass(frozen=True)
class Guards:
    """What the validators go by; the defaults are looked up when the guards are made."""

    may_enter: Rule = field(default_factory=lambda: rules.may_enter)
    may_notarize: Rule = field(default_factory=lambda: rules.may_notarize)
    may_finalize: Rule = field(default_factory=lambda: rules.may_finalize)
    may_nullify: Rule = field(default_factory=lambda: rules.may_nullify)
    boundary_legal: Rule = field(default_factory=lambda: rules.boundary_legal)
    is_certificate: Callable[[int, int], bool] = field(default_factory=lambda: rules.is_certificate)
    weigh: Callable[[Sequence[int]], tuple[int, ...]] = by_weight
    forgets: bool = False
    """After its crash a validator has forgotten one vote that it sent."""

    def certifies(self, weights: Sequence[int], signers: Sequence[int]) -> bool:
        """Tell whether these signers make a certificate."""
        weighed = self.weigh(weights)
        return self.is_certificate(sum(weighed[i] for i in signers), quorum(sum(weighed)))


MUTANTS: dict[str, Guards] = {
    "finalize after nullify": Guards(may_finalize=blind(rules.may_finalize, own_nullify=False)),
    "nullify after finalize": Guards(may_nullify=blind(rules.may_nullify, own_finalize=False)),
    "two notarizations in a view": Guards(
        may_notarize=blind(rules.may_notarize, own_notarize=False)
    ),
    "skip without proof": Guards(may_notarize=blind(rules.may_notarize, gap_nullified=True)),
    "parent not notarized": Guards(may_notarize=blind(rules.may_notarize, parent_proven=True)),
}
"""Each lets a chain fork."""

HEAD_COUNT = Guards(weigh=by_heads)
ANYTHING_ON_A_BOUNDARY = Guards(boundary_legal=blind(rules.boundary_legal, same_block=True))
FORGETS_A_SENT_VOTE = Guards(forgets=True)
FINALIZE_WHAT_OTHERS_NOTARIZED = Guards(
    may_finalize=blind(rules.may_finalize, own_notarize=lambda given: given["notarized"])
)
"""The chain stays one, but honest validators sign pairs that look like faults."""
