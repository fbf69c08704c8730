"""What a server needs of whatever computes its answers: one engine here, or many elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.figures import EngineFigures
from inference.request import Answer, Limits, Request, Token


class AnswerStream(Protocol):
    """The tokens of one request; it starts with the first step, and ends early with its block."""

    @property
    def answer(self) -> Answer | None:
        """The finished answer, once the iteration has ended."""
        ...

    def __aiter__(self) -> Self:
        """Iterate over the tokens."""
        ...

    async def __anext__(self) -> Token:
        """Return the next token; raises Refusal."""
        ...

    async def __aenter__(self) -> Self:
        """Enter the block in which the request lives."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cancel the request unless it has ended."""
        ...

    def cancel(self) -> None:
        """Stop computing; the tokens computed so far remain readable."""
        ...


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What computes on other machines.

    Attributes:
        statement: of all that the answers' bits depend on (`worker.identity`).
        positions: the longest request that its cache has room for.
    """

    statement: bytes
    positions: int


class ServingEngine(Protocol):
    """Answers requests of any mixture of adapters."""

    @property
    def elsewhere(self) -> Elsewhere | None:
        """What other machines compute with; None where this one does."""
        ...

    @property
    def load(self) -> tuple[int, int]:
        """Numbers of running and of waiting requests."""
        ...

    @property
    def figures(self) -> EngineFigures:
        """What was done, and what is held now."""
        ...

    def stream(self, request: Request) -> AnswerStream:
        """Prepare a request."""
        ...


OpenEngine = Callable[[Backbone, AdapterStore, Limits], AbstractAsyncContextManager[ServingEngine]]
"""Runs an engine for the length of a block."""
