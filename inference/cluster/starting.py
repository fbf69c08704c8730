"""Start one replica somewhere in the cluster, and end it."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import ray
import ray.exceptions
import trio

from inference.cluster.engine_thread import ReplicaSettings
from inference.cluster.errors import ClusterReason, ClusterRefused
from inference.cluster.model_files import ModelFiles
from inference.cluster.replica import Replica
from inference.cluster.waiting import Silent, result
from inference.cluster.wire import WIRE_VERSION, Facts

log = logging.getLogger(__name__)
CLOSE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How many replicas there are, what each takes of its machine, and how long is waited.

    Attributes:
        replicas: engines.
        cpus, gpus: what Ray reserves for each.
        open_seconds: for a replica to find its place and load the base model.
        silence_seconds: a replica that says nothing for so long is taken for dead.
        pause_seconds: from a replica's death to the start of another.
        patience_seconds: a request waits so long for a first replica.
    """

    replicas: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    replica: ReplicaSettings = field(default_factory=ReplicaSettings)
    open_seconds: float = 300.0
    silence_seconds: float = 20.0
    pause_seconds: float = 1.0
    patience_seconds: float = 60.0


def place_actor(settings: ClusterSettings) -> Any:
    """Ask Ray for a replica; it starts when a machine has room.

    Ray does not restart it: the driver starts another, which holds nothing and is asked anew.
    """
    return (
        ray.remote(Replica)
        .options(
            num_cpus=settings.cpus,
            num_gpus=settings.gpus,
            max_concurrency=4,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        .remote(settings.replica)
    )


async def open_actor(actor: Any, model: ModelFiles, seconds: float) -> tuple[Facts, ModelFiles]:
    """Load the base model into a replica; its files are offered only where they are missing."""
    facts: Facts | None = await result(actor.open.remote(model), seconds)
    if facts is None:
        log.info("a replica's machine lacks the base model's folder: its files are sent")
        model = await trio.to_thread.run_sync(model.offered)
        facts = await result(actor.open.remote(model), seconds)
    if facts is None:
        raise ClusterRefused(ClusterReason.NO_REPLICA, "the base model was offered and not taken")
    return facts, model


def check_facts(facts: Facts, engine: bytes) -> None:
    """Refuse a replica that would give other answers; raises VERSIONS_DIFFER."""
    if facts.wire != WIRE_VERSION or facts.engine != engine:
        raise ClusterRefused(
            ClusterReason.VERSIONS_DIFFER,
            f"the engine on node {facts.node[:12]} is 0x{facts.engine.hex()}, this one "
            f"0x{engine.hex()}: install the same openledger-node, torch and numpy on machines "
            "of one architecture",
        )


async def end_actor(actor: Any) -> None:
    """Let a replica clean up if it still answers, and end its process."""
    with trio.CancelScope(shield=True):
        with suppress(ray.exceptions.RayError, Silent):
            await result(actor.close.remote(), CLOSE_SECONDS)
        with suppress(ray.exceptions.RayError, ValueError):
            ray.kill(actor, no_restart=True)
