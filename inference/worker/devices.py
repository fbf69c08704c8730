"""What computes: this machine's processor, or a GPU beside it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from inference.adapters.packed_image import PackedImage
from inference.adapters.store import AdapterStore
from inference.api.engine_room import EngineRoom
from inference.backbone.batch import shape_of_cache
from inference.backbone.model import Backbone
from inference.cpu_executor import PACKING, CpuExecutor
from inference.executor import Executor
from inference.replay import BF16, FP32, Bounds, pages_for
from inference.request import Limits
from inference.worker.identity import engine_statement, statement_hash

if TYPE_CHECKING:
    from inference.cuda.weights import DeviceWeights

PROCESSOR = "cpu"
GPU = "cuda"
"""The GPU of this process: the first one that it sees, or the one that Ray gives it."""


class Device:
    """Makes executors of one base model on one device; they share its weights."""

    def __init__(
        self,
        name: str,
        backbone: Backbone,
        pages: int,
        threads: int = 1,
        host_bytes: int | None = None,
    ) -> None:
        """Copy the weights where they are needed.

        Args:
            name: `cpu`, or a GPU such as `cuda` or `cuda:1`.
            backbone: the base model.
            pages: of the processor's memory; a GPU gives what it has left.
            threads: per matrix product on the processor.
            host_bytes: of this machine's memory, for adapters that wait for a GPU's; None takes an
                eighth of it.
        """
        self.backbone = backbone
        self._pages = pages
        self._threads = threads
        self._host_bytes = memory_bytes() // 8 if host_bytes is None else host_bytes
        self._weights: DeviceWeights | None = None
        if name != PROCESSOR:
            from inference.cuda.weights import DeviceWeights

            place = torch.device(name)
            self._weights = DeviceWeights.place(backbone.decoder, place, torch.bfloat16)

    @property
    def bounds(self) -> Bounds:
        """How far honest answers of this numeric class may be from a repetition elsewhere."""
        return FP32 if self._weights is None else BF16

    def executor(self) -> Executor:
        """Make what an engine computes with."""
        if self._weights is None:
            return CpuExecutor(self.backbone, self._pages, self._threads)
        from inference.cuda.open import device_executor

        return device_executor(self._weights, host_bytes=self._host_bytes)

    def judging(
        self, store: AdapterStore, adapter: bytes, positions: int
    ) -> tuple[Executor, PackedImage]:
        """Make what one answer is repeated with beside an engine, with its adapter's image.

        Raises AdapterRefused.
        """
        if self._weights is None:
            image, _ = store.packed(adapter, PACKING)
            shape = shape_of_cache(self.backbone.config)
            return CpuExecutor(self.backbone, pages_for(shape, image, positions)), image
        from inference.cuda.memory import packing_of, page_shape
        from inference.cuda.open import device_executor

        image, _ = store.packed(adapter, packing_of(self._weights.dtype))
        shape = page_shape(self._weights.config, self._weights.dtype)
        pages = pages_for(shape, image, positions)
        return device_executor(self._weights, pages, graphs=False), image


def memory_bytes() -> int:
    """Tell how much memory this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def limits_on(device: str) -> Limits:
    """Return what is admitted at once: on a GPU 64 rows cost as much as one (`inference.cuda`)."""
    return Limits() if device == PROCESSOR else Limits(running=56, guests=8, rows=512)


def pages_of(backbone: Backbone, mebibytes: int | None) -> int:
    """Count the pages of this machine's memory for cache and adapters; None: the usual number."""
    if mebibytes is None:
        return Limits().pages
    return max(1, (mebibytes << 20) // shape_of_cache(backbone.config).page_bytes)


def bytes_of(mebibytes: int | None) -> int | None:
    """Count the bytes of an option; None where it is left out."""
    return None if mebibytes is None else mebibytes << 20


def weights_on(device: str) -> torch.dtype:
    """Return the type that a base model is loaded in where nothing but a device needs it."""
    return torch.float32 if device == PROCESSOR else torch.bfloat16


def statement_of(backbone: Backbone, executor: Executor | None) -> bytes:
    """Write what the bits of an executor's answers depend on; None for the processor."""
    if executor is None or isinstance(executor, CpuExecutor):
        return engine_statement(backbone)
    from inference.cuda.executor import DeviceExecutor

    if not isinstance(executor, DeviceExecutor):
        raise TypeError(f"{type(executor).__name__} does not say what it computes with")
    return engine_statement(backbone, executor.identity)


def statement_in(room: EngineRoom) -> bytes:
    """Write what the bits of a room's answers depend on."""
    if room.elsewhere is not None:
        return room.elsewhere.statement
    return statement_of(room.backbone, room.executor)


def build_of(room: EngineRoom) -> bytes:
    """Hash what the bits of a room's answers depend on."""
    return statement_hash(statement_in(room))
