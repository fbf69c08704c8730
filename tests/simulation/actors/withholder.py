"""Shows its block to just too few, or to just enough, and answers nobody who asks for it."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.core.messages import BlocksRequest, Proposal, Request, Response
from tests.simulation.actors.actor import Actor
from tests.simulation.node import Node


class Withholder(Actor):
    """A proposal for a quorum, or for a quorum less one."""

    def propose(self, proposal: Proposal, to: Sequence[Node]) -> None:
        weights = {a.public: a.weight for a in self.world.chain.schedule(proposal.epoch)}
        total = sum(weights.values())
        reached = weights[self.key.public] if self.key is not None else 0
        enough = self.rng.random() < 0.5
        chosen = []
        for node in self.rng.sample(list(to), len(to)):
            weight = weights.get(node.key.public, 0) if node.key is not None else 0
            is_quorum = 3 * (reached + weight) > 2 * total
            if is_quorum and not enough:
                continue
            chosen.append(node)
            reached += weight
            if is_quorum:
                break
        self.post(proposal, chosen)

    def answer(self, request: Request) -> Response | None:
        return None if isinstance(request, BlocksRequest) else super().answer(request)
