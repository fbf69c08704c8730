"""The worker's view of a chain through a real node, a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import trio

from inference.worker.chain_view import ChainError, ChainReason, event_named
from inference.worker.node_view import NodeView
from inference.worker.registration import register
from node.client.rpc import NodeClient
from node.client.signing import from_uri
from runtime.construct import encode_call

VALIDATOR, WORKER = from_uri("//Alice//stash"), from_uri("//Alice//worker")


@pytest.fixture
def node(unused_port: int, tmp_path: Path) -> Iterator[str]:
    options = ["--dev", "-d", str(tmp_path), "--no-prometheus", "--rpc-port", str(unused_port)]
    with (
        (tmp_path / "node.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "node.cli.main", "node", *options],
            cwd=Path(__file__).parents[3],
            stderr=log,
        ) as process,
    ):
        yield f"ws://127.0.0.1:{unused_port}"
        process.terminate()


@pytest.fixture
async def unused_port() -> int:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    for listener in listeners:
        await listener.aclose()
    return port


@pytest.mark.e2e
async def test_a_worker_registers_follows_blocks_and_is_told_refusals(node: str) -> None:
    with trio.fail_after(300):
        async with NodeClient.connect(node) as client:
            view = NodeView(client)
            await register(view, WORKER, VALIDATOR, "http://127.0.0.1:1", (), 2)
            async with aclosing(view.heads()) as heads:
                seen = [await anext(heads) for _ in range(3)]
                first = seen[0].number
                assert [head.number for head in seen] == [first, first + 1, first + 2]
                assert view.height == first + 2
                worker = await view.storage("Inference", "Workers", WORKER.account_id)
                assert worker.validator == VALIDATOR.account_id
                entries = await view.items("Inference", "Workers")
                assert entries == [((WORKER.account_id,), worker)]
                remark = encode_call("System", "remark", remark=b"here")
                events = await view.submit(remark, VALIDATOR)
                assert event_named(events, "System", "ExtrinsicSuccess") is not None
                with pytest.raises(ChainError) as refusal:
                    await view.submit(encode_call("Inference", "claim"), VALIDATOR)
                assert refusal.value.name == "Inference.NothingToClaim"
                with pytest.raises(ChainError) as refusal:
                    await view.blob(bytes(32))
                assert refusal.value.reason is ChainReason.NO_BLOB
