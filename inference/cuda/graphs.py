"""Capture work once, replay it with one launch; on a CPU the work just runs."""

from __future__ import annotations

from collections.abc import Callable

import torch

WARM_UPS = 3
"""Runs before a capture: kernels are loaded and handles made outside of it."""


class Replayed:
    """Work whose addresses and launches never change; called like the function it was made from."""

    def __init__(self, work: Callable[[], None], graph: torch.cuda.CUDAGraph) -> None:
        self._work = work  # holds the tensors whose addresses the graph knows
        self._graph = graph

    def __call__(self) -> None:
        """Launch the graph on the current stream."""
        self._graph.replay()


class Graphs:
    """Captures a device's repeated work; other threads may use the device meanwhile."""

    def __init__(self, device: torch.device, enabled: bool = True) -> None:
        self._device = device
        self.enabled = enabled and device.type == "cuda"
        if self.enabled:
            # Streams come from a small ring that torch hands out in turns: two, not two per graph.
            # On a stream of its own a capture takes cuBLAS's workspace from the pool of the graphs,
            # so that it stays theirs.
            self._pool = torch.cuda.graph_pool_handle()
            self._first, self._second = (
                torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
                for _ in range(2)
            )

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what repeats the work."""
        return self._captured(work) if self.enabled else work

    def _captured(self, work: Callable[[], None]) -> Replayed:
        graph = torch.cuda.CUDAGraph()
        self._first.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._first):
            for _ in range(WARM_UPS):
                work()
        torch.cuda.synchronize(self._device)
        # Only what this thread does can spoil the capture: others may pin memory, load, allocate.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._second, capture_error_mode="thread_local"
        ):
            work()
        return Replayed(work, graph)
