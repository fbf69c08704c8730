"""The worker's view of a chain through a real node, a process of its own."""

from __future__ import annotations

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
from tests.clients.conftest import running_node

VALIDATOR, WORKER = from_uri("//Alice//stash"), from_uri("//Alice//worker")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[str]:
    with running_node(tmp_path / "log", "--dev", "-d", str(tmp_path / "node")) as running:
        yield running.websocket


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
