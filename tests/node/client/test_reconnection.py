from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed

from node.client.errors import ConnectionLost, Unreachable
from node.client.rpc import NodeClient
from node.client.signing import from_uri
from node.service import RunningNode
from runtime.construct import encode_call
from tests.node.client.cuttable_proxy import CuttableProxy
from tests.patience import PATIENCE


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


async def test_a_socket_that_broke_before_its_reader_knew_is_not_asked_again(
    client: NodeClient, proxy: CuttableProxy, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    failed = trio.Event()

    async def broken(message: str) -> None:
        nonlocal asked
        asked += 1
        failed.set()
        assert asked < 10, "nobody else gets a turn"
        raise ConnectionClosed(None)

    async def cut_later() -> None:
        await failed.wait()
        await trio.testing.wait_all_tasks_blocked()
        proxy.cut()

    monkeypatch.setattr(client._transport._socket, "send_message", broken)  # type: ignore[union-attr]
    nursery.start_soon(cut_later)
    with trio.fail_after(PATIENCE):
        assert await client.request("system_chain") == "OpenLedger Development"
    assert asked == 1


async def test_no_finalised_block_is_missed_or_repeated_over_cuts(
    client: NodeClient, proxy: CuttableProxy
) -> None:
    numbers: list[int] = []
    with trio.fail_after(PATIENCE):
        async with aclosing(client.finalized_blocks(start=1)) as blocks:
            async for block in blocks:
                numbers.append(block.header.number)
                if len(numbers) % 3 == 0:
                    proxy.cut()
                if len(numbers) == 15:
                    break
    assert numbers == list(range(1, 16))


async def test_a_transaction_is_followed_to_its_end_over_a_cut(
    client: NodeClient, proxy: CuttableProxy
) -> None:
    statuses: list[str] = []

    def cut(status: str, block: str | None) -> None:
        """Break the connection as soon as the node has it; the next ones bear one answer each."""
        statuses.append(status)
        proxy.lasts = 2
        proxy.cut()

    call = encode_call("System", "remark_with_event", remark=b"x")
    with trio.fail_after(PATIENCE):
        signed = await client.sign(call, from_uri("//Alice"))
        done = await client.send(signed, "finalized", cut)
    assert statuses[0] == "ready"
    assert done.events[-1].name == "ExtrinsicSuccess"
    assert proxy.served >= 3  # its block and its events, whatever was told before the cut


async def test_a_transaction_that_was_lost_with_its_connection_is_sent_again(
    client: NodeClient, proxy: CuttableProxy, nursery: trio.Nursery
) -> None:
    async def lose() -> None:
        await proxy.lost.wait()
        proxy.deaf = False
        proxy.cut()

    call = encode_call("System", "remark_with_event", remark=b"lost")
    signed = await client.sign(call, from_uri("//Alice"))
    nursery.start_soon(lose)
    proxy.deaf = True
    told: list[str] = []
    with trio.fail_after(PATIENCE):
        done = await client.send(signed, "finalized", lambda status, block: told.append(status))
    assert told == []
    assert proxy.served >= 2
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


async def test_a_connection_that_ends_in_its_handshake_is_made_again_at_once(
    client: NodeClient, proxy: CuttableProxy
) -> None:
    proxy.refuse = True
    proxy.cut()
    await proxy.refused.wait()
    proxy.refuse = False
    with trio.fail_after(PATIENCE):
        assert await client.request("system_chain") == "OpenLedger Development"


@pytest.mark.parametrize("lasts", [2, 3])
async def test_a_cut_while_it_is_handed_in_again_loses_nothing(
    client: NodeClient,
    proxy: CuttableProxy,
    monkeypatch: pytest.MonkeyPatch,
    lasts: int,
) -> None:
    """The node tells nothing of it at first; the connection ends with that, or with the next."""
    request = client._transport.request
    asked: list[str] = []

    async def unknown_at_first(method: str, params: tuple[Any, ...]) -> Any:
        asked.append(method)
        answer = await request(method, params)
        if method == "openledger_whyDropped" and asked.count(method) == 1:
            return None
        return answer

    monkeypatch.setattr(client._transport, "request", unknown_at_first)
    call = encode_call("System", "remark_with_event", remark=b"twice")
    signed = await client.sign(call, from_uri("//Alice"))

    def cut(status: str, block: str | None) -> None:
        proxy.lasts = lasts
        proxy.cut()

    with trio.fail_after(PATIENCE):
        done = await client.send(signed, "finalized", cut)
    assert "author_submitExtrinsic" in asked
    assert done.events[-1].name == "ExtrinsicSuccess"
