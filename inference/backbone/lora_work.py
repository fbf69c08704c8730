"""How the changes of one adapter, or of a stack of them, are added to a product's rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from inference.backbone.factors import GroupFactors, SiteFactor


class LoraWork(Protocol):
    """Something to add to the rows of every product."""

    def add(self, out: Tensor, x: Tensor, group: int) -> None:
        """Change float32 [rows, outputs], the product of [rows, inputs] with a group's weights."""


@dataclass(frozen=True, slots=True)
class OneAdapter:
    """One adapter for any number of rows.

    Attributes:
        factors, runs: per group, layer-major: what to multiply with, in runs of how many rows.
        rows: int64 [total], padded with a real row; None if all rows are its own.
        count: how many of `rows` are real.
        total: whole tiles.
        first: the first of the rows if they follow each other.
    """

    factors: tuple[GroupFactors | None, ...]
    runs: tuple[tuple[int, ...], ...]
    rows: Tensor | None
    count: int
    total: int
    first: int | None

    def add(self, out: Tensor, x: Tensor, group: int) -> None:
        """Add the adapter's change to its rows."""
        factors = self.factors[group]
        if factors is None:
            return
        own = x if self.rows is None else x.index_select(0, self.rows)
        start = 0
        for size in self.runs[group]:
            while self.total - start >= size:
                part = own if size == self.total else own[start : start + size]
                deltas = factors.delta(part)
                for site, delta in zip(factors.sites, deltas, strict=True):
                    self._write(_columns(out, delta, site), delta, start, size)
                start += size

    def _write(self, target: Tensor, delta: Tensor, start: int, size: int) -> None:
        if self.rows is None:
            if size == self.total:
                target += delta
            else:
                target[start : start + size] += delta
            return
        real = min(size, self.count - start)
        if self.first is not None:
            first = self.first + start
            target[first : first + real] += delta[:real]
        else:
            target.index_add_(0, self.rows[start : start + real], delta[:real])


@dataclass(frozen=True, slots=True)
class ManyAdapters:
    """Adapters of equal shape with a unit of a few rows each.

    Attributes:
        factors: per group, layer-major; float32 [size, ...] each.
        size, unit: number of adapters, and of rows of each.
        chosen: int64 [size · unit], the row behind each place of the units; None if places are
            rows.
        places: int64, the place of each of `rows`, or of every row in whole tiles; None if places
            are rows.
        rows: int64, the rows that are changed; None if all are.
    """

    factors: tuple[GroupFactors | None, ...]
    size: int
    unit: int
    chosen: Tensor | None
    places: Tensor | None
    rows: Tensor | None

    def add(self, out: Tensor, x: Tensor, group: int) -> None:
        """Add every adapter's change to its rows."""
        factors = self.factors[group]
        if factors is None:
            return
        count = self.size * self.unit
        own = x[:count] if self.chosen is None else x.index_select(0, self.chosen)
        if self.unit == 1:
            deltas = factors.single(own)
        else:
            units = factors.delta(own.view(self.size, self.unit, -1))
            deltas = [delta.view(count, -1) for delta in units]
        for site, delta in zip(factors.sites, deltas, strict=True):
            target = _columns(out, delta, site)
            if self.places is None:
                target[:count] += delta
            elif self.rows is None:
                target += delta.index_select(0, self.places)
            else:
                target.index_add_(0, self.rows, delta.index_select(0, self.places))


def _columns(out: Tensor, delta: Tensor, site: SiteFactor) -> Tensor:
    return out if delta.shape[1] == out.shape[1] else out[:, site.outputs]
