"""Write `docs/rpc.md`, the reference of JSON-RPC, from what a node says of itself.

``python -m scripts.rpc_reference`` tells whether it is up to date, ``--write`` makes it so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import trio

from genesis.presets import development
from node.client.rpc import NodeClient
from node.rpc.limits import RpcConfig
from node.rpc.reference import reference
from node.service import NodeConfig, RunningNode, run_node

FILE = Path(__file__).parents[1] / "docs" / "rpc.md"


async def described() -> dict[str, Any]:
    """Start a node that follows nobody, and ask it to describe its methods."""
    with tempfile.TemporaryDirectory() as folder:
        config = NodeConfig(
            spec=development(), base_path=Path(folder), rpc=RpcConfig(port=0), prometheus=None
        )
        async with trio.open_nursery() as nursery:
            node: RunningNode = await nursery.start(run_node, config)
            host, port = node.rpc_address
            async with NodeClient.connect(f"ws://{host}:{port}") as client:
                document: dict[str, Any] = await client.request("rpc.discover")
            nursery.cancel_scope.cancel()
    return document


def main() -> int:
    """Compare or write; the exit status is 1 where the file is stale."""
    parser = argparse.ArgumentParser(description="the reference of JSON-RPC")
    parser.add_argument("--write", action="store_true", help="write docs/rpc.md")
    text = reference(trio.run(described))
    if parser.parse_args().write:
        FILE.write_text(text)
        return 0
    if FILE.exists() and FILE.read_text() == text:
        return 0
    sys.stderr.write("docs/rpc.md is stale: run `python -m scripts.rpc_reference --write`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
