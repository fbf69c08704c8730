"""Launches of attention over the pages: grouped-query, causal, softmax in float32.

The positions of a sequence are cut into blocks of BLOCK. Within a block a row's weights refer to
the block's greatest score, and the blocks are folded in order; so a row's bits depend on its own
query, keys and values only: not on the batch, on page numbers, or on which of the two kernels ran.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from inference.kernels.cache_rows import CacheRows, PageLayout
from inference.kernels.launch import Argument, Launch, require, run

SOURCE = "attention"
BLOCK = 128
THREADS = 128
PAD = 8
HEADS_AT_ONCE = 8
PAGE_POSITIONS = (16, 32, 64, 128)
HEAD_DIMS = (16, 32, 64, 80, 96, 128, 192, 256)


def attend_rows(
    queries: Tensor,
    memory: Tensor,
    layout: PageLayout,
    layer: int,
    rows: CacheRows,
    longest: int,
    scratch: Tensor,
    out: Tensor,
) -> None:
    """Attend with each row on its own: for decoding, where rows share no sequence.

    Args:
        queries: bfloat16 [rows, heads, head_dim]; rows may be strided (a view of q|k|v).
        memory: uint8, holds the pages.
        layout: of a page.
        layer: which keys and values.
        rows: pads (position −1) come back as zeros.
        longest: no row sees more positions; sizes the grid, never the bits.
        scratch: float32, at least `scratch_floats` of one row; with less than that of all rows
            the rows take several launches.
        out: bfloat16 [rows, heads · head_dim].
    """
    run(row_launches(queries, memory, layout, layer, rows, longest, scratch, out))


def attend_tiles(
    queries: Tensor,
    memory: Tensor,
    layout: PageLayout,
    layer: int,
    rows: CacheRows,
    tiles: Tensor,
    out: Tensor,
) -> None:
    """Attend with runs of rows of one sequence, which then share the reading of its pages.

    Arguments as for `attend_rows`; `tiles` int32 [tiles, 2] holds the first row and the number of
    rows of each tile, from `cut_tiles`. A tile of 0 rows pads; rows in no tile are left alone.
    """
    run(tile_launches(queries, memory, layout, layer, rows, tiles, out))


def scratch_floats(rows: int, longest: int, heads: int, head_dim: int) -> int:
    """Count the float32 of scratch with which `attend_rows` takes `rows` rows in one launch."""
    return rows * -(-longest // BLOCK) * heads * (head_dim + 2)


def cut_tiles(runs: Iterable[tuple[int, int]], layout: PageLayout, heads: int) -> list[list[int]]:
    """Cut runs (first row, rows), each of one sequence, into tiles for `attend_tiles`."""
    most = _columns(layout.head_dim) // _tile_heads(layout, heads)
    return [
        [first + at, min(most, count - at)] for first, count in runs for at in range(0, count, most)
    ]


def row_launches(
    queries: Tensor,
    memory: Tensor,
    layout: PageLayout,
    layer: int,
    rows: CacheRows,
    longest: int,
    scratch: Tensor,
    out: Tensor,
) -> Iterator[Launch]:
    """Make the launches of `attend_rows`."""
    _check(queries, memory, layout, rows, out)
    heads, head_dim = queries.shape[1:]
    splits = max(1, -(-longest // BLOCK))
    each = splits * heads * head_dim
    at_once = scratch.numel() // scratch_floats(1, max(longest, 1), heads, head_dim)
    require(at_once > 0, "scratch holds less than one row")
    parts = layout.kv_heads * -(-(heads // layout.kv_heads) // HEADS_AT_ONCE)
    for first in range(0, rows.count, at_once):
        some = slice(first, min(first + at_once, rows.count))
        count = some.stop - first
        stats = scratch[count * each :]
        head = _arguments(queries[some], memory, layout, layer, rows, some)
        yield Launch(
            source=SOURCE,
            kernel=f"attend_block_{head_dim}",
            grid=(count, parts, splits),
            block=THREADS,
            arguments=(*head, scratch, stats),
            shared=_shared_bytes(head_dim),
        )
        yield Launch(
            source=SOURCE,
            kernel="fold_blocks",
            grid=(count, -(-heads * head_dim // (4 * THREADS)), 1),
            block=THREADS,
            arguments=(
                scratch,
                stats,
                rows.positions[some],
                out[some],
                np.int32(splits),
                np.int32(heads),
                np.int32(head_dim),
            ),
        )


def tile_launches(
    queries: Tensor,
    memory: Tensor,
    layout: PageLayout,
    layer: int,
    rows: CacheRows,
    tiles: Tensor,
    out: Tensor,
) -> Iterator[Launch]:
    """Make the launch of `attend_tiles`."""
    _check(queries, memory, layout, rows, out)
    heads, head_dim = queries.shape[1:]
    at_once = _tile_heads(layout, heads)
    parts = layout.kv_heads * -(-(heads // layout.kv_heads) // at_once)
    if not len(tiles):
        return
    head = _arguments(queries, memory, layout, layer, rows, slice(None))
    yield Launch(
        source=SOURCE,
        kernel=f"attend_tile_{head_dim}",
        grid=(len(tiles), parts, 1),
        block=THREADS,
        arguments=(*head, tiles, np.int32(at_once), out),
        shared=_shared_bytes(head_dim, _columns(head_dim)),
    )


def _arguments(
    queries: Tensor,
    memory: Tensor,
    layout: PageLayout,
    layer: int,
    rows: CacheRows,
    some: slice,
) -> tuple[Argument, ...]:
    head_dim = layout.head_dim
    return (
        queries,
        np.int64(queries.stride(0)),
        memory,
        np.int64(layout.page_bytes),
        np.int64(layer * 2 * layout.plane * 2),
        np.int64((layer * 2 + 1) * layout.plane * 2),
        np.int32(layout.positions.bit_length() - 1),
        rows.positions[some],
        rows.table_of[some],
        rows.tables,
        np.int32(rows.tables.shape[1]),
        np.int32(queries.shape[1]),
        np.int32(layout.kv_heads),
        np.float32(math.log2(math.e) / math.sqrt(head_dim)),
    )


def _check(
    queries: Tensor, memory: Tensor, layout: PageLayout, rows: CacheRows, out: Tensor
) -> None:
    heads, head_dim = queries.shape[1:]
    require(head_dim in HEAD_DIMS and head_dim == layout.head_dim, f"head_dim in {HEAD_DIMS}")
    require(heads % layout.kv_heads == 0, "heads must divide among the kv heads")
    require(layout.positions in PAGE_POSITIONS, f"positions of a page in {PAGE_POSITIONS}")
    require(layout.page_bytes % 16 == 0 and memory.data_ptr() % 16 == 0, "pages: 16-byte aligned")
    require(queries.dtype == torch.bfloat16 and memory.dtype == torch.uint8, "bfloat16 over uint8")
    require(queries.stride()[1:] == (head_dim, 1), "the heads of a row must be contiguous")
    require(queries.stride(0) % 8 == 0 and queries.data_ptr() % 16 == 0, "queries: 16-byte aligned")
    require(rows.tables.is_contiguous(), "tables must be contiguous")
    require(out.is_contiguous() and out.dtype == torch.bfloat16, "out: contiguous bfloat16")
    require(out.data_ptr() % 16 == 0, "out must be 16-byte aligned")


def _columns(head_dim: int) -> int:
    return 64 if head_dim <= 128 else 32


def _tile_heads(layout: PageLayout, heads: int) -> int:
    return min(heads // layout.kv_heads, _columns(layout.head_dim))


def _shared_bytes(head_dim: int, columns: int = 0) -> int:
    return (2 * BLOCK + columns) * (head_dim + PAD) * 2
