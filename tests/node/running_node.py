"""A real node inside the test: one validator, ten blocks a second, a free port."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from genesis.presets import development
from node.cli.session_key import session_key_seed
from node.paths import ChainPaths
from node.rpc.limits import RpcConfig
from node.service import NodeConfig, RunningNode, run_node

ALONE = {"block_interval_ms": 100, "delta_ms": 30_000}
"""How a validator keeps pace that is alone: however slow the machine, it gives up no view of its
own, so that no block has a sibling."""


@pytest.fixture
def config(tmp_path: Path) -> NodeConfig:
    """A development chain whose only validator is this node."""
    spec = development()
    spec = spec.model_copy(update={"consensus": spec.consensus.model_copy(update=ALONE)})
    paths = ChainPaths.of(tmp_path, spec.id)
    return NodeConfig(
        spec=spec,
        base_path=tmp_path,
        key_seed=session_key_seed(spec, paths, "//Alice", None),
        init_log=True,
        rpc=RpcConfig(port=0),
        prometheus=None,
    )


@pytest.fixture
async def node(config: NodeConfig, nursery: trio.Nursery) -> RunningNode:
    running: RunningNode = await nursery.start(run_node, config)
    return running
