"""A cluster of two small Ray nodes on loopback, and what is asked of it."""

from __future__ import annotations

import os
import random
import secrets
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster
from tiny_models import save_checkpoint, tiny_adapter, tiny_config, tiny_tensors

from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.cluster.connection import connected
from inference.cluster.engine_thread import ReplicaSettings
from inference.cluster.starting import ClusterSettings
from inference.cpu_executor import CpuExecutor, HeldRows
from inference.executor import Piece
from inference.request import Limits, Request
from inference.sampling import SamplingParams
from tests.patience import PATIENCE

STORE_BYTES = 80_000_000
LIMITS = Limits(running=4, waiting=64, rows=64, pages=40)
RANKS = (1, 4, 8)


class Paced(CpuExecutor):
    """Computes so many steps under each hold that lies in a folder, and no more until it is gone.

    Whoever reads slowly then still meets an answer that is under way.
    """

    def __init__(self, backbone: Backbone, pages: int, folder: Path) -> None:
        super().__init__(backbone, pages)
        self._file = folder / "hold"
        self._hold, self._left = "", 0

    def parts(self, pieces: Sequence[Piece]) -> Generator[None, None, HeldRows]:
        """Wait, then do what is always done."""
        while hold := self._read():
            if hold != self._hold:
                self._hold, self._left = hold, int(hold.split()[1])
            if self._left > 0:
                self._left -= 1
                break
            time.sleep(0.005)
        return (yield from super().parts(pieces))

    def _read(self) -> str:
        try:
            return self._file.read_text()
        except FileNotFoundError:
            return ""


@contextmanager
def held(folder: Path, steps: int) -> Iterator[Path]:
    """Let every replica compute so many steps, and no more before the block or the file ends."""
    file = folder / "hold"
    allow(folder, steps)
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def allow(folder: Path, steps: int) -> None:
    """Hold every replica after so many steps from now on."""
    new = folder / "hold.new"
    new.write_text(f"{secrets.token_hex(8)} {steps}")
    new.rename(folder / "hold")


def paced(folder: Path, replicas: int = 2) -> ClusterSettings:
    """Have replicas of this machine that `held` holds."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return settings(
        replicas,
        folder,
        executor=lambda backbone, limits: Paced(backbone, limits.pages, folder),
    )


def small_node(cluster: Cluster) -> object:
    return cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)


@contextmanager
def two_nodes() -> Iterator[Cluster]:
    """Run a cluster and connect to it; nothing of it is left, whatever happens inside."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    # Others fill this machine's memory, too: Ray would kill its workers for that.
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"})
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
        },
    )
    try:
        small_node(cluster)
        with connected(cluster.address):
            yield cluster
    finally:
        cluster.shutdown()
        left = [c for c in psutil.Process().children(recursive=True) if c.pid not in before]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)


def settings(replicas: int = 2, folder: Path | None = None, **changes: Any) -> ClusterSettings:
    return ClusterSettings(
        replicas=replicas,
        replica=ReplicaSettings(limits=LIMITS, folder=folder, **changes),
        open_seconds=300.0,
        silence_seconds=PATIENCE,
        pause_seconds=0.1,
        patience_seconds=PATIENCE,
    )


def saved_backbone(folder: Path) -> Backbone:
    save_checkpoint(folder, tiny_tensors(tiny_config()))
    return Backbone.load(folder)


def filled_store(folder: Path, backbone: Backbone) -> tuple[AdapterStore, list[bytes]]:
    store = AdapterStore(folder, backbone)
    return store, [store.put(tiny_adapter(backbone, rank, seed=rank)) for rank in RANKS]


def mixed_requests(adapters: list[bytes], count: int, seed: int) -> list[Request]:
    chance = random.Random(seed)
    choices: list[bytes | None] = [None, *adapters]
    return [
        Request(
            prompt_ids=tuple(chance.randrange(256) for _ in range(chance.randint(1, 60))),
            max_tokens=chance.randint(1, 30),
            sampling=SamplingParams(temperature=chance.choice((0.0, 0.9)), seed=number),
            adapter=choices[number % len(choices)],
            logprobs=number % 3,
            tenant=f"tenant {number % 2}",
        )
        for number in range(count)
    ]


def kill_replica(pid: int) -> None:
    os.kill(pid, 9)


def alive_nodes() -> int:
    return sum(bool(node["Alive"]) for node in ray.nodes())
