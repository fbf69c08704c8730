"""Members and executors meet over JSON-RPC: the real server, the real client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import pytest
import trio

from node import committee_inboxes
from node.client.committee import answer_material, ask_material, read_inbox
from node.client.errors import CallError
from node.client.material import open_answer
from node.client.rpc import NodeClient
from node.rpc.errors import COMMITTEE_ERROR
from tests.node.committee_world import (
    EXECUTOR,
    STRANGER,
    JudgedChain,
    Node,
    open_door,
    signed,
    told,
    wanted,
)
from tests.patience import PATIENCE


@dataclass
class Door:
    """A node's exchange and the address of its JSON-RPC."""

    node: Node
    url: str


@pytest.fixture
async def door(nursery: trio.Nursery) -> Door:
    node = Node("node", JudgedChain())
    return Door(node, await open_door(node.exchange, nursery))


@pytest.fixture
async def client(door: Door) -> AsyncIterator[NodeClient]:
    async with NodeClient.connect(door.url) as connected:
        yield connected


async def test_a_request_goes_to_the_inbox_and_the_answer_comes_back(
    door: Door, client: NodeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committee_inboxes, "ANSWER_SECONDS", PATIENCE)
    request = wanted()
    sealed = bytes(range(256)) * 3000

    async def work() -> None:
        async with (
            NodeClient.connect(door.url) as other,
            aclosing(read_inbox(other, EXECUTOR)) as letters,
        ):
            async for letter in letters:
                assert letter.request == data
                assert not await answer_material(other, letter.number, b"garbage")
                assert await answer_material(other, letter.number, told(request, sealed))

    data = signed(request)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            while not len(door.node.exchange.inboxes):
                await trio.sleep(0.01)
            reply = await ask_material(client, data)
            nursery.cancel_scope.cancel()
    assert reply.answer is not None
    assert open_answer(reply.answer, request, EXECUTOR.account_id) == sealed
    assert reply.peers == 0


async def test_an_inbox_closes_with_its_connection(door: Door) -> None:
    inboxes = door.node.exchange.inboxes
    with trio.fail_after(PATIENCE):
        async with NodeClient.connect(door.url) as other, trio.open_nursery() as nursery:
            letters = read_inbox(other, EXECUTOR)
            nursery.start_soon(anext, letters)
            while not len(inboxes):
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        while len(inboxes):
            await trio.sleep(0.01)


async def test_strangers_get_no_inbox_and_no_answer(client: NodeClient) -> None:
    with pytest.raises(CallError, match="NOT_A_MEMBER") as refusal:
        await anext(read_inbox(client, STRANGER))
    assert refusal.value.code == COMMITTEE_ERROR
    with pytest.raises(CallError, match="NOT_A_MEMBER"):
        await ask_material(client, signed(wanted(worker=STRANGER.account_id), STRANGER))
    with pytest.raises(CallError, match="at most 512 bytes"):
        await ask_material(client, bytes(513))
    assert not await answer_material(client, "unknown", None)


async def test_where_nobody_answers_the_member_is_told_so(client: NodeClient) -> None:
    assert await ask_material(client, signed(wanted())) == (None, 0)
