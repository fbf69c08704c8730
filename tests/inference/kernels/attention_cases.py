"""Attention over a random cache: by the kernels, wherever they run, and by the twin."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from inference.kernels import attention, attention_twin
from inference.kernels.cache_rows import CacheRows
from inference.kernels.launch import Launch
from tests.inference.kernels.paged_case import PagedCase

LAYER = 1
NAN = float("nan")
Run = Callable[[Iterable[Launch]], None]


def poisoned(rows: CacheRows, queries: Tensor) -> Tensor:
    shape = rows.count, queries.shape[1] * queries.shape[2]
    return torch.full(shape, NAN, dtype=torch.bfloat16, device=queries.device)


def by_rows(
    case: PagedCase,
    queries: Tensor,
    rows: CacheRows,
    run: Run,
    *,
    spare: int = 0,
    floats: int | None = None,
) -> Tensor:
    """Run with `spare` positions of grid too many, or with `floats` of scratch."""
    longest = max(int(rows.positions.max()) + 1, 0) + spare
    heads, head_dim = queries.shape[1:]
    room = attention.scratch_floats(rows.count, max(longest, 1), heads, head_dim)
    scratch = torch.full((floats or room,), NAN, device=queries.device)
    out = poisoned(rows, queries)
    run(
        attention.row_launches(
            queries, case.memory, case.layout, LAYER, rows, longest, scratch, out
        )
    )
    return out


def by_tiles(
    case: PagedCase, queries: Tensor, rows: CacheRows, runs: list[tuple[int, int]], run: Run
) -> Tensor:
    cut = [*attention.cut_tiles(runs, case.layout, queries.shape[1]), [0, 0]]
    tiles = torch.tensor(cut, dtype=torch.int32, device=queries.device)
    out = poisoned(rows, queries)
    run(attention.tile_launches(queries, case.memory, case.layout, LAYER, rows, tiles, out))
    return out


def by_twin(case: PagedCase, queries: Tensor, rows: CacheRows) -> Tensor:
    out = poisoned(rows, queries)
    attention_twin.attend_rows(queries, case.memory, case.layout, LAYER, rows, 0, None, out)
    return out


def assert_near(ours: Tensor, truth: Tensor) -> None:
    ours, truth = ours.float(), truth.float()
    assert not ours.isnan().any()
    assert (ours - truth).norm() <= 6e-3 * truth.norm()
