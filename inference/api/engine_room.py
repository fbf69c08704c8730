"""The engine under supervision: if a step fails, its requests fail and a new engine takes over."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from inference.adapters.store import AdapterStore
from inference.api.errors import ApiReason, ApiRefused
from inference.backbone.batch import shape_of_cache
from inference.backbone.model import Backbone
from inference.cpu_executor import CpuExecutor
from inference.engine import open_engine
from inference.executor import Executor
from inference.figures import EngineFigures
from inference.log import Log
from inference.request import Limits, Request, check_request
from inference.serving_engine import Elsewhere, OpenEngine, ServingEngine

_LOG = Log("engine")
_PAUSE = 1.0
ATTEMPTS = 5
"""To open an engine after a crash; a GPU may have failed for all of this process."""


class EngineRoom:
    """Holds the running engine."""

    def __init__(
        self,
        backbone: Backbone,
        store: AdapterStore,
        limits: Limits,
        threads: int = 1,
        executor: Callable[[], Executor] | None = None,
        engines: OpenEngine | None = None,
    ) -> None:
        """Prepare an engine.

        Args:
            backbone: the base model.
            store: where adapters come from.
            limits: what is admitted at once.
            threads: per matrix product on the processor.
            executor: makes what computes, for each new engine; None for the processor.
            engines: opens what serves in place of an engine here.
        """
        self.backbone = backbone
        self.store = store
        self.limits = limits
        self.crashes = 0
        self._threads = threads
        self._make = executor or self._on_processor
        self._executor: Executor | None = None
        self._engines = engines
        self._engine: ServingEngine | None = None
        self._elsewhere: Elsewhere | None = None

    @property
    def engine(self) -> ServingEngine:
        """The running engine; raises NOT_READY while there is none."""
        if self._engine is None:
            raise ApiRefused(ApiReason.NOT_READY)
        return self._engine

    @property
    def executor(self) -> Executor | None:
        """What the running engine computes with, or the last one did."""
        return self._executor

    @property
    def elsewhere(self) -> Elsewhere | None:
        """What other machines compute with, or did last; None where this one does."""
        return self._elsewhere

    @property
    def load(self) -> tuple[int, int]:
        """Numbers of running and of waiting requests."""
        return (0, 0) if self._engine is None else self._engine.load

    @property
    def figures(self) -> EngineFigures | None:
        """What the running engine did; None while there is none."""
        return None if self._engine is None else self._engine.figures

    def check(self, request: Request) -> None:
        """Refuse what could never be computed here; raises RequestRefused."""
        config = self.backbone.config
        check_request(
            request,
            context=config.max_position_embeddings,
            vocabulary=config.vocab_size,
            cache=self._positions(),
        )

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Keep an engine running until cancelled.

        Raises what keeps the first one from starting, or several in a row after a crash.
        """
        started, attempts = False, 1
        while True:
            try:
                async with await self._open() as self._engine:
                    self._elsewhere = self._engine.elsewhere
                    if not started:
                        task_status.started()
                    started, attempts = True, ATTEMPTS
                    await trio.sleep_forever()
            except Exception:
                attempts -= 1
                if not attempts:  # for a person to mend, or a new process
                    raise
                # A stranger's request must not stop the worker.
                self.crashes += 1
                _LOG.error("engine crashed; starting another", trace=True, crashes=self.crashes)
            finally:
                self._engine = None
            await trio.sleep(_PAUSE)

    async def _open(self) -> AbstractAsyncContextManager[ServingEngine]:
        if self._engines is not None:
            return self._engines(self.backbone, self.store, self.limits)
        if self._executor is not None:
            self._executor.close()
            gc.collect()  # a GPU has no room for the memory of two
        self._executor = await trio.to_thread.run_sync(self._make)
        return open_engine(self._executor, self.backbone.tokenizer, self.store, self.limits)

    def _on_processor(self) -> Executor:
        return CpuExecutor(self.backbone, self.limits.pages, self._threads)

    def _positions(self) -> int:
        if self._elsewhere is not None:
            return self._elsewhere.positions
        if self._executor is None:
            return self.limits.pages * shape_of_cache(self.backbone.config).positions
        return self._executor.pages * self._executor.shape.positions
