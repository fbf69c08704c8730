"""Transactions among nodes: told once by who had them first, checked by everybody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgpack
import pytest
import trio
from trio.testing import MockClock

from node.network.interface import Channel, MessageReceived
from node.network.simulated import Conditions, Ether, SimulatedNetwork
from node.pool import Pool
from node.transaction_gossip import BATCH_BYTES, TransactionGossip
from tests.node.tiny_accounts import TinyAccounts, transaction


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@dataclass
class Node:
    network: SimulatedNetwork
    pool: Pool
    gossip: TransactionGossip
    batches: list[bytes]

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.network.run)
            nursery.start_soon(self.gossip.run)
            while True:
                match await self.network.next_event():
                    case MessageReceived(peer, Channel.TRANSACTIONS, data):
                        self.batches.append(data)
                        await self.gossip.take(peer, data)


@asynccontextmanager
async def nodes(count: int) -> AsyncIterator[list[Node]]:
    ether = Ether(1, Conditions(latency=(0.001, 0.005)))
    made = []
    for number in range(count):
        network, pool = ether.node(f"n{number}"), Pool(TinyAccounts())
        made.append(Node(network, pool, TransactionGossip(pool, network), []))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ether.run)
        for node in made:
            nursery.start_soon(node.run)
        await trio.sleep(1)
        yield made
        nursery.cancel_scope.cancel()


async def test_what_is_submitted_at_one_node_is_in_the_pools_of_all(
    autojump_clock: MockClock,
) -> None:
    async with nodes(4) as made:
        sent = [transaction(1, nonce) for nonce in range(5)] + [transaction(2, 0)]
        for extrinsic in sent:
            made[0].pool.submit(extrinsic)
        await trio.sleep(5)
        for node in made:
            assert sorted(node.pool.pending()) == sorted(sent)


async def test_what_came_from_a_peer_is_not_told_again(autojump_clock: MockClock) -> None:
    async with nodes(3) as made:
        made[0].pool.submit(transaction(1, 0))
        await trio.sleep(5)
        told = [node.network.counters.channels[Channel.TRANSACTIONS].messages_out for node in made]
        assert told[0] > 0
        assert told[1:] == [0, 0]


async def test_batches_stay_small(autojump_clock: MockClock) -> None:
    async with nodes(2) as made:
        for sender in range(1, 9):
            made[0].pool.submit(transaction(sender, 0, size=60_000))
        await trio.sleep(5)
        assert len(made[1].pool) == 8
        assert len(made[1].batches) >= 3
        assert max(map(len, made[1].batches)) <= BATCH_BYTES + 100


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xc1", msgpack.packb({"a": 1}), msgpack.packb([1, 2]), msgpack.packb("text")],
)
async def test_garbage_costs_its_sender_standing(autojump_clock: MockClock, garbage: bytes) -> None:
    async with nodes(2) as made:
        for _ in range(3):
            await made[1].gossip.take("n0", garbage)
        assert (made[1].network.counters.bans, len(made[1].pool)) == (1, 0)


async def test_a_stale_transaction_costs_nobody_standing(autojump_clock: MockClock) -> None:
    async with nodes(2) as made:
        accounts = made[1].pool._validator
        assert isinstance(accounts, TinyAccounts)
        accounts.nonces[bytes([1]) * 32] = 3
        for _ in range(100):
            await made[1].gossip.take("n0", msgpack.packb([transaction(1, 0)]))
        assert (made[1].network.counters.bans, len(made[1].pool)) == (0, 0)
