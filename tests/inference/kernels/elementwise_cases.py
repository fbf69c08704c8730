"""Inputs of the row-wise kernels, and a rotation by kernel or twin."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from inference.kernels import elementwise, elementwise_twin
from inference.kernels.cache_rows import CacheRows, PageLayout
from inference.kernels.launch import Launch

EPSILON = 1e-5
Norms = tuple[Tensor, Tensor] | None
Run = Callable[[Iterable[Launch]], None]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def assert_near(ours: Tensor, truth: Tensor) -> None:
    ours, truth = ours.float(), truth.float()
    assert not ours.isnan().any()
    assert bool(((ours - truth).abs() <= 2.0**-7 * truth.abs() + 1e-6).all())
    assert (ours - truth).norm() <= 1e-3 * truth.norm()


class Rotation:
    def __init__(
        self, layout: PageLayout, heads: int, positions: list[int], device: str = "cpu"
    ) -> None:
        self.layout, self.rows = layout, len(positions)
        pages = -(-(max(positions, default=0) + 1) // layout.positions)
        tables = torch.randperm(2 * pages, generator=torch.Generator().manual_seed(3))
        self.cache_rows = CacheRows(
            positions=torch.tensor(positions, dtype=torch.int32, device=device),
            table_of=torch.arange(len(positions), dtype=torch.int32, device=device) % 2,
            tables=tables.to(device, torch.int32).view(2, pages),
        )
        width = (heads + 2 * layout.kv_heads) * layout.head_dim
        self.qkv = draw(self.rows, width, seed=4).to(device)
        self.bias = draw(width, seed=5).to(device)
        self.norms = (
            draw(layout.head_dim, seed=6).to(device),
            draw(layout.head_dim, seed=7).to(device),
        )
        self.memory = torch.full((2 * pages * layout.page_bytes,), 0xA5, dtype=torch.uint8).to(
            device
        )
        generator = torch.Generator().manual_seed(8)
        reach = max(positions, default=0) + 1
        drawn = torch.rand(reach, layout.head_dim // 2, generator=generator)
        angles = (drawn * 6.28).to(device)
        self.tables = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)

    def by_kernel(self, run: Run, *, bias: bool, norms: bool) -> tuple[Tensor, Tensor]:
        qkv, memory = self.qkv.clone(), self.memory.clone()
        run(elementwise.rotate_launches(*self._arguments(qkv, memory, bias, norms)))
        return qkv, memory

    def by_twin(self, *, bias: bool, norms: bool) -> tuple[Tensor, Tensor]:
        qkv, memory = self.qkv.clone(), self.memory.clone()
        elementwise_twin.rotate_and_store(*self._arguments(qkv, memory, bias, norms))
        return qkv, memory

    def _arguments(
        self, qkv: Tensor, memory: Tensor, bias: bool, norms: bool
    ) -> tuple[
        Tensor,
        Tensor | None,
        Norms,
        float,
        tuple[Tensor, Tensor],
        CacheRows,
        int,
        Tensor,
        PageLayout,
    ]:
        return (
            qkv,
            self.bias if bias else None,
            self.norms if norms else None,
            EPSILON,
            self.tables,
            self.cache_rows,
            1,
            memory,
            self.layout,
        )
