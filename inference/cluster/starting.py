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
from inference.worker.devices import GPU
from inference.worker.identity import differing

log = logging.getLogger(__name__)
CLOSE_SECONDS = 3.0
SHARED = frozenset(("code", "base", "tokenizer", "statement"))
"""What an engine on a GPU and one on a processor have in common."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How many replicas there are, what each takes of its machine, and how long is waited.

    Attributes:
        replicas: engines.
        cpus: what Ray reserves for each; a GPU besides where the replica computes on one.
        open_seconds: for a replica to find its place and load the base model.
        silence_seconds: a replica that says nothing for so long is taken for dead.
        pause_seconds: from a replica's death to the start of another.
        patience_seconds: a request waits so long for a first replica.
    """

    replicas: int = 1
    cpus: float = 1.0
    replica: ReplicaSettings = field(default_factory=ReplicaSettings)
    open_seconds: float = 300.0
    silence_seconds: float = 20.0
    pause_seconds: float = 1.0
    patience_seconds: float = 60.0

    @property
    def gpus(self) -> float:
        """What Ray reserves for each replica."""
        return float(self.replica.device == GPU)


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


def check_facts(facts: Facts, here: bytes, others: bytes | None) -> None:
    """Refuse a replica that would give other answers; raises VERSIONS_DIFFER.

    Args:
        facts: of the replica.
        here: the statement of an engine of this process, for code, base model and tokenizer.
        others: the statement of the replicas that serve already, or has to be theirs.
    """
    if facts.wire != WIRE_VERSION:
        differ = ["wire"]
    elif others is None:
        differ = [name for name in differing(facts.place.statement, here) if name in SHARED]
    else:
        differ = differing(facts.place.statement, others)
    if differ:
        raise ClusterRefused(
            ClusterReason.VERSIONS_DIFFER,
            f"the engine on node {facts.node[:12]} has another {', '.join(differ)}: install the "
            "same openledger-node, torch and numpy on machines of one architecture, with GPUs of "
            "one model and driver",
        )


async def end_actor(actor: Any) -> None:
    """Let a replica clean up if it still answers, and end its process."""
    with trio.CancelScope(shield=True):
        with suppress(ray.exceptions.RayError, Silent):
            await result(actor.close.remote(), CLOSE_SECONDS)
        with suppress(ray.exceptions.RayError, ValueError):
            ray.kill(actor, no_restart=True)
