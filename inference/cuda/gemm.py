"""Base products in frozen shapes, and the check that they keep a row's bits.

cuBLAS chooses a kernel by the shape, so a product always has one of two numbers of rows. Within a
frozen shape nothing says that a row's bits are independent of its place and of the other rows; at
start every weight shape is tried: the same rows in other places, beside other rows, must come out
bit for bit the same. A smaller number of rows stands in for the frozen one where every shape gives
the same bits with it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor

from inference.backbone.tiles import RowTiles
from runtime.primitives.errors import Refusal

SIZES = (16, 32, 64, 128, 256, 512)
"""Numbers of rows that may stand in for a frozen one."""


class GemmReason(Enum):
    """Why a device's products are refused."""

    PLACE = "place"
    NEIGHBOURS = "neighbours"


class GemmRefused(Refusal):
    """Products of this device whose rows depend on each other."""

    def __init__(self, reason: GemmReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: GemmReason = reason


class Products(Protocol):
    """Multiplies rows by a weight [outputs, inputs]."""

    def multiply(self, x: Tensor, weight: Tensor, out: Tensor) -> None:
        """Write `x · weightᵀ` to `out` [rows, outputs], one rounding to its dtype."""


class CublasProducts:
    """`torch.mm`, with what would let cuBLAS vary its sums switched off."""

    def __init__(self) -> None:
        # cuBLAS reads it with its first handle: one fixed workspace, so one choice of kernels.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_tf32 = False

    def multiply(self, x: Tensor, weight: Tensor, out: Tensor) -> None:
        """Multiply, accumulating in float32; a float32 `out` of bfloat16 factors is unrounded."""
        if out.dtype == x.dtype:
            torch.mm(x, weight.t(), out=out)
        else:
            torch.mm(x, weight.t(), out_dtype=out.dtype, out=out)


class TiledProducts:
    """Float32 products in row tiles of a CPU, rounded once to the dtype of `out`."""

    def __init__(self) -> None:
        self._tiles = RowTiles()

    def multiply(self, x: Tensor, weight: Tensor, out: Tensor) -> None:
        """Multiply in float32."""
        out.copy_(self._tiles.product(x.float(), weight.float().t().contiguous()))


def products(device: torch.device) -> Products:
    """Give a device its products."""
    return CublasProducts() if device.type == "cuda" else TiledProducts()


@dataclass(frozen=True, slots=True)
class FrozenProducts:
    """What the check at start found.

    Attributes:
        decode: numbers of rows with the bits of a decode step's products, ascending.
        prompt: numbers of rows with the bits of a prompt chunk's products, ascending; the last is
            how many rows a chunk has.
        digest: blake2b-256 of every checked product's bytes; equal on like machines.
    """

    decode: tuple[int, ...]
    prompt: tuple[int, ...]
    digest: bytes


Checked = Mapping[str, tuple[Tensor, torch.dtype]]
"""One weight of each shape by name, with the dtype of its products."""


def freeze(
    multiply: Products, layers: Checked, head: Checked, decode: int, prompt: int
) -> FrozenProducts:
    """Check the weights of the layers with both numbers of rows, the head with `decode`.

    Where products of `prompt` rows do not pass, half as many are tried, down to `decode`.

    Raises:
        GemmRefused: naming the weight, its shape and the number of rows.
    """
    digest = hashlib.blake2b(digest_size=32)

    def checked(weights: Checked, rows: int) -> list[_Checked]:
        tried = []
        for name, (weight, dtype) in sorted(weights.items()):
            one = _Checked(multiply, name, weight, dtype, rows)
            one.refuse_dependence()
            digest.update(one.bytes())
            tried.append(one)
        return tried

    def agreeing(rows: int) -> tuple[int, ...]:
        tried = checked(layers, rows)
        smaller = [size for size in SIZES if size < rows and rows % size == 0]
        return (*(s for s in smaller if all(one.agrees(s) for one in tried)), rows)

    def largest(rows: int) -> tuple[int, ...]:
        try:
            return agreeing(rows)
        except GemmRefused:
            if rows // 2 < decode:
                raise
            return largest(rows // 2)

    checked(head, decode)
    return FrozenProducts(agreeing(decode), largest(prompt), digest.digest())


class _Checked:
    """Products of one weight with one number of rows."""

    def __init__(
        self, multiply: Products, name: str, weight: Tensor, dtype: torch.dtype, rows: int
    ) -> None:
        self._multiply = multiply
        self._name = name
        self._weight = weight
        self._dtype = dtype
        self._rows = rows
        self._generator = torch.Generator().manual_seed(weight.shape[0] * 1_000_003 + rows)
        self._x = self._draw()
        self._truth = self._product(self._x)

    def refuse_dependence(self) -> None:
        """Raise GemmRefused if a row's bits change with its place or its neighbours."""
        rows = self._rows
        for shift in (1, 7, rows // 2 + 1):
            moved = self._product(self._x.roll(shift, 0))
            if not torch.equal(moved, self._truth.roll(shift, 0)):
                raise GemmRefused(GemmReason.PLACE, self._describe())
        order = torch.randperm(rows, generator=self._generator).to(self._x.device)
        if not torch.equal(self._product(self._x[order]), self._truth[order]):
            raise GemmRefused(GemmReason.PLACE, self._describe())
        for fill in (torch.zeros_like(self._x), 1000 * self._draw()):
            for row in sorted({0, 1, rows // 2, rows - 1}):
                other = fill.clone()
                other[row] = self._x[row]
                if not torch.equal(self._product(other)[row], self._truth[row]):
                    raise GemmRefused(GemmReason.NEIGHBOURS, self._describe())

    def agrees(self, size: int) -> bool:
        """Whether products of `size` rows give the same bits."""
        parts: Iterable[Tensor] = (
            self._product(self._x[start : start + size]) for start in range(0, self._rows, size)
        )
        return torch.equal(torch.cat(list(parts)), self._truth)

    def bytes(self) -> bytes:
        """Return the bytes of the product."""
        return self._truth.cpu().contiguous().view(torch.uint8).numpy().tobytes()

    def _product(self, x: Tensor) -> Tensor:
        out = torch.empty(
            (x.shape[0], self._weight.shape[0]), dtype=self._dtype, device=self._weight.device
        )
        self._multiply.multiply(x.contiguous(), self._weight, out)
        return out

    def _draw(self) -> Tensor:
        drawn = torch.randn(self._rows, self._weight.shape[1], generator=self._generator)
        return drawn.to(device=self._weight.device, dtype=self._weight.dtype)

    def _describe(self) -> str:
        outputs, inputs = self._weight.shape
        return (
            f"{self._name}: {self._rows} rows times [{inputs}, {outputs}] on "
            f"{self._weight.device}; answers of this device could not be replayed bit for bit"
        )


def covering(sizes: Sequence[int], rows: int) -> int:
    """Return the smallest of ascending sizes that holds so many rows."""
    return next(size for size in sizes if size >= rows)
