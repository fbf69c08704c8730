"""One reader of a request; readers of the same request see the same tokens."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import trio

from inference.cluster.asked import Asked
from inference.request import Answer, Token


class RayStream:
    """The tokens of one request, which starts with the first `async for` step.

    Leaving the `async with` block early, or being cancelled while waiting, cancels the request
    unless others read it too.
    """

    def __init__(self, begin: Callable[[], Asked], leave: Callable[[Asked], None]) -> None:
        """`begin` starts the request or finds it under way; `leave` is told once per reader."""
        self._begin = begin
        self._leave = leave
        self._asked: Asked | None = None
        self._at = 0
        self._reads = False

    @property
    def answer(self) -> Answer | None:
        """The finished answer, once the iteration has ended."""
        if self._asked is None or self._at < len(self._asked.tokens):
            return None
        return self._asked.answer

    def __aiter__(self) -> RayStream:
        return self

    async def __anext__(self) -> Token:
        if self._asked is None:
            self._asked = self._begin()
            self._asked.readers += 1
            self._reads = True
        asked = self._asked
        try:
            await trio.lowlevel.checkpoint()
            while self._at == len(asked.tokens):
                if asked.failure is not None:
                    raise asked.failure
                if asked.answer is not None:
                    raise StopAsyncIteration
                await asked.changed.wait()
        except trio.Cancelled:
            self.cancel()
            raise
        self._at += 1
        return asked.tokens[self._at - 1]

    async def __aenter__(self) -> RayStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Stop computing, if nobody else reads; the tokens computed so far remain readable."""
        if self._asked is not None and self._reads:
            self._reads = False
            self._asked.readers -= 1
            self._leave(self._asked)
