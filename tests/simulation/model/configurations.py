"""What is checked: configurations, rules, and what must come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.simulation.model.candidates import grow
from tests.simulation.model.explorer import Configuration, Harm
from tests.simulation.model.guards import (
    ANYTHING_ON_A_BOUNDARY,
    FINALIZE_WHAT_OTHERS_NOTARIZED,
    FORGETS_A_SENT_VOTE,
    HEAD_COUNT,
    MUTANTS,
    Guards,
)

EQUAL = Configuration("n=4 equal, 1 byzantine, 2 views", (1, 1, 1), (1,), grow((2, 2)))
STAKED = Configuration("stakes 3,2,1 + 2 byzantine, 2 views", (3, 2, 1), (2,), grow((2, 1)))
SKEWED = Configuration("stakes 5,3,1 + 1 byzantine, 2 views", (5, 3, 1), (1,), grow((2, 1)))
LARGE = Configuration("stakes 5,1,1 + 3 byzantine, 2 views", (5, 1, 1), (3,), grow((2, 1)))
SPLIT = Configuration("stakes 4,3 + 3 byzantine keys, 2 views", (4, 3), (1, 1, 1), grow((2, 1)))
THREE_VIEWS = Configuration("n=4 equal, 1 byzantine, 3 views", (1, 1, 1), (1,), grow((1, 1, 1)))
BOUNDARY = Configuration("n=4, boundary at 1, 3 views", (1, 1, 1), (1,), grow((1, 1, 1), 1))
LATE_BOUNDARY = Configuration("n=4, boundary at 2, 3 views", (1, 1, 1), (1,), grow((1, 1, 1), 2))
TWO_BOUNDARIES = Configuration("n=4, two boundaries, 2 views", (1, 1, 1), (1,), grow((2, 1), 1))
WIDE_BOUNDARY = Configuration("n=4, two boundaries, 3 views", (1, 1, 1), (1,), grow((2, 1, 1), 1))
CRASH = Configuration("n=4, one crash", (1, 1, 1), (1,), grow((2, 1)), crashes=True)
HEAVY_CRASH = Configuration("stakes 3,2,1 + 2, 3 crashes", (3, 2, 1), (2,), grow((2, 1)), True)

HALF = Configuration("n=4 equal, 2 byzantine", (1, 1), (1, 1), grow((2, 2)))
HEAVY = Configuration("stakes 2,2 + 3 byzantine", (2, 2), (2, 1), grow((2, 1)))
UNEVEN = Configuration("stakes 2,2,1,1 + 4 byzantine", (2, 2, 1, 1), (3, 1), grow((1, 1)))
ABOVE_A_THIRD = (HALF, HEAVY, UNEVEN)
A_THIRD = Configuration("stakes 2,2,2 + 3 byzantine", (2, 2, 2), (1, 2), grow((2, 1)))
"""Not below a third; still no fork, for two quorums share more than a third."""

CHAIN = frozenset({Harm.FORK, Harm.OVERRUN})
"""What a user loses money by."""
ANY = frozenset(Harm)


@dataclass(frozen=True)
class Check:
    """A configuration under rules; `harm`: what must be found, None where nothing may be."""

    configuration: Configuration
    rules: str
    guards: Guards
    harm: Harm | None = None
    slow: bool = False

    @property
    def looks_for(self) -> frozenset[Harm]:
        """Every harm where there must be none, else the one expected."""
        return ANY if self.harm is None else frozenset({self.harm})

    @property
    def name(self) -> str:
        return f"{self.configuration.name}: {self.rules}"


def checks() -> Iterator[Check]:
    """Yield every check, the small ones first."""
    for safe in (EQUAL, STAKED, SKEWED, LARGE, SPLIT, A_THIRD, TWO_BOUNDARIES, CRASH, HEAVY_CRASH):
        yield Check(safe, "the rules", Guards())
    for safe in (BOUNDARY, THREE_VIEWS, WIDE_BOUNDARY):
        yield Check(safe, "the rules", Guards(), slow=True)
    for harmed in (EQUAL, STAKED):
        for name, guards in MUTANTS.items():
            yield Check(harmed, name, guards, Harm.FORK)
        yield Check(
            harmed,
            "finalize what others notarized",
            FINALIZE_WHAT_OTHERS_NOTARIZED,
            Harm.FRAMED,
        )
    yield Check(SPLIT, "quorum by heads", HEAD_COUNT, Harm.FORK)
    for ended in (TWO_BOUNDARIES, BOUNDARY, LATE_BOUNDARY):
        yield Check(ended, "anything on a boundary", ANYTHING_ON_A_BOUNDARY, Harm.OVERRUN)
    yield Check(CRASH, "a sent vote forgotten", FORGETS_A_SENT_VOTE, Harm.FORK, slow=True)
    yield Check(HEAVY_CRASH, "a sent vote forgotten", FORGETS_A_SENT_VOTE, Harm.FORK, slow=True)
