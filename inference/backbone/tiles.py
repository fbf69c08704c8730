"""Matrix products whose rows do not depend on how many rows there are.

A BLAS picks its kernel, and so its order of additions, by the number of rows. Here a product only
ever runs with a number of rows from SIZES; the first product of a shape checks, bit for bit, which
sizes agree with the smallest one on this machine, and only those are used for that shape.
"""

from __future__ import annotations

import torch
from torch import Tensor

TILE = 16
SIZES = (256, 128, 64, 32, TILE)


def padded(rows: int) -> int:
    """Round a number of rows up to whole tiles."""
    return -(-rows // TILE) * TILE


class RowTiles:
    """Row-invariant products; remembers which sizes agree for each weight shape."""

    def __init__(self) -> None:
        self._sizes: dict[tuple[int, int], tuple[int, ...]] = {}

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """Multiply float32 [rows, inputs] (rows in whole tiles) by [inputs, outputs]."""
        rows = x.shape[0]
        sizes = self.sizes(weight.shape[0], weight.shape[1])
        if rows in sizes:
            return x @ weight
        out = x.new_empty((rows, weight.shape[1]))
        start = 0
        for size in sizes:
            while rows - start >= size:
                torch.mm(x[start : start + size], weight, out=out[start : start + size])
                start += size
        return out

    def sizes(self, inputs: int, outputs: int) -> tuple[int, ...]:
        """Return the numbers of rows, largest first, that give equal bits for this shape."""
        known = self._sizes.get((inputs, outputs))
        if known is None:
            known = self._sizes[inputs, outputs] = _agreeing(inputs, outputs)
        return known


def _agreeing(inputs: int, outputs: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(inputs * 1_000_003 + outputs)
    x = torch.randn(SIZES[0], inputs, generator=generator)
    weight = torch.randn(inputs, outputs, generator=generator)
    truth = torch.cat([x[i : i + TILE] @ weight for i in range(0, SIZES[0], TILE)])
    return tuple(
        size
        for size in SIZES
        if size == TILE or torch.equal(truth, torch.cat([part @ weight for part in x.split(size)]))  # type: ignore[no-untyped-call]
    )
