"""Independent pieces of work on all cores, with the same bits on any number of them.

Each piece is computed on one thread, and the results come in the order of the pieces; so the number
of workers decides when a piece is computed, never what comes out.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

P = TypeVar("P")
R = TypeVar("R")


def cores(wanted: int | None = None) -> int:
    """Return how many threads to use: so many as wanted, or one for each core."""
    return wanted or os.cpu_count() or 1


@contextmanager
def open_lanes(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Hold threads whose products, and those of the caller, stay on one thread each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(
            workers, initializer=torch.set_num_threads, initargs=(1,)
        ) as threads:
            yield threads
    finally:
        torch.set_num_threads(before)


def in_order(
    work: Callable[[P], R], pieces: Iterable[P], workers: int | None = None
) -> Iterator[R]:
    """Yield the result of each piece; no more of them wait in memory than there are workers."""
    count = cores(workers)
    with open_lanes(count) as threads:
        begun: deque[Future[R]] = deque()
        for piece in pieces:
            if len(begun) == count:
                yield begun.popleft().result()
            begun.append(threads.submit(work, piece))
        while begun:
            yield begun.popleft().result()
