"""What an honest validator may do next, as steps on the bits of its votes.

A validator that may crash also has votes that are in its log and not sent yet. What survives a
crash is a prefix of the log that reaches at least to the last vote sent; the log's order is not
kept, so every set counts that is a prefix of some order in which the votes can have been cast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.simulation.model.candidates import START, Tree
from tests.simulation.model.guards import Guards

Step = tuple[int, int]
"""The next state of the validator, and the vote that it took (0 where it took none)."""
Steps = Callable[[int, int], tuple[Step, ...]]


class Votes:
    """Which votes the rules allow, given a validator's own votes and the certificates there are.

    A certificate that can exist is delivered whenever that helps: `reached` are the bits of all.
    No finalization is ever delivered too early, so that nothing is out of reach for being final.
    """

    def __init__(self, tree: Tree, guards: Guards) -> None:
        self.tree = tree
        self.guards = guards
        self._legal = [self._boundary_legal(node) for node in range(len(tree.nodes))]

    def _boundary_legal(self, index: int) -> bool:
        node = self.tree.nodes[index]
        parent = None if node.parent == START else self.tree.nodes[node.parent]
        return self.guards.boundary_legal(
            parent_is_boundary=parent is not None and parent.boundary,
            same_block=parent is not None and parent.block == node.block,
            original=parent is None or parent.block != node.block,
        )

    def allowed(self, own: int, reached: int) -> Iterator[int]:
        """Yield the bits of the votes that may be cast now."""
        for view in range(1, self.tree.views + 1):
            yield from self._in_view(view, own, reached)

    def _in_view(self, view: int, own: int, reached: int) -> Iterator[int]:
        tree, guards = self.tree, self.guards
        nodes = tree.by_view[view]
        notarized = [n for n in nodes if own & tree.notarize(n)]
        nullified = bool(own & tree.nullify(view))
        finalized = any(own & tree.finalize(n) for n in nodes)
        if self._entered(view, reached) and guards.may_nullify(
            view=view, current=view, own_nullify=nullified, own_finalize=finalized
        ):
            yield tree.nullify(view)
        for node in nodes:
            if not own & tree.notarize(node) and self._may_notarize(node, bool(notarized), reached):
                yield tree.notarize(node)
            # With several own notarizations, a broken validator thinks of the fitting one.
            own_notarize = node if node in notarized else next(iter(notarized), None)
            if guards.may_finalize(
                view=view,
                final_view=0,
                notarized=node if reached & tree.notarize(node) else None,
                own_notarize=own_notarize,
                own_nullify=nullified,
                own_finalize=finalized,
            ):
                yield tree.finalize(node)

    def _entered(self, view: int, reached: int) -> bool:
        tree = self.tree
        if view == 1:
            return True
        final = [n.view for i, n in enumerate(tree.nodes) if reached & tree.finalize(i)]
        return self.guards.may_enter(
            view,
            view - 1,
            notarized=any(reached & tree.notarize(n) for n in tree.by_view[view - 1]),
            nullified=bool(reached & tree.nullify(view - 1)),
            finalized_from=max(final, default=0),
        )

    def _may_notarize(self, index: int, notarized: bool, reached: int) -> bool:
        tree = self.tree
        node = tree.nodes[index]
        proofs = 0
        if node.parent != START:
            proofs = tree.notarize(node.parent) | tree.finalize(node.parent)
        return self.guards.may_notarize(
            view=node.view,
            final_view=0,
            from_leader=True,
            parent_proven=node.parent == START or bool(reached & proofs),
            gap_nullified=all(reached & tree.nullify(view) for view in tree.gap(index)),
            boundary_legal=self._legal[index],
            own_notarize=notarized,
        )


def steady(votes: Votes) -> Steps:
    """Return the steps of a validator that never crashes: to cast a vote is to send it."""

    def steps(own: int, reached: int) -> tuple[Step, ...]:
        return tuple((own | bit, bit) for bit in votes.allowed(own, reached))

    return steps


def crashing(votes: Votes) -> Steps:
    """Return the steps of one that crashes once: log a vote, send one, lose what was not sent.

    Its state holds three fields: the votes sent, the votes it knows of, whether it crashed.
    """
    tree = votes.tree
    width = tree.width
    full = (1 << width) - 1

    def steps(state: int, reached: int) -> tuple[Step, ...]:
        sent, known, crashed = state & full, state >> width & full, state >> 2 * width
        found = [(_pack(sent, known | bit, crashed), bit) for bit in votes.allowed(known, reached)]
        found.extend(
            (_pack(sent | bit, known, crashed), 0)
            for bit in _bits(known & ~sent)
            if _needs(bit) & ~sent == 0
        )
        if not crashed:
            found.extend((_pack(sent, kept, 1), 0) for kept in _kept(sent, known))
        return tuple(found)

    def _pack(sent: int, known: int, crashed: int) -> int:
        return sent | known << width | crashed << 2 * width

    def _needs(bit: int) -> int:
        """Return the vote that was certainly logged before: notarize before finalize."""
        return bit >> len(tree.nodes) if bit & finalizes else 0

    finalizes = sum(tree.finalize(node) for node in range(len(tree.nodes)))

    def _kept(sent: int, known: int) -> Iterator[int]:
        if votes.guards.forgets:
            yield from (known & ~bit for bit in _bits(sent))
            return
        loose = known & ~sent
        kept = loose
        while True:  # every subset
            if all(_needs(bit) & ~(sent | kept) == 0 for bit in _bits(kept)):
                yield sent | kept
            if not kept:
                return
            kept = kept - 1 & loose

    return steps


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low
        mask ^= low
