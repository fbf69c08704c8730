"""The blocks that may be proposed in an epoch, and which of them exclude each other.

A node of the tree is a block in a view on a parent. A boundary block that is proposed again gives
a second node with the same block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from consensus.core.votes import Subject, VoteKind

START = -1
"""The parent of the first block: what the epoch starts from, view 0, number 0."""
EPOCH = 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A block as it is proposed in a view; `parent` is a position in the tree, or START."""

    view: int
    parent: int
    block: int
    number: int
    boundary: bool
    variant: int


@dataclass(frozen=True)
class Tree:
    """All candidates, by view; votes are bits: notarize and finalize by candidate, nullify by view.

    Views count from 1.
    """

    nodes: tuple[Candidate, ...]
    views: int
    by_view: tuple[tuple[int, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        groups = [
            tuple(i for i, node in enumerate(self.nodes) if node.view == view)
            for view in range(self.views + 1)
        ]
        object.__setattr__(self, "by_view", tuple(groups))

    @property
    def width(self) -> int:
        """Number of bits."""
        return 2 * len(self.nodes) + self.views

    def notarize(self, node: int) -> int:
        return 1 << node

    def finalize(self, node: int) -> int:
        return 1 << len(self.nodes) + node

    def nullify(self, view: int) -> int:
        return 1 << 2 * len(self.nodes) + view - 1

    def view_of(self, node: int) -> int:
        return 0 if node == START else self.nodes[node].view

    def gap(self, node: int) -> range:
        """Return the views between the parent's and the node's."""
        return range(self.view_of(self.nodes[node].parent) + 1, self.nodes[node].view)

    def ancestors(self, node: int) -> Iterator[int]:
        """Yield the node, then its ancestors up to the first one."""
        while node != START:
            yield node
            node = self.nodes[node].parent

    def chain(self, node: int) -> tuple[int, ...]:
        """Return the blocks from the first one to this; one that is proposed again stands once."""
        blocks: list[int] = []
        for step in reversed(list(self.ancestors(node))):
            if not blocks or blocks[-1] != self.nodes[step].block:
                blocks.append(self.nodes[step].block)
        return tuple(blocks)

    @cached_property
    def forks(self) -> tuple[tuple[int, int], ...]:
        """Pairs of nodes whose blocks are on no common chain."""
        chains = [self.chain(node) for node in range(len(self.nodes))]
        return tuple(
            (i, j)
            for j in range(len(chains))
            for i in range(j)
            if chains[i] != chains[j][: len(chains[i])] and chains[j] != chains[i][: len(chains[j])]
        )

    @cached_property
    def overruns(self) -> tuple[tuple[int, int], ...]:
        """Pairs of a boundary node and a node that goes on above its block."""
        chains = [self.chain(node) for node in range(len(self.nodes))]
        return tuple(
            (i, j)
            for i, node in enumerate(self.nodes)
            for j in range(len(chains))
            if node.boundary
            and len(chains[j]) > len(chains[i])
            and chains[j][: len(chains[i])] == chains[i]
        )

    @cached_property
    def subjects(self) -> dict[int, Subject]:
        """What the vote of each bit says."""
        found = {}
        for index, node in enumerate(self.nodes):
            said = (EPOCH, node.view, self.view_of(node.parent), node.number, bytes((node.block,)))
            found[self.notarize(index)] = Subject(VoteKind.NOTARIZE, *said[:4], said[4] * 32)
            found[self.finalize(index)] = Subject(VoteKind.FINALIZE, *said[:4], said[4] * 32)
        for view in range(1, self.views + 1):
            found[self.nullify(view)] = Subject(VoteKind.NULLIFY, EPOCH, view)
        return found

    def subtree(self, node: int) -> int:
        """Return the bits of all notarize votes for a node and what is built on it."""
        return sum(
            self.notarize(other)
            for other in range(len(self.nodes))
            if node in set(self.ancestors(other))
        )


def grow(variants: Sequence[int], boundary: int | None = None) -> Tree:
    """Grow the tree: in each view so many different blocks on every earlier node.

    boundary: the number of the block that ends the epoch. Above it, every view proposes it again,
    and also something else, which no honest validator may vote for.
    """
    nodes: list[Candidate] = []
    blocks = 0
    for view, count in enumerate(variants, 1):
        for parent in [START, *range(len(nodes))]:
            number = nodes[parent].number if parent != START else 0
            ended = parent != START and nodes[parent].boundary
            if parent != START and nodes[parent].view == view:
                break
            if ended:
                nodes.append(Candidate(view, parent, nodes[parent].block, number, True, 0))
            for variant in range(1 if ended else count):
                nodes.append(
                    Candidate(view, parent, blocks, number + 1, number + 1 == boundary, variant)
                )
                blocks += 1
    return Tree(tuple(nodes), len(variants))
