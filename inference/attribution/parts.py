"""The building of an index in parts: one part per batch of passages, computed here or elsewhere.

What depends on the order of additions is added up by whoever asked for the parts, in the order of
the batches. So an index has the same bits wherever its parts were computed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from inference.attribution.gradients import Passage, TracedModel

Part = Callable[[TracedModel, Sequence[Passage], Sequence[int]], Any]
"""Computes what one batch adds, from its passages and their positions; can be pickled."""


class Parts(Protocol):
    """Computes the parts of many batches."""

    def each(
        self,
        model: TracedModel,
        passages: Sequence[Passage],
        groups: Sequence[Sequence[int]],
        part: Part,
    ) -> Iterator[Any]:
        """Yield the part of each group of positions in `passages`, in the order of the groups."""
        ...


class PartsHere:
    """Computes one part after the other in this process."""

    def each(
        self,
        model: TracedModel,
        passages: Sequence[Passage],
        groups: Sequence[Sequence[int]],
        part: Part,
    ) -> Iterator[Any]:
        """Yield the part of each group, when it is asked for."""
        for group in groups:
            yield part(model, [passages[at] for at in group], group)


HERE = PartsHere()
