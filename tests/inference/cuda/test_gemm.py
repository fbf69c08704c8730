from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inference.cuda.gemm import FrozenProducts, GemmReason, GemmRefused, TiledProducts, freeze


class Plain:
    """Float32 products as a BLAS likes; `spoil` stands for a device with a defect."""

    def multiply(self, x: Tensor, weight: Tensor, out: Tensor) -> None:
        for row in range(len(x)):
            out[row] = weight.float() @ x[row].float()
        self.spoil(x, out)

    def spoil(self, x: Tensor, out: Tensor) -> None:
        """Change nothing."""


class ByPlace(Plain):
    def spoil(self, x: Tensor, out: Tensor) -> None:
        out[len(out) // 2 :] *= 1.0000002


class ByNeighbours(Plain):
    def spoil(self, x: Tensor, out: Tensor) -> None:
        out += 1e-5 * x.abs().max()


class BySize(Plain):
    def spoil(self, x: Tensor, out: Tensor) -> None:
        out *= 1.0 if len(x) > 16 else 1.0000002


GENERATOR = torch.Generator().manual_seed(1)
WEIGHTS = {"q|k|v": (torch.randn(24, 40, generator=GENERATOR), torch.float32)}
HEAD = {"head": (torch.randn(50, 40, generator=GENERATOR), torch.float32)}


def test_tiled_products_of_a_processor_pass_and_their_hash_repeats() -> None:
    found = freeze(TiledProducts(), WEIGHTS, HEAD, 32, 64)
    assert isinstance(found, FrozenProducts)
    assert found.decode[-1] == 32
    assert found.prompt[-1] == 64
    assert freeze(TiledProducts(), WEIGHTS, HEAD, 32, 64).digest == found.digest
    assert freeze(Plain(), WEIGHTS, HEAD, 32, 64).decode == (16, 32)


@pytest.mark.parametrize(
    ("products", "reason"),
    [(ByPlace(), GemmReason.PLACE), (ByNeighbours(), GemmReason.NEIGHBOURS)],
)
def test_products_whose_rows_depend_on_each_other_are_refused_by_shape(
    products: Plain, reason: GemmReason
) -> None:
    with pytest.raises(GemmRefused, match=r"head: 32 rows times \[40, 50\]") as refused:
        freeze(products, WEIGHTS, HEAD, 32, 64)
    assert refused.value.reason is reason


def test_a_number_of_rows_with_other_bits_does_not_stand_in() -> None:
    found = freeze(BySize(), WEIGHTS, HEAD, 64, 64)
    assert found.decode == (32, 64)


class ByPlaceInLargeOnes(Plain):
    def spoil(self, x: Tensor, out: Tensor) -> None:
        if len(x) > 32:
            out[32:] *= 1.0000002


def test_chunks_of_prompts_are_halved_until_their_products_pass() -> None:
    assert freeze(ByPlaceInLargeOnes(), WEIGHTS, HEAD, 16, 128).prompt == (16, 32)
    with pytest.raises(GemmRefused, match="64 rows"):
        freeze(ByPlaceInLargeOnes(), WEIGHTS, HEAD, 64, 64)
