"""Two branches of one step: a side stream on a GPU, plain order on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch


class Branches(Protocol):
    """Runs work beside the main line of a step."""

    def beside(self) -> AbstractContextManager[None]:
        """Open a block that starts after all before it and runs beside what follows it."""

    def join(self) -> None:
        """Make what follows wait for the work beside it."""


class InOrder:
    """One line of work: the block runs where it stands."""

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Run the block here and now."""
        yield

    def join(self) -> None:
        """Have nothing to wait for."""


class SideStream:
    """A second CUDA stream that forks from the current one and joins it; graphs capture both."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Enqueue the block on the side stream."""
        self._side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._side):
            yield

    def join(self) -> None:
        """Make the current stream wait for the side stream."""
        torch.cuda.current_stream(self._device).wait_stream(self._side)


def branches(device: torch.device) -> Branches:
    """Give a device its way of running two things at once."""
    return SideStream(device) if device.type == "cuda" else InOrder()
