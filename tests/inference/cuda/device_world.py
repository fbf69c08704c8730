"""Executors of a device, and adapters placed in their memory; a CPU runs the kernels' twins."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.adapters.adapter import LoraAdapter
from inference.adapters.packed_image import pack_image
from inference.adapters.resident import Resident
from inference.arena import Extent
from inference.backbone.model import Backbone
from inference.cuda.executor import DeviceExecutor
from inference.cuda.open import device_executor
from inference.cuda.shapes import StepShapes
from inference.cuda.weights import DeviceWeights
from inference.executor import Piece, Rows

CPU = torch.device("cpu")
SMALL = StepShapes(decode=16, prompt=32, buckets=(1, 2, 4, 8, 16))


def cpu_executor(
    backbone: Backbone,
    pages: int = 64,
    dtype: torch.dtype = torch.float32,
    shapes: StepShapes = SMALL,
) -> DeviceExecutor:
    weights = DeviceWeights.place(backbone.decoder, CPU, dtype)
    return device_executor(weights, pages, shapes=shapes)


def place(executor: DeviceExecutor, adapter: LoraAdapter, start: int) -> Resident:
    """Upload an adapter to bytes from `start` on; pages there must stay unused."""
    image = pack_image(adapter, executor.config, executor.packing)
    extent = Extent(start, image.size_bytes)
    upload = executor.upload(image, extent)
    while not upload.ready:  # an image that is not pinned is staged by a thread
        pass
    return Resident(adapter.content_hash, image.layout, extent)


def whole(rows: Rows) -> Tensor:
    return torch.stack([torch.from_numpy(rows.logits(row)) for row in range(len(rows))])


def piece(
    tokens: Sequence[int],
    start: int,
    pages: Sequence[int],
    adapter: Resident | None = None,
    wanted: int | None = None,
    prompt: int | None = None,
) -> Piece:
    """Make a piece whose logits are all wanted, all of it prompt, unless said."""
    return Piece(
        tokens=tokens,
        start=start,
        blocks=pages,
        adapter=adapter,
        logits_from=0 if wanted is None else wanted,
        prompt=start + len(tokens) if prompt is None else prompt,
    )
