"""The exchange over the simulated network: with its limits, losses, bans and partitions."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.blob_exchange import BlobExchange
from node.blob_exchange_limits import ExchangeLimits
from node.blobs import CHUNK_BYTES, BlobStore
from node.network.simulated import Ether
from runtime.primitives.hashing import blake2_256
from tests.node.blob_exchange_world import Announcements, blob_of
from tests.node.thread_clock import clock_beside_threads


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    return clock_beside_threads(monkeypatch)


async def test_blobs_spread_through_partitions_and_past_a_forger(
    tmp_path: Path, clock: MockClock
) -> None:
    blobs = [blob_of(3 * CHUNK_BYTES + 9, seed) for seed in range(3)]
    chain, ether = Announcements(), Ether(seed=7)
    stores = {}
    names = ("holder", "forger", "one", "two")
    networks = {name: ether.node(name) for name in names}
    for name in names:
        stores[name] = BlobStore(tmp_path / name, chain.sizes.get)
    for blob in blobs:
        chain.declare(blob)
        for name in ("holder", "forger"):
            for at in range(0, len(blob), CHUNK_BYTES):
                stores[name].put(blake2_256(blob), at, blob[at : at + CHUNK_BYTES])
        forged = stores["forger"].path(blake2_256(blob))
        assert forged is not None
        forged.write_bytes(blob[:-1] + b"?")
    limits = ExchangeLimits(first_retry_seconds=1, last_retry_seconds=4)
    exchanges = {
        name: BlobExchange(networks[name], stores[name], chain, limits=limits) for name in names
    }

    async def spread(name: str) -> None:
        while exchanges[name].complete < len(blobs):
            await trio.sleep(0.2)

    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            await nursery.start(ether.run)
            for name in names:
                await nursery.start(networks[name].run)
                nursery.start_soon(exchanges[name].run)
            ether.partition(["holder", "forger"], ["one"], ["two"])
            await trio.sleep(1)
            ether.heal()
            await trio.sleep(0.1)
            ether.partition(["holder", "forger", "one"], ["two"])
            await spread("one")
            ether.partition(["holder", "forger"], ["one", "two"])
            await spread("two")
            nursery.cancel_scope.cancel()
    for name in ("one", "two"):
        for blob in blobs:
            path = stores[name].path(blake2_256(blob))
            assert path is not None
            assert path.read_bytes() == blob
    assert exchanges["two"].counters.bytes_fetched == sum(map(len, blobs))
