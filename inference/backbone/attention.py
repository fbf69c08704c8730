"""Attention over the paged cache, in units of fixed shape."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from inference.backbone.batch import PagedCache
from inference.backbone.config import LlamaConfig
from inference.backbone.plan import QUERY_SIZES, UNIT, AttentionGroup, Plan

LONGEST = 2048
"""Most positions with which products are tried: beyond, a BLAS works in blocks anyway."""


class PagedAttention:
    """Grouped-query attention (arXiv 2305.13245); each unit's bits are independent of the others.

    Units are computed together, and small units for decoding exist, only if this machine's batched
    product is found to give the same bits as one full-sized unit alone.
    """

    def __init__(self, config: LlamaConfig) -> None:
        self._config = config
        self._groups = config.num_attention_heads // config.num_key_value_heads
        positions = min(config.max_position_embeddings, LONGEST)
        self.query_sizes, self._together = _probe(
            self._groups, config.head_dim, positions, torch.get_num_threads()
        )

    def attend(self, queries: Tensor, plan: Plan, layer: int, cache: PagedCache) -> Tensor:
        """Attend with float32 [rows, heads, head_dim]; returns [rows, heads · head_dim].

        Rows behind `plan.count` come back as zeros.
        """
        out = queries.new_zeros((queries.shape[0], self._config.query_size))
        for group in plan.attention:
            mixed = self._group(queries, group, cache.read(group.lines[layer]))
            out[group.rows[group.kept]] = mixed[group.kept]
        return out

    def _group(self, queries: Tensor, group: AttentionGroup, lines: Tensor) -> Tensor:
        config = self._config
        heads, width = config.num_key_value_heads, config.head_dim
        units, size, length = group.units, group.size, group.length
        q = queries[group.rows].view(units, size, heads, self._groups, width)
        q = q.permute(2, 0, 3, 1, 4).reshape(heads * units, self._groups * size, width)
        k, v = lines.view(2, heads * units, length, width)
        scores = self._multiply(q, k.transpose(1, 2)) * width**-0.5
        scores = scores.view(heads, units, self._groups, size, length) + group.mask
        mixed = self._multiply(scores.softmax(-1).view(heads * units, -1, length), v)
        mixed = mixed.view(heads, units, self._groups, size, width)
        return mixed.permute(1, 3, 0, 2, 4).reshape(units * size, config.query_size)

    def _multiply(self, left: Tensor, right: Tensor) -> Tensor:
        if self._together:
            return torch.bmm(left, right)
        return torch.stack([a @ b for a, b in zip(left, right, strict=True)])


@lru_cache
def _probe(groups: int, width: int, positions: int, threads: int) -> tuple[tuple[int, ...], bool]:
    """Find which unit sizes, and whether batches of units, agree with a single full unit.

    threads: that products use now, as what agrees may depend on it.
    """
    generator = torch.Generator().manual_seed(width)
    small = together = True
    units = -(-positions // UNIT)
    for length in {UNIT, (units + 1) // 2 * UNIT, units * UNIT}:
        for inner, outer in ((width, length), (length, width)):
            left = torch.randn(6, groups * UNIT, inner, generator=generator)
            right = torch.randn(6, inner, outer, generator=generator)
            alone = torch.stack([a @ b for a, b in zip(left, right, strict=True)])
            together &= torch.equal(torch.bmm(left, right), alone)
            rows = groups * QUERY_SIZES[0]
            parts = [torch.bmm(part, right) for part in left.split(rows, dim=1)]  # type: ignore[no-untyped-call]
            small &= torch.equal(torch.cat(parts, dim=1), alone)
    return (QUERY_SIZES if small else QUERY_SIZES[-1:]), together
