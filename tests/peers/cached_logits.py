"""Logits as a running engine computes them: from the cache, several sequences in each step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from inference.adapters.adapter import LoraAdapter
from inference.adapters.packed_image import pack_image
from inference.adapters.resident import Resident
from inference.arena import Arena
from inference.backbone.batch import shape_of_cache
from inference.backbone.model import Backbone
from inference.cpu_executor import CpuExecutor
from inference.executor import Piece

MEGABYTES = 16


def cached_logits(
    backbone: Backbone, adapters: Sequence[LoraAdapter | None], ids: list[int], prompt: int
) -> list[Tensor]:
    """Compute `ids` once per adapter: the prompt in two chunks, then one position per step."""
    pages = (MEGABYTES << 20) // shape_of_cache(backbone.config).page_bytes
    executor = CpuExecutor(backbone, pages)
    arena = Arena(pages, executor.shape.page_bytes)
    residents = [_upload(adapter, backbone, executor, arena) for adapter in adapters]
    tables = [
        [_page(arena) for _ in range(-(-len(ids) // executor.shape.positions))] for _ in adapters
    ]
    found: list[list[Tensor]] = [[] for _ in adapters]
    ends = [prompt // 3, *range(prompt, len(ids) + 1)]
    for start, end in zip([0, *ends], ends, strict=False):
        rows = executor.step(
            [
                Piece(ids[start:end], start, table, resident, 0, prompt)
                for table, resident in zip(tables, residents, strict=True)
            ]
        )
        for row in range(len(rows)):
            logits = torch.from_numpy(np.array(rows.logits(row)))
            found[row // (end - start)].append(logits)
    return [torch.stack(logits) for logits in found]


def _upload(
    adapter: LoraAdapter | None, backbone: Backbone, executor: CpuExecutor, arena: Arena
) -> Resident | None:
    if adapter is None:
        return None
    image = pack_image(adapter, backbone.config, executor.packing)
    extent = arena.place(image.size_bytes)
    assert extent is not None
    assert executor.upload(image, extent).ready
    return Resident(image.content_hash, image.layout, extent)


def _page(arena: Arena) -> int:
    page = arena.take_page()
    assert page is not None
    return page
