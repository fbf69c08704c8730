"""Progress of long work: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_BLOCKS = "▁▂▃▄▅▆▇█"
_PARTS = 10


class Meter(Protocol):
    """Shows how far the stages of a job are; callable from any thread."""

    def show(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Tell how far a stage is."""


class _Lines:
    """A line per tenth of a stage."""

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}

    def show(self, stage: str, done: int, total: int, note: str = "") -> None:
        part = _PARTS * done // max(1, total)
        if part > self._shown.get(stage, -1):
            self._shown[stage] = part
            sys.stderr.write(f"{stage}: {done}/{total}{' ' if note else ''}{note}\n")
            sys.stderr.flush()


class _Bars:
    """A bar per stage."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def show(self, stage: str, done: int, total: int, note: str = "") -> None:
        with self._lock:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total, note="")
            self._bars.update(self._tasks[stage], completed=done, total=total, note=note)


@contextmanager
def open_meter() -> Iterator[Meter]:
    """Show progress on stderr for the length of a block."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TextColumn("{task.completed:>6}/{task.total:<6}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """Draw values as one line of blocks, at most `width` of them."""
    if not values:
        return ""
    step = max(1, -(-len(values) // width))
    means = [
        sum(values[at : at + step]) / len(values[at : at + step])
        for at in range(0, len(values), step)
    ]
    low, high = min(means), max(means)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((mean - low) * scale)] for mean in means)
