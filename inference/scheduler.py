"""Decide what the next step computes. Integers only; knows no tensors.

A sequence is admitted in order of arrival once its blocks for the whole answer are free, so an
admitted one always finishes and nothing is ever evicted. Each step takes one row of every sequence
that decodes, then fills the rest of its rows with chunks of prompts, oldest first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from inference.blocks import BlockPool, blocks_for
from inference.request import Limits
from inference.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Work:
    """Positions `start … start+count-1` of a sequence; `draws` if a token is drawn after them."""

    sequence: Sequence
    start: int
    count: int
    draws: bool


class Scheduler:
    """Holds the waiting and the running sequences."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[Sequence] = deque()
        self._running: dict[int, Sequence] = {}
        self.pool = BlockPool(limits.blocks)

    @property
    def waiting(self) -> int:
        """Number of sequences not yet admitted."""
        return len(self._waiting)

    @property
    def running(self) -> tuple[Sequence, ...]:
        """List the admitted sequences, oldest first."""
        return tuple(self._running.values())

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._waiting and not self._running

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        self._waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take a finished or cancelled sequence out and free its blocks."""
        if self._running.pop(sequence.id, None) is not None:
            self.pool.give_back(sequence.id)
        else:
            self._waiting.remove(sequence)

    def schedule(self) -> list[Work]:
        """Choose the rows of the next step: at least one if any sequence is running."""
        self._admit()
        left = self._limits.rows
        decoding: list[Work] = []
        prompts: list[Sequence] = []
        for sequence in self._running.values():
            if sequence.length - sequence.computed == 1 and left:
                decoding.append(Work(sequence, sequence.computed, 1, True))
                left -= 1
            else:
                prompts.append(sequence)
        for sequence in prompts:
            missing = sequence.length - sequence.computed
            count = min(missing, left)
            if count:
                decoding.append(Work(sequence, sequence.computed, count, count == missing))
                left -= count
        return decoding

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._limits.running:
            sequence = self._waiting[0]
            blocks = self.pool.take(sequence.id, blocks_for(sequence.most))
            if blocks is None:
                return
            sequence.blocks = blocks
            self._running[sequence.id] = self._waiting.popleft()
