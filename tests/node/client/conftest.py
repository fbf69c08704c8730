from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from node.client.rpc import NodeClient
from node.service import RunningNode
from tests.node.running_node import config, node

__all__ = ["config", "node"]


@pytest.fixture(params=["ws", pytest.param("http", marks=pytest.mark.slow)])
async def client(node: RunningNode, request: pytest.FixtureRequest) -> AsyncIterator[NodeClient]:
    host, port = node.rpc_address
    async with NodeClient.connect(f"{request.param}://{host}:{port}") as connected:
        yield connected
