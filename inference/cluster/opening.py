"""Replicas in place of the one engine of a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import trio

from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.cluster.engine_thread import ReplicaSettings
from inference.cluster.engines import RayEngines
from inference.cluster.errors import ClusterReason, ClusterRefused
from inference.cluster.model_files import ModelFiles
from inference.cluster.starting import ClusterSettings
from inference.request import Limits
from inference.serving_engine import OpenEngine, ServingEngine
from inference.worker.identity import engine_hash


def on_ray(folder: Path, replicas: int, threads: int) -> OpenEngine:
    """Return what opens replicas on the connected cluster (`connected`).

    Args:
        folder: of the base model; machines that lack it are sent its files.
        replicas: engines, spread over the machines.
        threads: per matrix product, and the CPUs that Ray reserves for each replica.
    """

    def opened(
        backbone: Backbone, store: AdapterStore, limits: Limits
    ) -> AbstractAsyncContextManager[ServingEngine]:
        settings = ClusterSettings(
            replicas=replicas,
            cpus=float(threads),
            replica=ReplicaSettings(limits=limits, threads=threads),
        )
        return open_ray_engines(backbone, store, folder.resolve(), settings)

    return opened


@asynccontextmanager
async def open_ray_engines(
    backbone: Backbone, store: AdapterStore, folder: Path, settings: ClusterSettings
) -> AsyncIterator[RayEngines]:
    """Run replicas for the length of a block, within a connection (`connected`).

    Args:
        backbone: the base model, as it is here.
        store: where adapters come from.
        folder: the base model's, which machines may have under the same path.
        settings: how many replicas, and of what kind.

    Raises:
        ClusterRefused: VERSIONS_DIFFER, NO_REPLICA where none could be started in time.
    """
    model = ModelFiles(folder, backbone.content_hash)
    engines = RayEngines(model, engine_hash(backbone), store, settings)
    async with trio.open_nursery() as nursery:
        for _ in range(settings.replicas):
            nursery.start_soon(engines.keep_replica)
        nursery.start_soon(engines.refuse_the_homeless)
        try:
            with trio.move_on_after(settings.open_seconds):
                await engines.settled.wait()
            if not engines.links:
                raise engines.refusal or ClusterRefused(
                    ClusterReason.NO_REPLICA,
                    f"none started within {settings.open_seconds:.0f} s: `ray status` tells "
                    f"whether {settings.cpus:g} CPUs and {settings.gpus:g} GPUs are free. "
                    f"{engines.trouble}",
                )
            yield engines
        finally:
            engines.stop()
            nursery.cancel_scope.cancel()
