"""Threads that load adapters, one job per adapter, urgent ones first, else in order."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")

PATIENCE_SECONDS = 5.0
"""How long `close` waits for a source that does not answer; its thread is a daemon."""


class Loader(Generic[Result]):
    """Runs `load` on threads and hands what it returns to `loaded`; neither may raise.

    Args:
        load: the work for one key.
        loaded: called on the thread when the key may be asked for again.
        room: whether a job may start beside so many under way; an urgent one always may.
        threads: how many.
    """

    def __init__(
        self,
        load: Callable[[bytes], Result],
        loaded: Callable[[bytes, Result], None],
        room: Callable[[int], bool],
        threads: int,
    ) -> None:
        self._load = load
        self._loaded = loaded
        self._room = room
        self._jobs: OrderedDict[bytes, bool] = OrderedDict()
        self._running: set[bytes] = set()
        self._open = True
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"adapters-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, key: bytes, urgent: bool = False) -> None:
        """Have a key loaded, unless that is under way; an urgent key goes first."""
        with self._changed:
            if key in self._running:
                return
            self._jobs[key] = urgent or self._jobs.get(key, False)
            if urgent:
                self._jobs.move_to_end(key, last=False)
            self._changed.notify_all()

    def forget(self, key: bytes) -> None:
        """Take a key back that no thread has begun."""
        with self._changed:
            self._jobs.pop(key, None)

    def nudge(self) -> None:
        """Look again whether there is room."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Begin nothing new and wait for the threads."""
        with self._changed:
            self._open = False
            self._jobs.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(PATIENCE_SECONDS)

    def _work(self) -> None:
        while (key := self._take()) is not None:
            result = self._load(key)
            with self._changed:
                self._running.remove(key)
                self._changed.notify_all()
            self._loaded(key, result)
            del result

    def _take(self) -> bytes | None:
        with self._changed:
            while self._open:
                key = next(iter(self._jobs), None)
                if key is not None and (self._jobs[key] or self._room(len(self._running))):
                    del self._jobs[key]
                    self._running.add(key)
                    return key
                self._changed.wait()
            return None
