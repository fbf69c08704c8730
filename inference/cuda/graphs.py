"""Capture work once, replay it with one launch; on a CPU the work just runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

WARM_UPS = 3
"""Runs before a capture: kernels are loaded and handles made outside of it."""


class Replayed:
    """Work whose addresses and launches never change; called like the function it was made from."""

    def __init__(self, work: Callable[[], None], device: torch.device, pool: Any) -> None:
        self._work = work
        self._graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                work()
        torch.cuda.current_stream(device).wait_stream(stream)
        torch.cuda.synchronize(device)
        with torch.cuda.graph(self._graph, pool=pool):
            work()

    def __call__(self) -> None:
        """Launch the graph on the current stream."""
        self._graph.replay()


class Graphs:
    """Captures a device's repeated work; capture before any other thread uses the device."""

    def __init__(self, device: torch.device, enabled: bool = True) -> None:
        self._device = device
        self._enabled = enabled and device.type == "cuda"
        self._pool = torch.cuda.graph_pool_handle() if self._enabled else None

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what repeats the work."""
        return Replayed(work, self._device, self._pool) if self._enabled else work
