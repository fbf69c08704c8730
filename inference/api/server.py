"""The engine behind OpenAI's interface, without a chain: one nursery, one engine, one port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from inference.adapters.store import AdapterStore
from inference.api.answers import fingerprint_of
from inference.api.engine_figures import EngineCollector
from inference.api.engine_room import EngineRoom
from inference.api.figures import ApiFigures
from inference.api.http import AnswerRoutes, ModelRoutes, StateRoutes, application
from inference.api.keys import Authority
from inference.api.listening import GRACEFUL_SECONDS, listen
from inference.api.loading import Loader
from inference.api.local import NOBODY, LocalDoor
from inference.api.models import LocalModels
from inference.api.names import NamesFile
from inference.api.reply import KEEP_ALIVE_SECONDS
from inference.api.token_texts import TokenTexts
from inference.backbone.model import Backbone
from inference.executor import Executor
from inference.log import Log
from inference.request import Limits
from inference.serving_engine import OpenEngine

_LOG = Log("server")
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What a server serves, where, and within which bounds.

    Attributes:
        bind: host and port.
        base_name: what the base model is called.
        executor: makes what computes; None for the processor.
        engines: opens what serves in place of an engine here.
        build: hashes what the bits of an answer depend on, once it is there.
        folders: where adapters may be loaded from while the server runs.
        names: where names are kept that are given while the server runs; None forgets them.
        keep_alive: seconds of silence after which a stream gets a comment.
    """

    bind: str = "127.0.0.1:8000"
    base_name: str = "base"
    executor: Callable[[], Executor] | None = None
    engines: OpenEngine | None = None
    build: Callable[[EngineRoom], bytes] = lambda _: bytes(32)
    folders: Sequence[Path] = ()
    names: Path | None = None
    threads: int = 1
    limits: Limits = field(default_factory=Limits)
    keep_alive: float = KEEP_ALIVE_SECONDS


class Server:
    """The parts of a running server; let it run with `running`."""

    def __init__(
        self,
        backbone: Backbone,
        store: AdapterStore,
        authority: Authority,
        config: ServerConfig,
        *,
        fetches: bool,
    ) -> None:
        self.figures = ApiFigures()
        self.room = EngineRoom(
            backbone, store, config.limits, config.threads, config.executor, config.engines
        )
        self.models = LocalModels(config.base_name, store, self._fetch if fetches else None)
        names = None if config.names is None else NamesFile(config.names)
        self.loader = Loader(backbone, store, self.models, config.folders, names)
        self.door = LocalDoor(self.room, self.models, authority, self.figures)
        self.address = ""
        self._store = store
        self._authority = authority
        self._config = config
        self._engine = b""
        self._stop, self._closed = trio.Event(), trio.Event()
        self._measure()
        self.figures.registry.register(EngineCollector(lambda: self.room.figures))

    def health(self) -> dict[str, Any]:
        """Say whether requests are served, and how the server does."""
        running, waiting = self.room.load
        return {
            "ready": bool(self.address) and not self.door.closed,
            "engine": f"0x{self._engine.hex()}",
            "adapters": self.models.count,
            "running": running,
            "waiting": waiting,
        }

    async def run(self, nursery: trio.Nursery) -> None:
        """Start every part; returns when requests are served."""
        await nursery.start(self.room.run)
        await nursery.start(self.door.run)
        backbone = self.room.backbone
        texts = TokenTexts(backbone.tokenizer, backbone.config.eos_token_ids)
        self._engine = self._config.build(self.room)
        fingerprint = fingerprint_of(self._engine)
        answers = AnswerRoutes(self.door, texts, fingerprint, self._config.keep_alive)
        served = [
            *answers.served(),
            *ModelRoutes(self.models, self._authority, self.loader).served(),
            *StateRoutes(self.health, self.figures.text).served(),
        ]
        app = application(served, lambda refusal: self.figures.failed(NOBODY, refusal.reason.name))
        self.address = await listen(
            app, self._config.bind, self._stop.wait, nursery, closed=self._closed
        )
        _LOG.info(
            "server serves",
            address=self.address,
            model=self.models.base,
            adapters=self.models.count,
            engine=self._engine,
        )

    async def drain(self) -> None:
        """Take no more requests, wait for those that are being answered, then close the port."""
        self.door.closed = True
        with trio.move_on_after(PATIENCE_SECONDS):
            while self.door.under_way:
                await trio.sleep(0.02)
        self._stop.set()
        with trio.move_on_after(2 * GRACEFUL_SECONDS):
            await self._closed.wait()

    async def _fetch(self, content_hash: bytes) -> None:
        await trio.to_thread.run_sync(self._store.read, content_hash)

    def _measure(self) -> None:
        self.figures.gauges |= {
            "openledger_api_engine_crashes": ("Restarts", lambda: self.room.crashes),
            "openledger_api_adapters": ("Adapters with names", lambda: self.models.count),
        }


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    """Run a server for the length of a block; `drain` it before the end, or answers are cut off."""
    async with trio.open_nursery() as nursery:
        await server.run(nursery)
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()
