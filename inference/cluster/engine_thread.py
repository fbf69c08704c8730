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
from inference.cpu_executor import CpuExecutor
from inference.engine import Engine, TokenStream, open_engine
from inference.executor import Executor
from inference.figures import EngineFigures
from inference.request import Limits, RequestReason, RequestRefused

_CLOSING_SECONDS = 5.0

MakeExecutor = Callable[[Backbone, Limits, int], Executor]


def on_processor(backbone: Backbone, limits: Limits, threads: int) -> Executor:
    """Make what computes on a processor."""
    return CpuExecutor(backbone, limits.pages, threads)


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """How a replica computes.

    Attributes:
        threads: per matrix product.
        executor: makes what computes; importable by its name on every machine.
        folder: where adapters are kept on its machine; None for the machine's temporary folder.
    """

    limits: Limits = field(default_factory=Limits)
    threads: int = 1
    executor: MakeExecutor = on_processor
    folder: Path | None = None


class EngineThread:
    """Starts with its making; what the engine produces goes to `outbox`, as does its end."""

    def __init__(
        self, backbone: Backbone, settings: ReplicaSettings, fetch: Callable[[bytes], bytes]
    ) -> None:
        self.outbox = Outbox()
        self._backbone = backbone
        self._settings = settings
        self._fetch = fetch
        self._streams: dict[int, TokenStream] = {}
        self._left: set[int] = set()
        self._last = -1
        self._up = threading.Event()
        self._engine: Engine | None = None
        self._nursery: trio.Nursery | None = None
        self._trio: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when the engine serves, or has failed."""
        self._up.wait()

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
        reason = "the engine was closed"
        try:
            with node_folder(self._settings.folder) as folder:
                trio.run(self._serve, folder)
        except BaseException as error:
            reason = f"the engine stopped: {type(error).__name__}: {error}"
            raise
        finally:
            self.outbox.close(reason)
            self._up.set()

    async def _serve(self, folder: Path) -> None:
        settings, backbone = self._settings, self._backbone
        store = AdapterStore(folder, backbone, fetch=self._fetch)
        executor = settings.executor(backbone, settings.limits, settings.threads)
        opened = open_engine(executor, backbone.tokenizer, store, settings.limits)
        async with opened as engine, trio.open_nursery() as nursery:
            self._engine, self._nursery = engine, nursery
            self._trio = trio.lowlevel.current_trio_token()
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
