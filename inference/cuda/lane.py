"""The line of copies beside the steps: a stream of its own on a GPU, plain copies on a CPU."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Mark(Protocol):
    """A moment in a line of work."""

    @property
    def done(self) -> bool:
        """Whether all work before it has ended."""

    def wait(self) -> None:
        """Block this thread until it has."""

    def hold(self) -> None:
        """Let the steps that are enqueued from now on start behind it."""


class Lane(Protocol):
    """Copies in order, beside the steps; marks and copies may be made on another thread."""

    def behind_steps(self) -> Mark:
        """Mark what the steps have enqueued; called on the thread that enqueues them."""

    def follow(self, mark: Mark) -> None:
        """Let the copies that are enqueued from now on start behind a mark of the steps."""

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Enqueue one copy of equal sizes."""

    def mark(self) -> Mark:
        """Mark what has been enqueued here."""


class _Past:
    done = True

    def wait(self) -> None:
        """Have nothing to wait for."""

    def hold(self) -> None:
        """Have nothing to hold back."""


class CpuLane:
    """Copies at once."""

    def behind_steps(self) -> Mark:
        """Mark the present; steps of a CPU end before they return."""
        return _Past()

    def follow(self, mark: Mark) -> None:
        """Have nothing to wait for."""

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Copy."""
        target.copy_(source)

    def mark(self) -> Mark:
        """Mark the present."""
        return _Past()


class _Event:
    def __init__(self, event: torch.cuda.Event, device: torch.device) -> None:
        self._event = event
        self._device = device

    @property
    def done(self) -> bool:
        """Ask the driver."""
        return bool(self._event.query())  # type: ignore[no-untyped-call]

    def wait(self) -> None:
        """Block until the event."""
        self._event.synchronize()

    def hold(self) -> None:
        """Make the current stream wait."""
        torch.cuda.current_stream(self._device).wait_event(self._event)


class StreamLane:
    """Asynchronous copies on a CUDA stream; sources have to be pinned."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def behind_steps(self) -> Mark:
        """Record an event on the current stream."""
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return _Event(event, self._device)

    def follow(self, mark: Mark) -> None:
        """Make the copy stream wait."""
        with torch.cuda.stream(self._stream):
            mark.hold()

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Enqueue the copy."""
        with torch.cuda.stream(self._stream):
            target.copy_(source, non_blocking=True)

    def mark(self) -> Mark:
        """Record an event on the copy stream."""
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return _Event(event, self._device)


def lane(device: torch.device) -> Lane:
    """Give a device its line of copies."""
    return StreamLane(device) if device.type == "cuda" else CpuLane()
