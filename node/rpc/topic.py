"""News told to whoever listens, in slices of time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from node.rpc.slices import Slice

T = TypeVar("T")
_log = logging.getLogger("openledger.rpc")


class Topic(Generic[T]):
    """The latest of one kind of news, and who listens for more; listeners must not wait.

    A listener that fails is logged and hears the next piece again.

    Who reads `latest` and listens in one step sees every later piece of news exactly once.
    """

    def __init__(self, latest: T) -> None:
        self.latest = latest
        self._listeners: dict[int, Callable[[T], object]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._listeners)

    def listen(self, call: Callable[[T], object]) -> Callable[[], object]:
        """Call `call` with all news from now on, until the returned function is called."""
        key = self._next
        self._next += 1
        self._listeners[key] = call

        def stop() -> None:
            self._listeners.pop(key, None)

        return stop

    async def tell(self, news: T) -> None:
        """Call every listener, giving the loop to others every 2 ms."""
        self.latest = news
        work = Slice(hurried=True)
        for key in list(self._listeners):
            call = self._listeners.get(key)
            if call is None:
                continue
            try:
                call(news)
            except Exception:  # a stranger who listens must not stop the one who tells
                _log.exception("a listener failed on news of the chain")
            await work.pause()
