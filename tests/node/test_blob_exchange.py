"""Blobs spread from node to node: whole, once, and only what the chain declares."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.blob_errors import BlobReason, BlobRefusal
from node.blob_exchange_limits import ExchangeLimits, Keep
from node.blob_exchange_messages import BlobRequest, ChunkRequest
from node.blobs import BlobLimits
from runtime.primitives.hashing import blake2_256
from tests.node.blob_exchange_world import Node, World, blob_of
from tests.node.thread_clock import clock_beside_threads

MIB = 1 << 20


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """Let no test wait, nor time pass while anything is done."""
    return clock_beside_threads(monkeypatch)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def refusal(node: Node, blob: bytes, timeout: float = 20) -> BlobReason:
    with pytest.raises(BlobRefusal) as caught:
        await node.exchange.fetch(blob, timeout)
    return caught.value.reason


async def test_a_declared_blob_comes_from_several_peers_at_once(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    blob = blob_of(5 * MIB + 17)
    world.chain.declare(blob)
    holders = [world.node(name, blob) for name in ("a", "b", "c")]
    fetcher = world.node("fetcher")
    for node in (*holders, fetcher):
        nursery.start_soon(node.run)
    await fetcher.obtains(blob)
    await trio.sleep(0.001)  # time passes when all is done
    served = [node.exchange.counters.bytes_served for node in holders]
    assert sum(served) == fetcher.exchange.counters.bytes_fetched == len(blob)
    assert min(served) > 0
    assert sorted(fetcher.network.chunks_asked()) == list(range(6))
    assert (fetcher.exchange.missing, fetcher.exchange.complete) == (0, 1)
    assert fetcher.exchange.counters.blobs_fetched == 1
    assert fetcher.store.used_bytes == len(blob)
    assert not fetcher.network.faults


async def test_what_was_fetched_is_given_on(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    blob = blob_of(2 * MIB)
    world.chain.declare(blob)
    first, second = world.node("first", blob), world.node("second")
    nursery.start_soon(first.run)
    nursery.start_soon(second.run)
    await second.obtains(blob)
    first.network.leave()
    third = world.node("third")
    nursery.start_soon(third.run)
    await third.obtains(blob)
    assert {peer for peer, _ in third.network.asked} == {"second"}


@pytest.mark.parametrize("kept", range(4))
async def test_a_killed_fetch_asks_only_for_what_it_lacks(
    world: World, clock: MockClock, kept: int
) -> None:
    blob = blob_of(4 * MIB - 5)
    world.chain.declare(blob)
    limits = ExchangeLimits(chunks=1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.node("holder", blob).run)
        fetcher = world.node("fetcher", limits=limits)

        async def stop(peer: str, request: BlobRequest) -> None:
            if isinstance(request, ChunkRequest) and len(fetcher.network.chunks_asked()) > kept:
                killed.cancel()
                await trio.sleep_forever()

        fetcher.network.before = stop
        with trio.CancelScope() as killed:
            await fetcher.run()
        assert not fetcher.holds(blob)
        again = world.node("fetcher", limits=limits)
        assert again.store.used_bytes == len(blob)
        nursery.start_soon(again.run)
        await again.obtains(blob)
        assert again.network.chunks_asked() == list(range(kept, 4))
        assert again.store.used_bytes == len(blob)
        nursery.cancel_scope.cancel()


async def test_a_damaged_chunk_of_a_killed_fetch_is_fetched_again(
    world: World, clock: MockClock
) -> None:
    blob = blob_of(3 * MIB)
    name = world.chain.declare(blob)
    part = world.folder / "fetcher" / "fetches" / name.hex()
    part.parent.mkdir(parents=True)
    part.write_bytes(blob[:MIB] + b"\1" + blob[MIB + 1 :])
    async with trio.open_nursery() as nursery:
        fetcher = world.node("fetcher")
        nursery.start_soon(world.node("holder", blob).run)
        nursery.start_soon(fetcher.run)
        await fetcher.obtains(blob)
        assert fetcher.network.chunks_asked() == [1]
        nursery.cancel_scope.cancel()


async def test_a_peer_that_leaves_in_the_middle_does_not_stop_the_fetch(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    blob = blob_of(4 * MIB)
    world.chain.declare(blob)
    leaver, fetcher = world.node("leaver", blob), world.node("fetcher")
    nursery.start_soon(leaver.run)
    nursery.start_soon(fetcher.run)

    left = trio.Event()

    async def leave(peer: str, request: BlobRequest) -> None:
        if request == ChunkRequest(blake2_256(blob), 2):
            leaver.network.leave()
            left.set()

    fetcher.network.before = leave
    await left.wait()
    await trio.sleep(3)
    assert not fetcher.holds(blob)
    fetched = fetcher.exchange.counters.bytes_fetched
    assert 0 < fetched < len(blob)
    nursery.start_soon(world.node("stayer", blob).run)
    await fetcher.obtains(blob)
    assert fetcher.exchange.counters.bytes_fetched == len(blob)


async def test_nothing_undeclared_and_nothing_too_large_is_fetched(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    small, large = blob_of(1000), blob_of(MIB)
    world.chain.declare(large)
    holder = world.node("holder", large)
    fetcher = world.node("fetcher", store=BlobLimits(blob_bytes=MIB - 1))
    nursery.start_soon(holder.run)
    nursery.start_soon(fetcher.run)
    assert await refusal(fetcher, blake2_256(small)) is BlobReason.UNDECLARED
    assert await refusal(fetcher, blake2_256(large)) is BlobReason.TOO_LARGE
    await trio.sleep(60)
    assert not fetcher.network.asked
    assert fetcher.exchange.missing == 0


async def test_a_full_quota_is_named_and_leaves_room_for_what_fits(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    large, small = blob_of(2 * MIB), blob_of(500_000)
    world.chain.declare(large)
    fetcher = world.node("fetcher", store=BlobLimits(total_bytes=MIB))
    nursery.start_soon(world.node("holder", large).run)
    nursery.start_soon(fetcher.run)
    assert await refusal(fetcher, blake2_256(large)) is BlobReason.QUOTA
    world.chain.declare(small)
    nursery.start_soon(world.node("other", small).run)
    await fetcher.obtains(small)
    assert fetcher.store.used_bytes == len(small)
    assert not fetcher.network.chunks_asked() or fetcher.network.chunks_asked() == [0]


async def test_an_unfinished_fetch_gives_way_to_one_that_needs_its_room(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    stuck, needed = blob_of(2 * MIB, 1), blob_of(2 * MIB, 2)
    world.chain.declare(stuck)
    fetcher = world.node("fetcher", store=BlobLimits(total_bytes=3 * MIB))
    part = fetcher.store.root / "fetches" / blake2_256(stuck).hex()
    part.write_bytes(stuck[:MIB] + bytes(MIB))
    fetcher.store.reserve(2 * MIB)
    world.chain.declare(needed)
    nursery.start_soon(world.node("holder", needed).run)
    nursery.start_soon(fetcher.run)
    await fetcher.obtains(needed)
    assert not part.exists()
    assert fetcher.store.used_bytes == 2 * MIB


async def test_everybody_who_waits_for_a_blob_shares_one_fetch(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    blob = blob_of(3 * MIB)
    name = world.chain.declare(blob)
    fetcher = world.node("fetcher", keep=Keep.NONE)
    nursery.start_soon(world.node("holder", blob).run)
    nursery.start_soon(fetcher.run)
    async with trio.open_nursery() as waiting:
        for _ in range(5):
            waiting.start_soon(fetcher.exchange.fetch, name)
    assert fetcher.holds(blob)
    assert Counter(fetcher.network.chunks_asked()) == Counter([0, 1, 2])


async def test_a_node_that_keeps_none_fetches_on_demand_alone_and_serves(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    one, two = blob_of(1000, 1), blob_of(1000, 2)
    world.chain.declare(one)
    world.chain.declare(two)
    holder = world.node("holder", one, two)
    fetcher = world.node("fetcher", keep=Keep.NONE)
    nursery.start_soon(holder.run)
    nursery.start_soon(fetcher.run)
    await trio.sleep(60)
    assert not fetcher.network.asked
    await fetcher.exchange.fetch(blake2_256(one))
    holder.network.leave()
    third = world.node("third", keep=Keep.NONE)
    nursery.start_soon(third.run)
    await third.exchange.fetch(blake2_256(one))
    assert third.holds(one)
    assert await refusal(third, blake2_256(two)) is BlobReason.NOBODY
    assert third.exchange.missing == 0


async def test_a_blob_that_nobody_has_yet_comes_later(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    blob = blob_of(MIB + 1)
    world.chain.declare(blob)
    limits = ExchangeLimits(first_retry_seconds=1, last_retry_seconds=8)
    fetcher = world.node("fetcher", limits=limits)
    holder = world.node("holder", keep=Keep.NONE)
    assert await refusal(fetcher, blake2_256(blob), timeout=1) is BlobReason.LATE
    nursery.start_soon(fetcher.run)
    nursery.start_soon(holder.run)
    assert await refusal(fetcher, blake2_256(blob)) is BlobReason.NOBODY
    await trio.sleep(40)
    asked = len(fetcher.network.asked)
    assert 6 <= asked <= 10
    holder.upload(blob)
    await fetcher.obtains(blob)
    assert fetcher.store.used_bytes == len(blob)


async def test_without_peers_the_refusal_says_so(world: World, clock: MockClock) -> None:
    name = world.chain.declare(b"lonely")
    fetcher = world.node("fetcher")
    assert await refusal(fetcher, name) is BlobReason.NO_PEERS


async def test_what_takes_too_long_is_refused_as_late_and_comes_all_the_same(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    blob = blob_of(2 * MIB)
    name = world.chain.declare(blob)
    fetcher = world.node("fetcher", keep=Keep.NONE)

    async def slowly(peer: str, request: BlobRequest) -> None:
        await trio.sleep(15)

    fetcher.network.before = slowly
    nursery.start_soon(world.node("holder", blob).run)
    nursery.start_soon(fetcher.run)
    assert await refusal(fetcher, name, timeout=20) is BlobReason.LATE
    await fetcher.exchange.fetch(name)
    assert fetcher.holds(blob)


async def test_a_slow_blob_does_not_keep_the_others_waiting(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    slow, quick = blob_of(3 * MIB, 1), blob_of(1000, 2)
    limits = ExchangeLimits(fetches=1, chunks=1, slice_seconds=13)
    world.chain.declare(slow)
    fetcher = world.node("fetcher", limits=limits)

    async def slowly(peer: str, request: BlobRequest) -> None:
        if isinstance(request, ChunkRequest) and request.blob == blake2_256(slow):
            await trio.sleep(10)

    fetcher.network.before = slowly
    nursery.start_soon(world.node("holder", slow).run)
    nursery.start_soon(fetcher.run)
    await trio.sleep(5)
    world.chain.declare(quick)
    nursery.start_soon(world.node("other", quick).run)
    await fetcher.obtains(quick, 25)
    assert not fetcher.holds(slow)
    await fetcher.obtains(slow)
    assert len(fetcher.network.chunks_asked()) <= 3 + 3 + 1


async def test_a_blob_that_the_disk_spoilt_is_no_lie_but_fetched_again(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    blob = blob_of(2 * MIB)
    name = world.chain.declare(blob)
    spoilt, sound = world.node("spoilt", blob), world.node("sound", blob)
    nursery.start_soon(spoilt.run)
    nursery.start_soon(sound.run)
    reader = world.node("reader")
    await trio.sleep(1)
    world.links.nodes.pop("sound")
    nursery.start_soon(reader.run)
    await reader.obtains(blob)
    path = spoilt.store.path(name)
    assert path is not None
    path.write_bytes(blob[:-1] + b"?")
    late = world.node("late", keep=Keep.NONE)
    reader.network.leave()
    nursery.start_soon(late.run)
    await refusal(late, name)
    sound.network.join()
    await spoilt.obtains(blob)
    assert not late.network.faults
    assert spoilt.exchange.counters.damaged == 1
    assert spoilt.store.used_bytes == len(blob)


async def test_many_small_blobs_all_arrive(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    blobs = [blob_of(100 + i, i) for i in range(40)]
    for blob in blobs:
        world.chain.declare(blob)
    fetcher = world.node("fetcher")
    nursery.start_soon(world.node("holder", *blobs).run)
    nursery.start_soon(fetcher.run)
    for blob in blobs:
        await fetcher.obtains(blob)
    await trio.sleep(0.001)  # time passes when all is done
    assert (fetcher.exchange.missing, fetcher.exchange.complete) == (0, 40)
    assert fetcher.exchange.counters.bytes_fetched == sum(map(len, blobs))
