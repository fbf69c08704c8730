"""A real node with two blocks a second, and a market on it for strangers to attack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from genesis.presets import development
from node.client.rpc import NodeClient
from tests.clients.conftest import running_node
from tests.clients.main_job import Market, open_market

WINDOWS = [40, 40, 2, 10]
"""Commit, reveal, dispute, submit: time enough in blocks of half a second."""


@dataclass(frozen=True)
class Attacked:
    """A node and what is on its chain."""

    url: str
    http: str
    market: Market
    log: Path


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """Start a node and open a market; at the end its log must tell of no fault."""
    folder = tmp_path_factory.mktemp("attacked")
    spec = development()
    assert spec.genesis.runtime is not None
    spec.genesis.runtime["inference"]["windows"] = WINDOWS
    consensus = spec.consensus.model_copy(update={"block_interval_ms": 500})
    path = folder / "chain.json"
    path.write_text(spec.model_copy(update={"consensus": consensus}).to_json())
    log = folder / "log"
    with running_node(log, "--dev", "--tmp", "--chain", str(path)) as node:
        yield Attacked(node.websocket, node.http, trio.run(_market, node.websocket), log)
    told = log.read_text()
    assert "Traceback" not in told, told
    assert "ERROR" not in told, told


async def _market(url: str) -> Market:
    async with NodeClient.connect(url) as client:
        return await open_market(client)


@pytest.fixture
async def client(attacked: Attacked) -> AsyncIterator[NodeClient]:
    async with NodeClient.connect(attacked.url) as connected:
        yield connected


@pytest.fixture
def market(attacked: Attacked) -> Market:
    return attacked.market
