"""A gate before the steps of a running engine: what happens meanwhile is for the test to say."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

import trio

from inference.engine import Engine
from inference.serving_engine import ServingEngine
from tests.patience import PATIENCE


class Gate:
    """Holds an engine before a step; opened for good at the end of a `with` block."""

    def __init__(self, engine: ServingEngine) -> None:
        assert isinstance(engine, Engine)
        self._step = engine._runner.step
        engine._runner.step = self._through  # type: ignore[method-assign]
        self._changed = threading.Condition()
        self._when: Callable[[], bool] | None = None
        self._shut = False

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def hold(self, when: Callable[[], bool] = lambda: True) -> None:
        """Let no step begin from the first one on before which `when` holds."""
        with self._changed:
            self._when = when

    def release(self) -> None:
        """Let all steps begin again."""
        with self._changed:
            self._when, self._shut = None, False
            self._changed.notify_all()

    async def reached(self) -> None:
        """Wait until the engine stands before the gate."""
        with trio.fail_after(PATIENCE):
            while not self._shut:
                await trio.sleep(0.001)

    def _through(self) -> bool:
        """Take the place of the engine's step, on its thread."""
        with self._changed:
            if self._when is not None and self._when():
                self._shut = True
                self._changed.wait_for(lambda: not self._shut, PATIENCE)
        return self._step()
