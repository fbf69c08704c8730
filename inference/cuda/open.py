"""Make the executor of a device from a model."""

from __future__ import annotations

from enum import Enum

import torch

from inference.cuda.executor import DeviceExecutor
from inference.cuda.gemm import products
from inference.cuda.kernel_set import KernelSet, cuda_kernels, twin_kernels
from inference.cuda.memory import DeviceMemory, page_shape
from inference.cuda.shapes import StepShapes
from inference.cuda.weights import DeviceWeights
from runtime.primitives.errors import Refusal

RESERVED = 3 << 30
"""Bytes of a GPU that stay free for step buffers, graphs and libraries."""


class DeviceReason(Enum):
    """Why a device is refused."""

    FULL = "device_full"


class DeviceRefused(Refusal):
    """A device that cannot serve this model."""

    def __init__(self, reason: DeviceReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: DeviceReason = reason


def device_executor(
    weights: DeviceWeights,
    pages: int | None = None,
    *,
    shapes: StepShapes | None = None,
    graphs: bool = True,
    host_bytes: int = 0,
) -> DeviceExecutor:
    """Take memory beside weights that are on their device, and start the executor.

    Args:
        weights: bfloat16 on a GPU; on a CPU bfloat16 or float32.
        pages: of memory; None takes what a GPU has left, less `RESERVED`.
        shapes: frozen numbers of rows.
        graphs: whether decode steps are captured.
        host_bytes: of pinned memory for adapters that wait in the host.
    """
    device = weights.device
    if pages is None:
        torch.cuda.empty_cache()  # what torch keeps for later counts as taken
        free, _ = torch.cuda.mem_get_info(device)
        pages = (free - RESERVED) // page_shape(weights.config, weights.dtype).page_bytes
        if pages < 1:
            raise DeviceRefused(
                DeviceReason.FULL,
                f"{device} has {free >> 20} MiB left, of which {RESERVED >> 20} stay free: end "
                "what else uses it, or take a smaller model",
            )
    memory = DeviceMemory.allocate(weights.config, pages, weights.dtype, device)
    return DeviceExecutor(
        weights, memory, _kernels(device), products(device), shapes, graphs, host_bytes
    )


def _kernels(device: torch.device) -> KernelSet:
    return cuda_kernels() if device.type == "cuda" else twin_kernels()
