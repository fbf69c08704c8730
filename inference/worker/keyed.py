"""Callers with local keys beside those that pay with vouchers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
from prometheus_client import CollectorRegistry

from inference.adapters.store import AdapterStore
from inference.api.engine_room import EngineRoom
from inference.api.figures import ApiFigures
from inference.api.http import ModelRoutes, Served
from inference.api.keys import KeyFile
from inference.api.loading import Loader
from inference.api.local import LocalDoor
from inference.api.models import LocalModels
from inference.api.names import NamesFile
from inference.worker.http import WorkerModels
from inference.worker.library import Library


class Keyed:
    """The door of the keys, what lies behind it, and the addresses that it adds."""

    def __init__(
        self,
        room: EngineRoom,
        store: AdapterStore,
        library: Library,
        keys: KeyFile,
        base_name: str,
        names: Path,
        registry: CollectorRegistry,
    ) -> None:
        own = LocalModels(base_name, store, library.bring)
        models = WorkerModels(library, own)
        loader = Loader(room.backbone, store, own, names=NamesFile(names))
        loader.restore()
        self.door = LocalDoor(room, models, keys, ApiFigures(registry))
        self._routes = ModelRoutes(models, keys, loader, public=WorkerModels(library, None))

    def served(self) -> list[Served]:
        """List the addresses."""
        return self._routes.served()

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the answers' tasks until cancelled."""
        await self.door.run(task_status=task_status)
