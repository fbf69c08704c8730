"""The kernels that a step needs, as one value: CUDA launches, or their twins on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from inference.kernels import (
    attention,
    attention_twin,
    elementwise,
    elementwise_twin,
    lora,
    lora_twin,
    sampler,
    sampler_twin,
)
from inference.kernels.cache_rows import CacheRows, PageLayout
from inference.kernels.lora_tiles import LoraTiles
from inference.kernels.sampler import Draws

Norms = tuple[Tensor, Tensor]


class RotateAndStore(Protocol):
    """See `inference.kernels.elementwise.rotate_and_store`."""

    def __call__(
        self,
        qkv: Tensor,
        bias: Tensor | None,
        norms: Norms | None,
        epsilon: float,
        tables: tuple[Tensor, Tensor],
        rows: CacheRows,
        layer: int,
        memory: Tensor,
        layout: PageLayout,
    ) -> None:
        """Finish queries in place, write keys and values to their pages."""


class AttendRows(Protocol):
    """See `inference.kernels.attention.attend_rows`."""

    def __call__(
        self,
        queries: Tensor,
        memory: Tensor,
        layout: PageLayout,
        layer: int,
        rows: CacheRows,
        longest: int,
        scratch: Tensor,
        out: Tensor,
    ) -> None:
        """Attend with each row on its own."""


class AttendTiles(Protocol):
    """See `inference.kernels.attention.attend_tiles`."""

    def __call__(
        self,
        queries: Tensor,
        memory: Tensor,
        layout: PageLayout,
        layer: int,
        rows: CacheRows,
        tiles: Tensor,
        out: Tensor,
    ) -> None:
        """Attend with runs of rows of one sequence."""


@dataclass(frozen=True, slots=True)
class KernelSet:
    """One implementation of every kernel; the arguments are those of `inference.kernels`."""

    name: str
    rms_norm: Callable[[Tensor, Tensor, float, Tensor], None]
    add_rms_norm: Callable[[Tensor, Tensor, Tensor, float, Tensor], None]
    rotate_and_store: RotateAndStore
    silu_multiply: Callable[[Tensor, Tensor], None]
    shrink: Callable[[Tensor, Tensor, LoraTiles, int, int, Tensor], None]
    expand: Callable[[Tensor, Tensor, LoraTiles, int, Tensor, Sequence[int]], None]
    attend_rows: AttendRows
    attend_tiles: AttendTiles
    draw: Callable[[Tensor, Draws, Tensor, Tensor], None]
    greatest: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], None]
    greatest_steps: Callable[[Tensor, Tensor, Tensor, Tensor], None]
    sampler_scratch: Callable[[int, int], int]


def cuda_kernels() -> KernelSet:
    """Launch the CUDA kernels; the first launch of each source compiles it."""
    return KernelSet(
        name="cuda",
        rms_norm=elementwise.rms_norm,
        add_rms_norm=elementwise.add_rms_norm,
        rotate_and_store=elementwise.rotate_and_store,
        silu_multiply=elementwise.silu_multiply,
        shrink=lora.shrink,
        expand=lora.expand,
        attend_rows=attention.attend_rows,
        attend_tiles=attention.attend_tiles,
        draw=sampler.draw,
        greatest=sampler.greatest,
        greatest_steps=sampler.greatest_steps,
        sampler_scratch=sampler.scratch_bytes,
    )


def twin_kernels() -> KernelSet:
    """Compute the same in torch, on any device."""
    return KernelSet(
        name="twins",
        rms_norm=elementwise_twin.rms_norm,
        add_rms_norm=elementwise_twin.add_rms_norm,
        rotate_and_store=elementwise_twin.rotate_and_store,
        silu_multiply=elementwise_twin.silu_multiply,
        shrink=_row_by_row_shrink,
        expand=_row_by_row_expand,
        attend_rows=attention_twin.attend_rows,
        attend_tiles=attention_twin.attend_tiles,
        draw=sampler_twin.draw,
        greatest=sampler_twin.greatest,
        greatest_steps=sampler_twin.greatest_steps,
        sampler_scratch=sampler.scratch_bytes,
    )


def _row_by_row_shrink(
    x: Tensor, memory: Tensor, tiles: LoraTiles, entry: int, sites: int, partials: Tensor
) -> None:
    lora_twin.shrink(x, memory, _single_rows(tiles), entry, sites, partials)


def _row_by_row_expand(
    partials: Tensor,
    memory: Tensor,
    tiles: LoraTiles,
    entry: int,
    out: Tensor,
    widths: Sequence[int],
) -> None:
    lora_twin.expand(partials, memory, _single_rows(tiles), entry, out, widths)


def _single_rows(tiles: LoraTiles) -> LoraTiles:
    """Give every row a tile of its own: a BLAS would sum several rows in another order."""
    tile, column = torch.nonzero(tiles.rows >= 0, as_tuple=True)
    tile, column = (index[tiles.at[tile] >= 0] for index in (tile, column))
    rows = torch.full((len(tile), tiles.width), -1, dtype=torch.int32, device=tiles.rows.device)
    rows[:, 0] = tiles.rows[tile, column]
    return LoraTiles(tiles.at[tile], rows)
