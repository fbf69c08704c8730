"""The worker put together: one nursery, one engine, one book, one HTTP port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from inference.adapters.store import AdapterStore
from inference.api.answers import fingerprint_of
from inference.api.engine_figures import EngineCollector
from inference.api.engine_room import EngineRoom
from inference.api.http import AnswerRoutes, ModelRoutes, StateRoutes, application
from inference.api.keys import KeyFile
from inference.api.listening import listen
from inference.api.names import NAMES
from inference.api.token_texts import TokenTexts
from inference.backbone.model import Backbone
from inference.log import Log
from inference.request import Limits
from inference.serving_engine import OpenEngine
from inference.worker.attributing import Attributing
from inference.worker.book import SessionBook
from inference.worker.chain_view import ChainError, ChainView
from inference.worker.committee import Committee
from inference.worker.devices import PROCESSOR, Device, statement_in
from inference.worker.figures import Figures
from inference.worker.gathering import Gathering
from inference.worker.handing_out import HandingOut
from inference.worker.http import ProofRoutes, TwoDoors, WorkerModels
from inference.worker.identity import statement_hash
from inference.worker.keyed import Keyed
from inference.worker.library import Library
from inference.worker.private_line import NoLine, PrivateLine
from inference.worker.pulse import Pulse
from inference.worker.serving import STALE_SECONDS, Serving
from inference.worker.submitting import SubmissionPolicy, Submitting
from node.client.signing import KeyPair
from runtime.primitives.keys import ss58_encode

_LOG = Log("worker")
_PATIENCE_SECONDS = 30.0
_CATCH_UP_SECONDS = 2.0
BOOK = "sessions.sqlite"


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Where a worker keeps its files, what it serves and when it submits."""

    folder: Path
    bind: str = "127.0.0.1:8000"
    capacity: int = 64
    device: str = PROCESSOR
    threads: int = 1
    limits: Limits = field(default_factory=Limits)
    host_bytes: int | None = None
    """Of this machine's memory, for adapters that wait for a GPU's; None for an eighth of it."""
    disk_bytes: int | None = None
    """Of the disk, for the adapters, and as much for the models' artifacts; None for no limit."""
    policy: SubmissionPolicy = field(default_factory=SubmissionPolicy)
    preload: tuple[int, ...] = ()
    keys: KeyFile | None = None
    base_name: str = "base"
    engines: OpenEngine | None = None
    """Opens what serves in place of an engine here."""


class Worker:
    """The parts of a running worker; make one with `open_worker`."""

    def __init__(
        self,
        view: ChainView,
        backbone: Backbone,
        key: KeyPair,
        config: WorkerConfig,
        line: PrivateLine,
    ) -> None:
        self.view = view
        self.key = key
        self.figures = Figures()
        self.pulse = Pulse()
        self.stopping = trio.Event()
        self.address = ""
        adapters = config.folder / "adapters"
        store = AdapterStore(
            adapters,
            backbone,
            fetch=lambda adapter: self.library.image(adapter),
            disk_bytes=config.disk_bytes,
        )
        self.book = SessionBook(config.folder / BOOK, view.genesis, key.account_id)
        self.device = Device(
            config.device, backbone, config.limits.pages, config.threads, config.host_bytes
        )
        self.room = EngineRoom(
            backbone, store, config.limits, executor=self.device.executor, engines=config.engines
        )
        self.library = Library(
            view, backbone, store, config.folder / "models", disk_bytes=config.disk_bytes
        )
        self.serving = Serving(
            view,
            self.library,
            self.book,
            self.room,
            key,
            self.figures,
            self.pulse,
            config.capacity,
            self._statement,
        )
        self.attributing = Attributing(view, self.library, self.book)
        self.submitting = Submitting(
            view, self.book, self.attributing, key, self.figures, config.policy
        )
        gathering = Gathering(view, line, key, self.pulse, self.figures)
        self.committee = Committee(
            view, self.book, self.library, store, self.device, key, self.figures, gathering
        )
        self.handing_out = HandingOut(view, self.book, line, key, self.figures)
        self.keyed: Keyed | None = None
        if config.keys is not None:
            registry = self.figures.registry
            self.keyed = Keyed(
                self.room,
                store,
                self.library,
                config.keys,
                config.base_name,
                adapters / NAMES,
                registry,
            )
        self.figures.registry.register(EngineCollector(lambda: self.room.figures))
        self._config = config
        self._ready = False
        self._measure()

    def _statement(self) -> bytes:
        return statement_in(self.room)

    def health(self) -> dict[str, Any]:
        """Say whether requests are served, and how the worker does."""
        running, waiting = self.room.load
        return {
            "ready": self._ready and self.pulse.age <= STALE_SECONDS and not self.stopping.is_set(),
            "height": self.view.height,
            "seconds_since_block": round(self.pulse.age, 1) if self._ready else None,
            "key": ss58_encode(self.key.account_id),
            "engine": f"0x{statement_hash(self._statement()).hex()}",
            "models": list(self.library.loaded),
            "running": running,
            "waiting": waiting,
        }

    async def run(self, nursery: trio.Nursery) -> None:
        """Start every part; returns when requests are served."""
        if self.book.abandoned:
            _LOG.warning("requests were cut off by a crash", vouchers=self.book.abandoned)
        await nursery.start(self.room.run)
        await nursery.start(self.serving.run)
        if self.keyed is not None:
            await nursery.start(self.keyed.run)
        await self._persistently(self.submitting.catch_up)
        await self._persistently(self.committee.catch_up)
        nursery.start_soon(self._follow)
        nursery.start_soon(self.attributing.run, lambda: self.serving.answered)
        nursery.start_soon(self.submitting.run, self.pulse)
        nursery.start_soon(self.committee.run, self.pulse)
        nursery.start_soon(self.handing_out.run)
        self.pulse.beat(self.view.height)
        self.address = await self._listen(nursery)
        self._ready = True
        nursery.start_soon(self._preload)
        _LOG.info(
            "worker serves",
            address=self.address,
            key=ss58_encode(self.key.account_id),
            height=self.view.height,
            engine=statement_hash(self._statement()),
        )

    async def stop(self) -> None:
        """Take no more requests, and wait for those that are being answered."""
        self.stopping.set()
        if self.keyed is not None:
            self.keyed.door.closed = True
        with trio.move_on_after(_PATIENCE_SECONDS):
            while self.serving.under_way or (self.keyed and self.keyed.door.under_way):
                await trio.sleep(0.05)

    async def _listen(self, nursery: trio.Nursery) -> str:
        backbone = self.room.backbone
        texts = TokenTexts(backbone.tokenizer, backbone.config.eos_token_ids)
        if self.keyed is None:
            doors = TwoDoors(self.serving, None)
            models = ModelRoutes(WorkerModels(self.library, None)).served()
        else:
            doors = TwoDoors(self.serving, self.keyed.door)
            models = self.keyed.served()
        served = [
            *AnswerRoutes(doors, texts, fingerprint_of(statement_hash(self._statement()))).served(),
            *models,
            *ProofRoutes(self.serving, self.book, lambda: self.view.height).served(),
            *StateRoutes(self.health, self.figures.text).served(),
        ]
        app = application(served, lambda refusal: self.figures.failed(refusal.reason.name))
        return await listen(app, self._config.bind, self.stopping.wait, nursery)

    async def _follow(self) -> None:
        async with aclosing(self.view.heads()) as heads:
            async for head in heads:
                self.committee.note(head)
                try:
                    await self.submitting.note(head)
                except Exception:  # the next start reads it from the chain
                    _LOG.error("block not noted", trace=True, height=head.number)
                self.pulse.beat(head.number)

    async def _preload(self) -> None:
        for number in self._config.preload:
            try:
                await self.library.model(number)
            except Exception as error:  # a model that cannot be had must not stop the others
                _LOG.error("model not loaded", model=number, cause=error)

    async def _persistently(self, task: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await task()
            except ChainError as error:
                _LOG.warning("catching up waits for the node", cause=error)
                await trio.sleep(_CATCH_UP_SECONDS)
            else:
                return

    def _measure(self) -> None:
        self.figures.gauges |= {
            "openledger_worker_height": ("Last finalised block", lambda: self.view.height),
            "openledger_worker_running": ("Requests in the engine", lambda: self.room.load[0]),
            "openledger_worker_waiting": ("Requests in the queue", lambda: self.room.load[1]),
            "openledger_worker_engine_crashes": ("Restarts", lambda: self.room.crashes),
            "openledger_worker_models": ("Models loaded", lambda: len(self.library.loaded)),
            "openledger_worker_judged": ("Batches being judged", lambda: self.committee.watched),
        }


@asynccontextmanager
async def open_worker(
    view: ChainView,
    backbone: Backbone,
    key: KeyPair,
    config: WorkerConfig,
    line: PrivateLine | None = None,
) -> AsyncIterator[Worker]:
    """Run a worker for the length of a block; then answers under way are finished first.

    Without a line it reaches no other worker, so it judges its own answers only.
    """
    worker = Worker(view, backbone, key, config, NoLine() if line is None else line)
    try:
        async with trio.open_nursery() as nursery:
            await worker.run(nursery)
            try:
                yield worker
            finally:
                with trio.CancelScope(shield=True):
                    await worker.stop()
                nursery.cancel_scope.cancel()
    finally:
        worker.book.close()
