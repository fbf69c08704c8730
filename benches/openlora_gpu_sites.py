"""One adapted linear layer with random factors: what the kernels and their peers work on."""

from __future__ import annotations

import copy
import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.cuda.kernel_set import KernelSet
from inference.kernels.image_tiles import tile_b
from inference.kernels.lora import new_partials
from inference.kernels.lora_tiles import NARROW, LoraTiles, plan_tiles

TABLE = 256


@dataclass(frozen=True, slots=True)
class Case:
    """One site [outputs, inputs], its rows' adapters and their ranks."""

    inputs: int
    outputs: int
    ranks: tuple[int, ...]
    adapter_of: tuple[int, ...]

    @property
    def floor_bytes(self) -> int:
        """Factors of the distinct adapters once, inputs once, outputs read and written."""
        rows = len(self.adapter_of)
        factors = sum(2 * rank * (self.inputs + self.outputs) for rank in self.ranks)
        return factors + 2 * rows * self.inputs + 4 * rows * self.outputs


class Site:
    """Tensors of a case: factors apart for the peers, images for the kernels."""

    def __init__(self, case: Case, device: torch.device) -> None:
        self.case = case
        generator = torch.Generator().manual_seed(5)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator).mul_(0.05).bfloat16()

        rows = len(case.adapter_of)
        self.a = [normal(rank, case.inputs) for rank in case.ranks]
        self.b = [normal(case.outputs, rank) for rank in case.ranks]
        self.memory, starts = self._images()
        self.memory = self.memory.to(device)
        self.a = [a.to(device) for a in self.a]
        self.b = [b.to(device) for b in self.b]
        self.x = normal(rows, case.inputs).to(device)
        self.out = torch.zeros((rows, case.outputs), dtype=torch.bfloat16, device=device)
        tiles = plan_tiles([starts[adapter] for adapter in case.adapter_of], NARROW, rows)
        self.tiles = LoraTiles(tiles.at.to(device), tiles.rows.to(device))
        self.partials = new_partials(rows, case.inputs, max(case.ranks), device)
        self.rows_of = [
            torch.tensor([row for row, a in enumerate(case.adapter_of) if a == n], device=device)
            for n in range(len(case.ranks))
        ]
        self.index = torch.tensor(case.adapter_of, device=device)

    def _images(self) -> tuple[Tensor, list[int]]:
        parts, starts, at = [], [], 0
        for a, b in zip(self.a, self.b, strict=True):
            tiled = tile_b(b)
            rank = a.shape[0]
            a_at, b_at = TABLE, TABLE + -(-a.nbytes // 256) * 256
            size = b_at + -(-tiled.nbytes // 256) * 256
            image = torch.zeros(size, dtype=torch.uint8)
            table = struct.pack("<8I3f", a_at // 16, b_at // 16, 0, 0, rank, rank, 0, 0, 2.0, 0, 0)
            image[: len(table)] = torch.frombuffer(bytearray(table), dtype=torch.uint8)
            image[a_at : a_at + a.nbytes] = a.reshape(-1).view(torch.uint8)
            image[b_at : b_at + tiled.nbytes] = tiled.view(torch.uint8)
            parts.append(image)
            starts.append(at)
            at += size
        return torch.cat(parts), starts

    def copied(self) -> Site:
        """Copy the site with images in memory of its own."""
        other = copy.copy(self)
        other.memory = self.memory.clone()
        return other

    def kernels(self, kernels: KernelSet) -> None:
        """Run shrink and expand."""
        kernels.shrink(self.x, self.memory, self.tiles, 0, 1, self.partials)
        kernels.expand(self.partials, self.memory, self.tiles, 0, self.out, (self.case.outputs,))
