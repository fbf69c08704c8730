"""A small model whose shapes the kernels take, on the GPU, and adapters beside it."""

from __future__ import annotations

import gc
from typing import Any

import torch

from inference.adapters.resident import Resident
from inference.backbone.model import Backbone
from inference.cuda.executor import DeviceExecutor
from inference.cuda.open import device_executor
from inference.cuda.weights import DeviceWeights
from tests.inference.cuda.device_world import place
from tests.inference.tiny_models import tiny_adapter, tiny_backbone

GPU = torch.device("cuda", 0)
PAGES = 512
RANKS = (1, 4, 8, 16, 24, 64)
FIELDS: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 2048,
}


def small_backbone(**changes: Any) -> Backbone:
    return tiny_backbone(**(FIELDS | changes))


def gpu_executor(backbone: Backbone, graphs: bool = True, host_bytes: int = 0) -> DeviceExecutor:
    weights = DeviceWeights.place(backbone.decoder, GPU, torch.bfloat16)
    return device_executor(weights, PAGES, graphs=graphs, host_bytes=host_bytes)


def placed_adapters(executor: DeviceExecutor, backbone: Backbone) -> list[Resident | None]:
    """Put adapters of many ranks at the bottom of the memory; None stands for the base model."""
    residents: list[Resident | None] = [None]
    start = 0
    for index, rank in enumerate(RANKS):
        resident = place(executor, tiny_adapter(backbone, rank=rank, seed=index), start)
        residents.append(resident)
        start = resident.extent.end
    return residents


def first_free_page(executor: DeviceExecutor, residents: list[Resident | None]) -> int:
    end = max(resident.extent.end for resident in residents if resident is not None)
    return -(-end // executor.shape.page_bytes)


def device_bytes() -> int:
    """Bytes of the GPU in use, by the driver's account."""
    gc.collect()
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info(GPU)
    return total - free
