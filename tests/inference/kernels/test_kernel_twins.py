"""The twins against what the model on the CPU computes."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention, silu

from inference.backbone.decoder import rms_norm
from inference.backbone.rope import rotate
from inference.kernels import attention_twin, elementwise_twin
from inference.kernels.cache_pages import gather_pages, page_planes
from inference.kernels.cache_rows import CacheRows, PageLayout

LAYOUT = PageLayout(layers=2, kv_heads=2, positions=16, head_dim=8, page_bytes=2 * 2 * 2 * 16 * 32)
HEADS, LENGTH, PAGES = 6, 37, 4


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_norm_and_activation_are_those_of_the_model() -> None:
    x, y, weight = draw(3, 20), draw(3, 20, seed=1), draw(20, seed=2)
    summed, out = x.clone(), torch.empty_like(x)
    elementwise_twin.add_rms_norm(summed, y, weight, 1e-5, out)
    assert torch.equal(summed, x + y)
    torch.testing.assert_close(out, rms_norm(x + y, weight, 1e-5))
    gated = torch.empty(3, 10)
    elementwise_twin.silu_multiply(x, gated)
    torch.testing.assert_close(gated, silu(x[:, :10]) * x[:, 10:])


@pytest.mark.parametrize("normed", [False, True])
def test_rotation_storing_and_attention_are_those_of_the_model(normed: bool) -> None:
    heads_at, width = HEADS * LAYOUT.head_dim, (HEADS + 4) * LAYOUT.head_dim
    qkv, bias = draw(LENGTH, width), draw(width, seed=1)
    norms = (draw(8, seed=2), draw(8, seed=3)) if normed else None
    angles = (draw(LENGTH, 4, seed=4) * 6).repeat(1, 2)
    tables = angles.cos(), angles.sin()
    rows = CacheRows(
        positions=torch.arange(LENGTH, dtype=torch.int32),
        table_of=torch.zeros(LENGTH, dtype=torch.int32),
        tables=torch.tensor([[3, 0, 2]], dtype=torch.int32),
    )
    memory = torch.full((PAGES * LAYOUT.page_bytes,), 0xFF, dtype=torch.uint8)

    states = (qkv + bias).view(LENGTH, HEADS + 4, 8)
    q, k, v = states.split([HEADS, 2, 2], dim=1)
    if norms is not None:
        q, k = rms_norm(q, norms[0], 1e-5), rms_norm(k, norms[1], 1e-5)
    q, k = (rotate(x, tables[0][:, None], tables[1][:, None]) for x in (q, k))
    finished = qkv.clone()
    elementwise_twin.rotate_and_store(finished, bias, norms, 1e-5, tables, rows, 1, memory, LAYOUT)
    queries = finished[:, :heads_at].view(LENGTH, HEADS, 8)
    torch.testing.assert_close(queries, q)
    keys, values = gather_pages(memory, LAYOUT, 1, rows.tables[0], LENGTH, torch.float32)
    torch.testing.assert_close(keys.transpose(0, 1), k)
    torch.testing.assert_close(values.transpose(0, 1), v)
    assert page_planes(memory, LAYOUT, 0, torch.float32).isnan().all()

    seen = torch.empty(LENGTH, heads_at)
    attention_twin.attend_rows(queries, memory, LAYOUT, 1, rows, LENGTH, None, seen)
    wide = (x.transpose(0, 1)[None] for x in (q, k, v))
    truth = scaled_dot_product_attention(*wide, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(seen, truth[0].transpose(0, 1).flatten(1))
