"""What computes the steps of an engine: one device with its memory, weights and adapters."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from inference.adapters.device import AdapterDevice
from inference.adapters.resident import Resident
from inference.arena import CacheShape
from inference.backbone.config import LlamaConfig
from inference.digest import Steps
from inference.fingerprint import Hidden
from inference.sampling import Logits, SamplingParams

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive tokens of one sequence.

    Attributes:
        tokens: the ids to compute.
        start: position of the first one; everything before it is in the cache.
        blocks: the sequence's cache pages, enough for the last position.
        adapter: the adapter of this sequence, or None for the base model.
        logits_from: index in `tokens` of the first one whose logits are wanted.
        prompt: how many positions of the sequence are prompt; later ones are outputs, whose bits
            must be those of a decode step however many are computed together.
    """

    tokens: Sequence[int]
    start: int
    blocks: Sequence[int]
    adapter: Resident | None
    logits_from: int
    prompt: int


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw: output position `index` of the request whose logits are in `row`."""

    row: int
    params: SamplingParams
    index: int


class Rows(Protocol):
    """Logits of the wanted rows of one step, in the order of the pieces and their tokens.

    Rows are valid until the next step. `logits` and `hidden` may have to be fetched from a device.
    """

    def __len__(self) -> int:
        """Count the wanted rows."""
        ...

    def logits(self, row: int) -> Logits:
        """Return a whole row, float32 [vocabulary]."""
        ...

    def hidden(self, row: int) -> Hidden:
        """Return the normalised last hidden state, float32 [hidden size]."""
        ...

    def greedy(self, row: int) -> int:
        """Return the id of the largest logit, the lowest of equals."""
        ...

    def draw_all(self, draws: Sequence[Draw]) -> list[int]:
        """Draw ids, each as `inference.sampling.choose` does from its whole row."""
        ...

    def top(self, row: int, count: int) -> tuple[list[int], list[float]]:
        """Return the ids and logits of the `count` largest (all, if fewer), equals by id."""
        ...

    def logprob(self, row: int, token: int) -> float:
        """Return the natural log probability of an id at temperature 1."""
        ...

    def log_sum(self, row: int) -> float:
        """Return the log of the sum of all exponentials: a logit less this is its `logprob`."""
        ...

    def sixteenths(self, row: int) -> tuple[Steps, Steps]:
        """Return the ids and rounded logits that a digest takes (`inference.digest`)."""
        ...


class Executor(Protocol):
    """Runs steps, one at a time, on one thread."""

    @property
    def config(self) -> LlamaConfig:
        """The model's numbers."""
        ...

    @property
    def shape(self) -> CacheShape:
        """What one page of the cache holds."""
        ...

    @property
    def pages(self) -> int:
        """Pages of memory, for cache and adapters together."""
        ...

    @property
    def device(self) -> AdapterDevice:
        """Takes adapter images into the same memory."""
        ...

    @property
    def host_bytes(self) -> int:
        """Of the host's memory, for adapters that wait there."""
        ...

    def close(self) -> None:
        """Give the memory back; afterwards only the numbers above are told."""
        ...

    def host_buffer(self, size: int) -> Tensor:
        """Allocate uint8 [size] in the host's memory, from where uploads are fast; any thread."""
        ...

    def step(self, pieces: Sequence[Piece]) -> Rows:
        """Compute the pieces, each of another sequence, and extend the cache."""
        ...

    def parts(self, pieces: Sequence[Piece]) -> Generator[None, None, Rows]:
        """Do the same, yielding where other sequences' steps may be computed in between.

        Until the generator has returned, the pieces' pages and adapters stay where they are. Who
        cannot interrupt a step never yields.
        """
        ...


def finish(parts: Generator[None, None, R]) -> R:
    """Compute what is left of a step."""
    while True:
        try:
            next(parts)
        except StopIteration as end:
            rows: R = end.value
            return rows
