"""Walk through every state that honest validators and an adversary can reach together.

The adversary delivers certificates to whom and when it likes, every leader is its own, and its
validators are taken to have cast every vote that there is. A certificate can exist as soon as the
honest votes for it and all byzantine weight make one. Votes are never taken back, so the state is
the votes of each honest validator.

Two symmetries are used: honest validators of equal weight are exchangeable, and so are the variants
of a block; of the variants untouched so far only the first is voted for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import combinations

from consensus.core.evidence import conflict
from tests.simulation.model.candidates import Tree
from tests.simulation.model.guards import Guards
from tests.simulation.model.validator import Step, Votes, crashing, steady

State = tuple[int, ...]


class Harm(Enum):
    """What must never be."""

    FORK = "two finalized blocks on no common chain"
    OVERRUN = "a block finalized above the last one of the epoch"
    TWO_NOTARIZED = "two blocks notarized in a view"
    SKIPPED_FINAL = "a view both nullified and finalized"
    FINAL_UNNOTARIZED = "a block finalized and not notarized"
    FRAMED = "an honest validator with evidence against it"


@dataclass(frozen=True)
class Configuration:
    """Who takes part, over which blocks. `crashes`: the first honest validator crashes once."""

    name: str
    honest: tuple[int, ...]
    byzantine: tuple[int, ...]
    tree: Tree
    crashes: bool = False

    @property
    def weights(self) -> tuple[int, ...]:
        """All weights, the honest validators first."""
        return self.honest + self.byzantine

    @cached_property
    def classes(self) -> tuple[range, ...]:
        """Runs of honest validators that are exchangeable."""
        starts = [
            i
            for i, weight in enumerate(self.honest)
            if i == 0 or weight != self.honest[i - 1] or (self.crashes and i == 1)
        ]
        return tuple(
            range(a, b) for a, b in zip(starts, [*starts[1:], len(self.honest)], strict=True)
        )


@dataclass(frozen=True)
class Outcome:
    """How many states were seen, and the first harmful one of those looked for."""

    states: int
    harm: Harm | None = None
    state: State = ()


class Explorer:
    """The state space of a configuration under given rules."""

    def __init__(self, configuration: Configuration, guards: Guards) -> None:
        self.configuration = configuration
        self.tree = configuration.tree
        self.coalitions = _coalitions(configuration, guards)
        votes = Votes(self.tree, guards)
        self._rules = [steady(votes)] * len(configuration.honest)
        if configuration.crashes:
            self._rules[0] = crashing(votes)
        self._full = (1 << self.tree.width) - 1
        self._memo: list[dict[tuple[int, int], tuple[Step, ...]]] = [{}, {}]
        self._harms: dict[int, frozenset[Harm]] = {}
        self._framed: dict[int, bool] = {}
        self._exchangeable = {i for run in configuration.classes for i in run[1:]}
        self._siblings = _earlier_siblings(self.tree)

    def find(self, wanted: frozenset[Harm], limit: int = 5_000_000) -> Outcome:
        """Explore until one of these harms; raises RuntimeError beyond `limit` states."""
        states = 0
        for state, reached in self.walk(limit):
            states += 1
            for harm in self.harms(state, reached):
                if harm in wanted:
                    return Outcome(states, harm, state)
        return Outcome(states)

    def walk(self, limit: int) -> Iterator[tuple[State, int]]:
        """Yield every state once, the nearest first, with the certificates that it allows."""
        start = (0,) * len(self.configuration.honest)
        seen = {start}
        queue = deque([start])
        arrange = self._arrange()
        while queue:
            state = queue.popleft()
            reached = self.reached(state)
            yield state, reached
            for after in self._successors(state, reached):
                after = arrange(after)
                if after not in seen:
                    seen.add(after)
                    queue.append(after)
            if len(seen) > limit:
                raise RuntimeError(f"more than {limit} states")

    def reached(self, state: State) -> int:
        """Return the bits of the certificates that can exist."""
        found = 0
        for coalition in self.coalitions:
            common = self._full
            for position in coalition:
                common &= state[position]
            found |= common
        return found

    def harms(self, state: State, reached: int) -> Iterator[Harm]:
        """Yield what is wrong with a state."""
        if reached not in self._harms:
            self._harms[reached] = frozenset(self._harms_of(reached))
        yield from self._harms[reached]
        for own in state:
            sent = own & self._full
            if sent not in self._framed:
                self._framed[sent] = self._frames(sent)
            if self._framed[sent]:
                yield Harm.FRAMED

    def _successors(self, state: State, reached: int) -> Iterator[State]:
        touched = 0
        for own in state:
            touched |= own | own >> self.tree.width
        for position, own in enumerate(state):
            if position in self._exchangeable and own == state[position - 1]:
                continue
            rule = self._rules[position]
            memo = self._memo[rule is not self._rules[-1]]
            steps = memo.get((own, reached))
            if steps is None:
                steps = memo[own, reached] = rule(own, reached)
            for after, bit in steps:
                needed = self._siblings.get(bit)
                if needed is None or all(touched & mask for mask in needed):
                    yield (*state[:position], after, *state[position + 1 :])

    def _arrange(self) -> Callable[[State], State]:
        """Return what puts exchangeable validators in order."""
        classes = self.configuration.classes
        if len(classes) == 1:
            return lambda state: tuple(sorted(state))
        if len(classes) == len(self.configuration.honest):
            return lambda state: state
        return lambda state: tuple(
            own for run in classes for own in sorted(state[run.start : run.stop])
        )

    def _harms_of(self, reached: int) -> Iterator[Harm]:
        tree = self.tree
        final = {n for n in range(len(tree.nodes)) if reached & tree.finalize(n)}
        if any(i in final and j in final for i, j in tree.forks):
            yield Harm.FORK
        if any(i in final and j in final for i, j in tree.overruns):
            yield Harm.OVERRUN
        if any(not reached & tree.notarize(node) for node in final):
            yield Harm.FINAL_UNNOTARIZED
        for view in range(1, tree.views + 1):
            nodes = tree.by_view[view]
            if sum(1 for node in nodes if reached & tree.notarize(node)) > 1:
                yield Harm.TWO_NOTARIZED
            if reached & tree.nullify(view) and final & set(nodes):
                yield Harm.SKIPPED_FINAL

    def _frames(self, sent: int) -> bool:
        said = [subject for bit, subject in self.tree.subjects.items() if sent & bit]
        return any(conflict(one, other) is not None for one, other in combinations(said, 2))


def _coalitions(configuration: Configuration, guards: Guards) -> list[tuple[int, ...]]:
    """List the least sets of honest validators that make a certificate with all byzantine ones."""
    honest = range(len(configuration.honest))
    byzantine = tuple(range(len(honest), len(configuration.weights)))
    found: list[tuple[int, ...]] = []
    for size in range(len(honest) + 1):
        for group in combinations(honest, size):
            if any(set(smaller) <= set(group) for smaller in found):
                continue
            if guards.certifies(configuration.weights, group + byzantine):
                found.append(group)
    return found


def _earlier_siblings(tree: Tree) -> dict[int, Sequence[int]]:
    """Find what must have been voted for before a block is: it or its twin before it.

    The same holds for each of its ancestors. By notarize bit, masks each of which must be touched.
    """
    found: dict[int, Sequence[int]] = {}
    for index in range(len(tree.nodes)):
        masks = []
        for step in tree.ancestors(index):
            node = tree.nodes[step]
            if node.variant:
                masks.append(tree.subtree(step) | tree.subtree(step - 1))
        if masks:
            found[tree.notarize(index)] = masks
    return found
