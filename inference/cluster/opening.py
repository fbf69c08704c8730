"""Replicas in place of the one engine of a server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import ray
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
from inference.worker.devices import PROCESSOR
from inference.worker.identity import engine_statement

log = logging.getLogger(__name__)


def on_ray(
    folder: Path,
    replicas: int,
    threads: int,
    device: str = PROCESSOR,
    host_bytes: int | None = None,
    disk_bytes: int | None = None,
) -> OpenEngine:
    """Return what opens replicas on the connected cluster (`connected`).

    Args:
        folder: of the base model; machines that lack it are sent its files.
        replicas: engines, spread over the machines.
        threads: per matrix product, and the CPUs that Ray reserves for each replica.
        device: of each replica, `cpu` or `cuda`.
        host_bytes: of its machine's memory, for adapters that wait for a GPU's; None for a share.
        disk_bytes: of its machine's disk, for the adapters that it was sent; None for no limit.
    """

    def opened(
        backbone: Backbone, store: AdapterStore, limits: Limits
    ) -> AbstractAsyncContextManager[ServingEngine]:
        settings = ClusterSettings(
            replicas=replicas,
            cpus=float(threads),
            replica=ReplicaSettings(
                limits=limits,
                device=device,
                threads=threads,
                host_bytes=host_bytes,
                disk_bytes=disk_bytes,
            ),
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
    _tell_of_shortage(settings)
    engines = RayEngines(model, engine_statement(backbone), store, settings)
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


def _tell_of_shortage(settings: ClusterSettings) -> None:
    held: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    wanted = {"CPU": settings.cpus, "GPU": settings.gpus}
    short = [
        f"{settings.replicas * each:g} {kind}s, it has {held.get(kind, 0):g}"
        for kind, each in wanted.items()
        if settings.replicas * each > held.get(kind, 0)
    ]
    if short:
        log.warning(
            "%d replicas want more than the cluster has, and some wait: %s",
            settings.replicas,
            "; ".join(short),
        )
