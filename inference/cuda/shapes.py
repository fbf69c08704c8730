"""How many rows a step's products have: two frozen numbers, whatever the batch is.

A row's bits depend on the kernel that a BLAS chooses, and it chooses by the number of rows. So rows
of prompts always run in products of `prompt` rows, rows of outputs in products of `decode` rows;
the rest is padding. Kernels that treat each row on its own run over the smallest bucket instead.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepShapes:
    """Rows of a step's products and the buckets of its other kernels.

    Attributes:
        decode: rows of every product over output positions.
        prompt: rows of every product over prompt positions.
        buckets: rows over which row-wise kernels run in a decode step; ascending, the last is
            `decode`.
    """

    decode: int = 64
    prompt: int = 512
    buckets: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)

    def __post_init__(self) -> None:
        if self.buckets != tuple(sorted(set(self.buckets))) or self.buckets[-1] != self.decode:
            raise ValueError("buckets must ascend and end with the rows of a decode step")
        if self.prompt < self.decode:
            raise ValueError("a prompt chunk has at least as many rows as a decode step")

    def bucket(self, rows: int) -> int:
        """Return the smallest bucket that holds so many rows."""
        return next(size for size in self.buckets if size >= rows)
