"""The low-rank changes of one step: which rows belong to which adapter, computed in few products.

Adapters with few rows whose shapes are equal are computed together, as one product over a stack of
their images; any other adapter on its own, straight from the device's memory. The bits of a row are
the same either way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.adapters.resident import Resident
from inference.backbone.chain import UNITS, ChainSizes, chain_sizes
from inference.backbone.config import LlamaConfig
from inference.backbone.factors import (
    GroupFactors,
    GroupShape,
    group_shapes,
    open_factors,
)
from inference.backbone.lora_stack import LoraStack
from inference.backbone.lora_work import LoraWork, ManyAdapters, OneAdapter
from inference.backbone.tiles import padded
from inference.executor import Piece

WORTH = 1 << 20
"""Bytes per layer above which reading an adapter takes longer than starting its products."""

_VIEWS, _KINDS, _STACKS = 64, 4096, 8


@dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """Adapters that can be stacked: their images have the same parts at the same offsets."""

    shapes: tuple[GroupShape | None, ...]
    sizes: tuple[ChainSizes | None, ...]
    units: tuple[int, ...]


class LoraBatch:
    """Plans steps over one memory; keeps views and stacks from step to step."""

    def __init__(self, config: LlamaConfig, memory: Tensor) -> None:
        self._config = config
        self._floats = memory.view(torch.float32)
        self._kinds: dict[tuple[GroupShape | None, ...], _Kind] = {}
        self._kind_of: OrderedDict[bytes, _Kind] = OrderedDict()
        self._views: OrderedDict[bytes, tuple[int, tuple[GroupFactors | None, ...]]] = OrderedDict()
        self._stacks: OrderedDict[_Kind, LoraStack] = OrderedDict()

    def order(self, pieces: Sequence[Piece]) -> Sequence[int]:
        """Choose in which order the pieces' rows are laid out: as their adapters are stacked.

        Then the rows of a stack need not be gathered and put back.
        """
        rank: dict[bytes, int] = {}
        for stack in self._stacks.values():
            if len(stack.owners) > len(rank):
                rank = {owner: slot for slot, owner in enumerate(stack.owners)}
        last = len(rank)

        def place(index: int) -> int:
            adapter = pieces[index].adapter
            return last if adapter is None else rank.get(adapter.content_hash, last)

        return sorted(range(len(pieces)), key=place)

    def plan(self, pieces: Sequence[Piece], *, stacked: bool = True) -> list[LoraWork]:
        """List what is to be added to the products of a step.

        Args:
            pieces: in the order of their rows.
            stacked: whether stacks may change, so that an earlier plan is of no use any more.
        """
        rows: dict[bytes, tuple[Resident, list[int]]] = {}
        count = 0
        for piece in pieces:
            if piece.adapter is not None:
                key = piece.adapter.content_hash
                _, own = rows.setdefault(key, (piece.adapter, []))
                own.extend(range(count, count + len(piece.tokens)))
            count += len(piece.tokens)
        works: list[LoraWork] = []
        few: dict[_Kind, list[tuple[Resident, list[int]]]] = {}
        for resident, own in rows.values():
            kind = self._kind(resident)
            if stacked and len(own) <= max(kind.units, default=0):
                few.setdefault(kind, []).append((resident, own))
            else:
                works.append(self._alone(kind, resident, own, count))
        for kind, group in few.items():
            if len(group) == 1:
                works.append(self._alone(kind, *group[0], count))
            else:
                works.append(self._together(kind, group, count))
        return works

    def _alone(self, kind: _Kind, resident: Resident, rows: list[int], count: int) -> LoraWork:
        everyone = len(rows) == count
        extra = [rows[0]] * (padded(len(rows)) - len(rows))
        return OneAdapter(
            factors=self._factors(resident),
            runs=tuple(() if sizes is None else sizes.runs for sizes in kind.sizes),
            rows=None if everyone else torch.tensor(rows + extra),
            count=len(rows),
            total=padded(len(rows)),
            first=rows[0] if rows[-1] - rows[0] == len(rows) - 1 else None,
        )

    def _together(
        self, kind: _Kind, group: list[tuple[Resident, list[int]]], count: int
    ) -> LoraWork:
        stack = self._stacks.get(kind)
        if stack is None:
            stack = self._stacks[kind] = LoraStack(kind.shapes, self._factors)
            while len(self._stacks) > _STACKS:
                self._stacks.popitem(last=False)
        self._stacks.move_to_end(kind)
        slots = stack.hold([resident for resident, _ in group])
        most = max(len(own) for _, own in group)
        unit = next(unit for unit in kind.units if unit >= most)
        chosen = [0] * (stack.size * unit)
        places: dict[int, int] = {}
        for slot, (_, own) in zip(slots, group, strict=True):
            at = slot * unit
            chosen[at : at + unit] = own + [own[0]] * (unit - len(own))
            places.update((row, at + number) for number, row in enumerate(own))
        straight = len(places) == len(chosen) and chosen == list(range(len(chosen)))
        everyone = len(places) == count
        if everyone:
            where = [places.get(row, 0) for row in range(padded(count))]
        else:
            where = list(places.values())
        return ManyAdapters(
            factors=stack.factors,
            size=stack.size,
            unit=unit,
            chosen=None if straight else torch.tensor(chosen),
            places=None if straight else torch.tensor(where),
            rows=None if everyone else torch.tensor(list(places)),
        )

    def _kind(self, resident: Resident) -> _Kind:
        kind = self._kind_of.get(resident.content_hash)
        if kind is None:
            shapes = group_shapes(resident.layout, self._config)
            kind = self._kinds.get(shapes)
            if kind is None:
                kind = self._kinds[shapes] = self._new_kind(shapes, resident)
            self._kind_of[resident.content_hash] = kind
            while len(self._kind_of) > _KINDS:
                self._kind_of.popitem(last=False)
        return kind

    def _new_kind(self, shapes: tuple[GroupShape | None, ...], resident: Resident) -> _Kind:
        sizes = tuple(None if shape is None else chain_sizes(shape) for shape in shapes)
        small = resident.size_bytes <= WORTH * self._config.num_hidden_layers
        units = set(UNITS) if small else set[int]()
        for found in sizes:
            if found is not None:
                units &= set(found.units)
        return _Kind(shapes, sizes, tuple(sorted(units)))

    def _factors(self, resident: Resident) -> tuple[GroupFactors | None, ...]:
        start = resident.extent.start
        known = self._views.get(resident.content_hash)
        if known is None or known[0] != start:
            image = self._floats[start // 4 : (start + resident.layout.size) // 4]
            known = start, open_factors(image, resident.layout, self._config)
            self._views[resident.content_hash] = known
            while len(self._views) > _VIEWS:
                self._views.popitem(last=False)
        self._views.move_to_end(resident.content_hash)
        return known[1]
