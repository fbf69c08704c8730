"""Launches as values, and running them on torch's current stream with tensors as addresses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.kernels.build import load

Argument = Tensor | np.generic | None
"""A tensor is passed as its address, None as the null pointer, a number with its numpy type."""

PLAIN_SHARED = 48 << 10
"""Bytes of shared memory that a block may have without asking."""


class ArgumentsRefused(ValueError):
    """A kernel was given something that it cannot work on; the text says what it needs."""


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """One kernel of a source over a grid; `block` counts threads, `shared` bytes per block."""

    source: str
    kernel: str
    grid: tuple[int, int, int]
    block: int
    arguments: tuple[Argument, ...]
    shared: int = 0


def run(launches: Iterable[Launch]) -> None:
    """Launch one after the other on the current stream of the tensors' device.

    A capture on that stream records them. The caller keeps the tensors alive until the work is
    done, and for as long as a graph that recorded a launch may be replayed. The first launch of a
    source compiles and loads it, which no capture allows: warm up before one.
    """
    for launch in launches:
        device = next(one.device for one in launch.arguments if isinstance(one, Tensor))
        kernel = _function(launch.source, launch.kernel, launch.shared, device.index or 0)
        with torch.cuda.device(device):  # the driver launches in the thread's current context
            kernel(
                launch.grid,
                (launch.block, 1, 1),
                tuple(map(_passed, launch.arguments)),
                shared_mem=launch.shared,
                stream=_stream(device),
            )


def require(fits: bool, what: str) -> None:
    """Refuse arguments: raises ArgumentsRefused with the text unless `fits`."""
    if not fits:
        raise ArgumentsRefused(what)


def _passed(argument: Argument) -> np.generic:
    if argument is None:
        return np.uint64(0)
    return np.uint64(argument.data_ptr()) if isinstance(argument, Tensor) else argument


@cache
def _function(source: str, kernel: str, shared: int, device: int) -> Any:
    import cupy

    with cupy.cuda.Device(device):
        found = load(source, device).get_function(kernel)
        if shared > PLAIN_SHARED:
            found.max_dynamic_shared_size_bytes = shared
        return found.kernel  # a plain function: it takes a stream for each launch


def _stream(device: torch.device) -> Any:
    import cupy

    return cupy.cuda.Stream.from_external(torch.cuda.current_stream(device))
