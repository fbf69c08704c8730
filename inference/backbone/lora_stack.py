"""Factors of adapters with equal ranks, copied side by side so that one product reads them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from inference.adapters.resident import Resident
from inference.backbone.factors import GroupFactors, GroupShape, SiteFactor

Factors = tuple[GroupFactors | None, ...]


class LoraStack:
    """Slots of one adapter each; an adapter that is here already is not copied again.

    An image never changes under its content hash, so a copy stays good wherever the original moves.
    Bᵀ is kept row by row, [slots, rank, outputs]: so a product of few rows reads it fastest.
    """

    def __init__(
        self, shapes: Sequence[GroupShape | None], factors: Callable[[Resident], Factors]
    ) -> None:
        """Start without slots.

        Args:
            shapes: of every group, layer-major.
            factors: views an adapter in the device's memory.
        """
        self._factors = factors
        self._owners: list[bytes] = []
        self._groups = tuple(None if shape is None else _empty(shape) for shape in shapes)
        self._capacity = 0
        self._views: dict[int, Factors] = {}

    @property
    def size(self) -> int:
        """Number of slots."""
        return len(self._owners)

    @property
    def owners(self) -> Sequence[bytes]:
        """The adapter in each slot."""
        return self._owners

    @property
    def factors(self) -> Factors:
        """The factors of all slots, float32 [slots, ...]."""
        views = self._views.get(self.size)
        if views is None:
            views = self._views[self.size] = self._each(lambda group: _first(group, self.size))
        return views

    def hold(self, residents: Sequence[Resident]) -> list[int]:
        """Make sure of these adapters, at least; return their slots."""
        wanted = {resident.content_hash for resident in residents}
        if len(self._owners) > 2 * len(wanted):
            self._shrink(wanted)
        slots = {owner: slot for slot, owner in enumerate(self._owners)}
        free = [slot for slot, owner in enumerate(self._owners) if owner not in wanted]
        for resident in residents:
            if resident.content_hash not in slots:
                slot = free.pop() if free else self._grow()
                self._copy(resident, slot)
                slots[resident.content_hash] = slot
        return [slots[resident.content_hash] for resident in residents]

    def _grow(self) -> int:
        slot = len(self._owners)
        if slot == self._capacity:
            self._capacity = max(4, 2 * slot)
            self._groups = self._each(lambda group: _resized(group, self._capacity))
            self._views.clear()
        self._owners.append(b"")
        return slot

    def _shrink(self, wanted: set[bytes]) -> None:
        """Move those that are wanted to the front and forget the others, and their memory."""
        kept = [slot for slot, owner in enumerate(self._owners) if owner in wanted]
        self._groups = self._each(lambda group: _chosen(group, kept))
        self._owners = [self._owners[slot] for slot in kept]
        self._capacity = len(kept)
        self._views.clear()

    def _copy(self, resident: Resident, slot: int) -> None:
        for ours, theirs in zip(self._groups, self._factors(resident), strict=True):
            if ours is None or theirs is None:
                continue
            ours.shrink[slot] = theirs.shrink
            ours.scale[slot] = theirs.scale
            for own, other in zip(ours.sites, theirs.sites, strict=True):
                own.expand[slot] = other.expand
        self._owners[slot] = resident.content_hash

    def _each(self, change: Callable[[GroupFactors], GroupFactors]) -> Factors:
        return tuple(None if group is None else change(group) for group in self._groups)


def _empty(shape: GroupShape) -> GroupFactors:
    total = sum(shape.ranks)
    sites = []
    rank = column = 0
    for size, outputs in zip(shape.ranks, shape.outputs, strict=True):
        if size:
            ranks, columns = slice(rank, rank + size), slice(column, column + outputs)
            sites.append(SiteFactor(ranks, columns, torch.empty(0, size, outputs)))
        rank += size
        column += outputs
    return GroupFactors(torch.empty(0, total, shape.inputs), torch.empty(0, total, 1), tuple(sites))


def _mapped(group: GroupFactors, change: Callable[[torch.Tensor], torch.Tensor]) -> GroupFactors:
    sites = tuple(SiteFactor(s.ranks, s.outputs, change(s.expand)) for s in group.sites)
    return GroupFactors(change(group.shrink), change(group.scale), sites)


def _first(group: GroupFactors, count: int) -> GroupFactors:
    return _mapped(group, lambda tensor: tensor[:count])


def _chosen(group: GroupFactors, slots: list[int]) -> GroupFactors:
    return _mapped(group, lambda tensor: tensor[slots])


def _resized(group: GroupFactors, capacity: int) -> GroupFactors:
    def longer(tensor: torch.Tensor) -> torch.Tensor:
        more = tensor.new_empty(capacity - tensor.shape[0], *tensor.shape[1:])
        return torch.cat([tensor, more])

    return _mapped(group, longer)
