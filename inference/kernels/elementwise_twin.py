"""What the row-wise kernels compute, in torch: same arguments, any device, float32 inside."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import silu

from inference.kernels.cache_pages import page_planes
from inference.kernels.cache_rows import CacheRows, PageLayout


def rms_norm(x: Tensor, weight: Tensor, epsilon: float, out: Tensor) -> None:
    """Normalise; see `elementwise.rms_norm`."""
    out.copy_(_normalised(x, weight, epsilon))


def add_rms_norm(x: Tensor, y: Tensor, weight: Tensor, epsilon: float, out: Tensor) -> None:
    """Add, then normalise; see `elementwise.add_rms_norm`."""
    x.copy_(x.float() + y.float())
    out.copy_(_normalised(x, weight, epsilon))


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
    """Finish queries and store keys and values; see `elementwise.rotate_and_store`."""
    live = torch.nonzero(rows.positions >= 0).squeeze(1)
    positions = rows.positions[live].long()
    biased = qkv[live].float() if bias is None else qkv[live].float() + bias.float()
    states = biased.view(len(live), -1, layout.head_dim)
    values_at = states.shape[1] - layout.kv_heads
    keys_at = values_at - layout.kv_heads
    queries, keys = states[:, :keys_at], states[:, keys_at:values_at]
    if norms is not None:
        queries = _normalised(queries, norms[0], epsilon)
        keys = _normalised(keys, norms[1], epsilon)
    half = layout.head_dim // 2
    cosines, sines = (table[positions, None, :half] for table in tables)
    qkv[live, : keys_at * layout.head_dim] = (
        _rotated(queries, cosines, sines).flatten(1).to(qkv.dtype)
    )
    lines = rows.tables[rows.table_of[live].long()].long()
    pages = lines.gather(1, (positions // layout.positions)[:, None]).squeeze(1)
    planes = page_planes(memory, layout, layer, qkv.dtype)
    inside = positions % layout.positions
    planes[pages, 0, :, inside] = _rotated(keys, cosines, sines).to(qkv.dtype)
    planes[pages, 1, :, inside] = states[:, values_at:].to(qkv.dtype)


def silu_multiply(gate_up: Tensor, out: Tensor) -> None:
    """Gate; see `elementwise.silu_multiply`."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    out.copy_(silu(gate) * up)


def _normalised(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon) * weight.float()


def _rotated(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)
