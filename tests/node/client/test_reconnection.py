from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import trio

from node.client.errors import ConnectionLost, Unreachable
from node.client.rpc import NodeClient
from node.client.signing import from_uri
from node.service import RunningNode
from runtime.construct import encode_call
from tests.node.client.cuttable_proxy import CuttableProxy


@pytest.fixture
async def proxy(node: RunningNode, nursery: trio.Nursery) -> CuttableProxy:
    made = CuttableProxy(node.rpc_address[1])
    await nursery.start(made.run)
    return made


@pytest.fixture
async def client(proxy: CuttableProxy) -> AsyncIterator[NodeClient]:
    async with NodeClient.connect(f"ws://127.0.0.1:{proxy.port}") as connected:
        yield connected


async def test_reads_go_on_after_a_cut(client: NodeClient, proxy: CuttableProxy) -> None:
    for _ in range(3):
        assert await client.request("system_chain") == "OpenLedger Development"
        proxy.cut()
    assert await client.request("system_chain") == "OpenLedger Development"
    assert proxy.served == 4


async def test_no_finalised_block_is_missed_or_repeated_over_cuts(
    client: NodeClient, proxy: CuttableProxy
) -> None:
    numbers: list[int] = []
    with trio.fail_after(20):
        async with aclosing(client.finalized_blocks(start=1)) as blocks:
            async for block in blocks:
                numbers.append(block.header.number)
                if len(numbers) % 3 == 0:
                    proxy.cut()
                if len(numbers) == 15:
                    break
    assert numbers == list(range(1, 16))


async def test_a_transaction_is_followed_to_its_end_over_a_cut(
    client: NodeClient, proxy: CuttableProxy, nursery: trio.Nursery
) -> None:
    async def cut_often() -> None:
        while True:
            await trio.sleep(0.07)
            proxy.cut()

    nursery.start_soon(cut_often)
    with trio.fail_after(30):
        done = await client.submit(
            encode_call("System", "remark_with_event", remark=b"x"), from_uri("//Alice")
        )
    assert done.events[-1].name == "ExtrinsicSuccess"


async def test_a_subscription_says_that_its_connection_is_gone(
    client: NodeClient, proxy: CuttableProxy
) -> None:
    async with await client.subscribe("chain_subscribeNewHeads") as heads:
        await anext(heads)
        proxy.cut()
        with pytest.raises(ConnectionLost):
            while True:
                await anext(heads)


async def test_a_node_that_stays_away_is_unreachable(
    client: NodeClient, proxy: CuttableProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.client.transport.CONNECT_SECONDS", 0.5)
    proxy.refuse = True
    proxy.cut()
    with pytest.raises(Unreachable):
        await client.request("system_chain")
