"""An engine that runs in trio on a thread of its own, told what to do from other threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from inference.adapters.errors import AdapterRefused
from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.cluster.node_folder import node_folder
from inference.cluster.outbox import Outbox
from inference.cluster.wire import Cancel, Command, failure_of
from inference.engine import Engine, TokenStream, open_engine
from inference.executor import Executor
from inference.figures import EngineFigures
from inference.request import Limits, RequestReason, RequestRefused
from inference.serving_engine import Elsewhere
from inference.worker.devices import PROCESSOR, Device, memory_bytes, statement_of

_CLOSING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """How a replica computes.

    Attributes:
        device: `cpu`, or `cuda` for the GPU that Ray gives it.
        threads: per matrix product on a processor.
        host_bytes: of its machine's memory, for adapters that wait for a GPU's; None for an eighth
            of it, in equal parts for all GPUs of the machine.
        disk_bytes: of `folder`'s disk, for adapters; None for no limit.
        executor: makes what computes, in place of the device's own; importable by its name on
            every machine.
        folder: where adapters are kept on its machine; None for the machine's temporary folder.
    """

    limits: Limits = field(default_factory=Limits)
    device: str = PROCESSOR
    threads: int = 1
    host_bytes: int | None = None
    disk_bytes: int | None = None
    executor: Callable[[Backbone, Limits], Executor] | None = None
    folder: Path | None = None

    def make(self, backbone: Backbone, gpus: int) -> Executor:
        """Make what computes on a machine of so many GPUs."""
        if self.executor is not None:
            return self.executor(backbone, self.limits)
        host = self.host_bytes
        if host is None:
            host = memory_bytes() // 8 // max(1, gpus)
        pages = self.limits.pages
        return Device(self.device, backbone, pages, self.threads, host).executor()


class EngineThread:
    """Starts with its making; what the engine produces goes to `outbox`, as does its end."""

    def __init__(
        self,
        backbone: Backbone,
        settings: ReplicaSettings,
        fetch: Callable[[bytes], bytes],
        gpus: int = 0,
    ) -> None:
        """Start.

        Args:
            backbone: the base model.
            settings: how it computes.
            fetch: brings an adapter's image, on a loader's thread.
            gpus: of this machine.
        """
        self.outbox = Outbox()
        self._backbone = backbone
        self._settings = settings
        self._fetch = fetch
        self._gpus = gpus
        self._streams: dict[int, TokenStream] = {}
        self._left: set[int] = set()
        self._last = -1
        self._up = threading.Event()
        self._place: Elsewhere | None = None
        self._reason = "the engine was closed"
        self._engine: Engine | None = None
        self._nursery: trio.Nursery | None = None
        self._trio: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def wait(self) -> Elsewhere:
        """Return what computes, once it does; raises RuntimeError where the engine has failed."""
        self._up.wait()
        if self._place is None:
            raise RuntimeError(self._reason)
        return self._place

    def tell(self, commands: Sequence[Command]) -> None:
        """Begin and cancel requests, in order."""
        for command in commands:
            self._soon(self._take, command)

    def figures(self) -> tuple[EngineFigures, tuple[bytes, ...]] | None:
        """Return the engine's figures and the adapters on its device; None before it serves."""
        if self._engine is None:
            return None
        return self._engine.figures, self._engine.resident

    def close(self) -> None:
        """Stop the engine and remove what it kept on the disk."""
        self._soon(self._stop)
        self._thread.join(_CLOSING_SECONDS)

    def _run(self) -> None:
        try:
            with node_folder(self._settings.folder) as folder:
                trio.run(self._serve, folder)
        except BaseException as error:
            self._reason = f"the engine stopped: {type(error).__name__}: {error}"
            raise
        finally:
            self.outbox.close(self._reason)
            self._up.set()

    async def _serve(self, folder: Path) -> None:
        settings, backbone = self._settings, self._backbone
        store = AdapterStore(folder, backbone, fetch=self._fetch, disk_bytes=settings.disk_bytes)
        executor = settings.make(backbone, self._gpus)
        opened = open_engine(executor, backbone.tokenizer, store, settings.limits)
        async with opened as engine, trio.open_nursery() as nursery:
            self._engine, self._nursery = engine, nursery
            self._trio = trio.lowlevel.current_trio_token()
            self._place = Elsewhere(
                statement_of(backbone, executor), executor.pages * executor.shape.positions
            )
            self._up.set()
            await trio.sleep_forever()

    def _soon(self, call: Callable[..., None], *arguments: object) -> None:
        if self._trio is not None:
            with suppress(trio.RunFinishedError):
                self._trio.run_sync_soon(call, *arguments)

    def _stop(self) -> None:
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def _take(self, command: Command) -> None:
        if self._engine is None or self._nursery is None:
            return
        number = command.number
        if isinstance(command, Cancel):
            if number in self._streams:
                self._left.add(number)
                self._streams[number].cancel()
        elif number > self._last:
            # Numbers rise, so a command that comes twice is known by its number.
            self._last = number
            self._streams[number] = self._engine.stream(command.request)
            self._nursery.start_soon(self._answer, number, self._streams[number])

    async def _answer(self, number: int, stream: TokenStream) -> None:
        try:
            if number in self._left:
                raise RequestRefused(RequestReason.ENGINE_CLOSED, "cancelled before it began")
            async with stream:
                async for token in stream:
                    self.outbox.put((number, token))
            if stream.answer is not None:
                self.outbox.put((number, stream.answer))
        except (RequestRefused, AdapterRefused) as refusal:
            self.outbox.put((number, failure_of(refusal)))
        finally:
            del self._streams[number]
            self._left.discard(number)
