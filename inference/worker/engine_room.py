"""The engine under supervision: if a step fails, its requests fail and a new engine takes over."""

from __future__ import annotations

from typing import Any

import trio

from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.blocks import BLOCK
from inference.engine import Engine, open_engine
from inference.request import Limits, Request, check_request
from inference.worker.api_errors import ApiReason, ApiRefused
from inference.worker.log import Log

_LOG = Log("engine")
_PAUSE = 1.0


class EngineRoom:
    """Holds the running engine."""

    def __init__(
        self, backbone: Backbone, store: AdapterStore, limits: Limits, threads: int = 1
    ) -> None:
        self.backbone = backbone
        self.store = store
        self.limits = limits
        self.crashes = 0
        self._threads = threads
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The running engine; raises NOT_READY while there is none."""
        if self._engine is None:
            raise ApiRefused(ApiReason.NOT_READY)
        return self._engine

    @property
    def load(self) -> tuple[int, int]:
        """Numbers of running and of waiting requests."""
        return (0, 0) if self._engine is None else self._engine.load

    def check(self, request: Request) -> None:
        """Refuse what could never be computed here; raises RequestRefused."""
        config = self.backbone.config
        check_request(
            request,
            context=config.max_position_embeddings,
            vocabulary=config.vocab_size,
            blocks=self.limits.blocks * BLOCK,
        )

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Keep an engine running until cancelled."""
        while True:
            try:
                async with open_engine(
                    self.backbone, self.store, self.limits, self._threads
                ) as self._engine:
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    await trio.sleep_forever()
            except Exception:  # a stranger's request must not stop the worker
                self.crashes += 1
                _LOG.error("engine crashed; starting another", trace=True, crashes=self.crashes)
            finally:
                self._engine = None
            await trio.sleep(_PAUSE)
