"""Launches of the kernels that work row by row: norms, rotary embedding, gated activation.

Inputs and outputs are contiguous bfloat16 with the arithmetic in float32 and one rounding at the
end, except where a function says more. A row's bits depend on that row alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from inference.kernels.cache_rows import CacheRows, PageLayout
from inference.kernels.launch import Launch, require, run

SOURCE = "elementwise"
THREADS = 256
ROTATE_THREADS = 128
WIDTH = 8
NORM_CHUNKS = (1, 2, 4, 8)


def rms_norm(x: Tensor, weight: Tensor, epsilon: float, out: Tensor) -> None:
    """Write the normalised rows of [rows, hidden] times weight [hidden] to `out`."""
    run(norm_launches(x, None, weight, epsilon, out))


def add_rms_norm(x: Tensor, y: Tensor, weight: Tensor, epsilon: float, out: Tensor) -> None:
    """Add y to the residual x in place (rounded), then normalise the sum into `out`."""
    run(norm_launches(x, y, weight, epsilon, out))


def rotate_and_store(
    qkv: Tensor,
    bias: Tensor | None,
    norms: tuple[Tensor, Tensor] | None,
    epsilon: float,
    tables: tuple[Tensor, Tensor],
    rows: CacheRows,
    layer: int,
    memory: Tensor,
    layout: PageLayout,
) -> None:
    """Finish queries in place and write keys and values to their pages.

    Bias, per-head norm, rotation and rounding happen in this order, once per element.

    Args:
        qkv: [rows, (heads + 2 · kv_heads) · head_dim]; the queries are overwritten, the rest kept.
        bias: [that width] or None.
        norms: weights [head_dim] of the query and key norms, or None.
        epsilon: of the norms.
        tables: cosines and sines, float32 [positions, at least head_dim / 2].
        rows: pads (position −1) are left alone.
        layer: whose keys and values these are.
        memory: uint8, holds the pages.
        layout: of a page.
    """
    run(rotate_launches(qkv, bias, norms, epsilon, tables, rows, layer, memory, layout))


def silu_multiply(gate_up: Tensor, out: Tensor) -> None:
    """Write silu(gate) · up of [rows, gate | up] to `out` [rows, width]."""
    run(silu_launches(gate_up, out))


def norm_launches(
    x: Tensor, y: Tensor | None, weight: Tensor, epsilon: float, out: Tensor
) -> Iterator[Launch]:
    """Make the launch of `rms_norm` (y None) or `add_rms_norm`."""
    rows, hidden = x.shape
    chunks = -(-hidden // (THREADS * WIDTH))
    require(hidden % WIDTH == 0 and chunks <= NORM_CHUNKS[-1], "hidden: multiples of 8 to 16384")
    _check(x, weight, out, *(() if y is None else (y,)))
    if rows == 0:
        return
    held = next(size for size in NORM_CHUNKS if size >= chunks)
    yield Launch(
        source=SOURCE,
        kernel=f"{'rms_norm' if y is None else 'add_rms_norm'}_{held}",
        grid=(rows, 1, 1),
        block=THREADS,
        arguments=(x, y, weight, out, np.int32(hidden), np.float32(epsilon)),
    )


def rotate_launches(
    qkv: Tensor,
    bias: Tensor | None,
    norms: tuple[Tensor, Tensor] | None,
    epsilon: float,
    tables: tuple[Tensor, Tensor],
    rows: CacheRows,
    layer: int,
    memory: Tensor,
    layout: PageLayout,
) -> Iterator[Launch]:
    """Make the launch of `rotate_and_store`."""
    head_dim = layout.head_dim
    require(head_dim % (2 * WIDTH) == 0 and head_dim <= 512, "head_dim: multiples of 16 to 512")
    require(layout.page_bytes % 16 == 0 and memory.data_ptr() % 16 == 0, "pages: 16-byte aligned")
    require(rows.tables.is_contiguous(), "tables must be contiguous")
    _check(qkv, *(() if bias is None else (bias,)), *(norms or ()))
    cosines, sines = tables
    require(cosines.dtype == sines.dtype == torch.float32, "cosines and sines: float32")
    require(cosines.is_contiguous() and sines.is_contiguous(), "cosines and sines: contiguous")
    all_heads = qkv.shape[1] // head_dim
    lanes = 1 << (head_dim // (2 * WIDTH) - 1).bit_length()
    query_norm, key_norm = norms or (None, None)
    if rows.count == 0:
        return
    yield Launch(
        source=SOURCE,
        kernel="rotate_and_store",
        grid=(rows.count, -(-all_heads * lanes // ROTATE_THREADS), 1),
        block=ROTATE_THREADS,
        arguments=(
            qkv,
            bias,
            query_norm,
            key_norm,
            np.float32(epsilon),
            cosines,
            sines,
            np.int32(cosines.shape[1]),
            rows.positions,
            rows.table_of,
            rows.tables,
            np.int32(rows.tables.shape[1]),
            memory,
            np.int64(layout.page_bytes),
            np.int32(layout.positions),
            np.int64(layer * 2 * layout.plane),
            np.int32(all_heads - 2 * layout.kv_heads),
            np.int32(layout.kv_heads),
            np.int32(head_dim),
            np.int32(lanes),
        ),
    )


def silu_launches(gate_up: Tensor, out: Tensor) -> Iterator[Launch]:
    """Make the launch of `silu_multiply`."""
    rows, width = out.shape
    require(width % WIDTH == 0, "width: a multiple of 8")
    _check(gate_up, out)
    if rows == 0:
        return
    yield Launch(
        source=SOURCE,
        kernel="silu_multiply",
        grid=(rows, -(-width // (THREADS * WIDTH)), 1),
        block=THREADS,
        arguments=(gate_up, out, np.int32(width)),
    )


def _check(*tensors: Tensor) -> None:
    for tensor in tensors:
        require(tensor.dtype == torch.bfloat16 and tensor.is_contiguous(), "contiguous bfloat16")
        require(tensor.data_ptr() % 16 == 0, "tensors must be 16-byte aligned")
