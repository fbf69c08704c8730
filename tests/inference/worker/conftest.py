"""One trained artifact for all tests, and a running worker on a chain in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from memory_chain import MemoryChain
from paid_world import (
    WORKER,
    Trained,
    launch,
    new_chain,
    open_session,
    published,
    register,
    train_artifact,
)
from served import STALE_SECONDS, Served

from inference.backbone.model import Backbone
from inference.worker.worker import WorkerConfig, open_worker


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no test that is slow to make its next block for a node that stands still."""
    for module in ("serving", "worker"):
        monkeypatch.setattr(f"inference.worker.{module}.STALE_SECONDS", STALE_SECONDS)


@pytest.fixture(scope="session")
def trained(backbone: Backbone) -> Trained:
    return train_artifact(backbone, published())


@pytest.fixture
def chain(trained: Trained) -> MemoryChain:
    made = new_chain()
    launch(made, trained.blob)
    register(made)
    open_session(made)
    return made


@pytest.fixture
async def served(chain: MemoryChain, backbone: Backbone, tmp_path: Path) -> AsyncIterator[Served]:
    config = WorkerConfig(tmp_path / "worker", bind="127.0.0.1:0", capacity=4)
    async with (
        open_worker(chain, backbone, WORKER, config) as worker,
        httpx.AsyncClient(base_url=worker.address, timeout=300) as client,
    ):
        yield Served(worker, client)
