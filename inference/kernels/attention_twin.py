"""What the attention kernels compute, in torch, one row at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.kernels.cache_pages import gather_pages
from inference.kernels.cache_rows import CacheRows, PageLayout


def attend_rows(
    queries: Tensor,
    memory: Tensor,
    layout: PageLayout,
    layer: int,
    rows: CacheRows,
    longest: int,
    scratch: Tensor | None,
    out: Tensor,
) -> None:
    """Attend with each row on its own; see `attention.attend_rows`."""
    for row in range(rows.count):
        _attend(queries, memory, layout, layer, rows, row, out)


def attend_tiles(
    queries: Tensor,
    memory: Tensor,
    layout: PageLayout,
    layer: int,
    rows: CacheRows,
    tiles: Tensor,
    out: Tensor,
) -> None:
    """Attend with the rows of the tiles; see `attention.attend_tiles`."""
    for first, count in tiles.tolist():
        for row in range(first, first + count):
            _attend(queries, memory, layout, layer, rows, row, out)


def _attend(
    queries: Tensor,
    memory: Tensor,
    layout: PageLayout,
    layer: int,
    rows: CacheRows,
    row: int,
    out: Tensor,
) -> None:
    length = int(rows.positions[row]) + 1
    if length == 0:
        out[row] = 0.0
        return
    table = rows.tables[int(rows.table_of[row])]
    keys, values = gather_pages(memory, layout, layer, table, length, queries.dtype)
    heads, head_dim = queries.shape[1:]
    grouped = queries[row].float().view(layout.kv_heads, -1, head_dim)
    scores = torch.einsum("hgd,hpd->hgp", grouped, keys.float()) * head_dim**-0.5
    mixed = torch.einsum("hgp,hpd->hgd", scores.softmax(-1), values.float())
    out[row] = mixed.reshape(heads * head_dim).to(out.dtype)
