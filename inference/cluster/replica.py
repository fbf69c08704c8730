"""An engine in a process of its own on some machine of the cluster: the body of a Ray actor.

Ray calls the methods on threads, several at a time. A coroutine among them would make Ray run all
of them one after the other on an event loop: there must be none here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import ray

from inference import serving_process
from inference.cluster.engine_thread import EngineThread, ReplicaSettings
from inference.cluster.model_files import ModelFiles
from inference.cluster.wire import WIRE_VERSION, Ask, Command, Facts, Report
from inference.request import Token
from inference.worker.devices import weights_on

IMAGE_SECONDS = 120.0
FIGURES_SECONDS = 0.25


class Replica:
    """Opened once; then told what to compute and asked for what came of it."""

    def __init__(self, settings: ReplicaSettings) -> None:
        self._settings = settings
        self._images: dict[bytes, Any] = {}
        self._engine: EngineThread | None = None
        self._told = 0.0

    def open(self, model: ModelFiles) -> Facts | None:
        """Load the base model and start the engine; None where the model's files are needed.

        Raises RuntimeError where the engine does not start.
        """
        backbone = model.load(weights_on(self._settings.device))
        if backbone is None:
            return None
        node = ray.get_runtime_context().get_node_id()
        if self._engine is None:
            gpus = _gpus_of(node)
            self._engine = EngineThread(backbone, self._settings, self._fetch, gpus)
        place = self._engine.wait()
        serving_process.settle()
        return Facts(WIRE_VERSION, place, os.getpid(), node)

    def tell(self, commands: Sequence[Command]) -> None:
        """Begin and cancel requests, in order."""
        for command in commands:
            if isinstance(command, Ask) and command.image and command.request.adapter is not None:
                self._images[command.request.adapter] = command.image[0]
        self._opened().tell(commands)

    def report(self, after: int, seconds: float) -> Report:
        """Return the events from number `after` on, waiting so long for the first one.

        Those below `after` are forgotten. Raises RuntimeError once the engine has stopped.
        """
        engine = self._opened()
        first, events = engine.outbox.take(after, seconds)
        now = time.monotonic()
        ends = any(not isinstance(what, Token) for _, what in events)
        if events and not ends and now - self._told < FIGURES_SECONDS:
            return Report(first, events)
        self._told = now
        return Report(first, events, *(engine.figures() or (None, None)))

    def close(self) -> None:
        """Stop the engine and remove what it kept on the disk."""
        if self._engine is not None:
            self._engine.close()

    def _opened(self) -> EngineThread:
        if self._engine is None:
            raise RuntimeError("the replica is told and asked before it is opened")
        return self._engine

    def _fetch(self, content_hash: bytes) -> bytes:
        """Bring an image from the object store, on a loader's thread."""
        reference = self._images.pop(content_hash, None)
        if reference is None:
            raise LookupError("the driver did not send it")
        image: bytes = ray.get(reference, timeout=IMAGE_SECONDS)
        return image


def _gpus_of(node: str) -> int:
    """Count the GPUs of a machine of the cluster."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return sum(int(one["Resources"].get("GPU", 0)) for one in nodes if one["NodeID"] == node)
