from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from memory_device import PLAIN
from pool_world import World
from tiny_models import tiny_adapter

from inference.adapters.adapter import image_of
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.figures import Origin
from inference.adapters.packed_image import PackedImage
from inference.adapters.state import AdapterState
from inference.backbone.model import Backbone
from tests.patience import PATIENCE

LOADING, NO_ROOM, READY, FAILED = AdapterState


@pytest.fixture
def make(tmp_path: Path, backbone: Backbone) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def build(**options: object) -> World:
        made.append(World(tmp_path / str(len(made)), backbone, **options))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for world in made:
        world.pool.close()


def test_a_lease_loads_and_its_image_lies_where_it_says(make: Callable[..., World]) -> None:
    world = make()
    lease = world.pool.lease(world.keys[0])
    assert lease.state is LOADING
    assert lease.resident is None
    world.until(lambda: lease.state is READY)
    assert world.holds(lease)
    assert lease.resident is not None
    assert lease.resident.size_bytes == world.size
    assert lease.resident.content_hash == world.keys[0]
    assert lease.resident.layout == world.images[0].layout
    assert world.pool.resident == (world.keys[0],)


def test_nothing_reaches_the_device_before_the_engine_pumps(make: Callable[..., World]) -> None:
    world = make()
    before = world.device.memory.clone()
    lease = world.pool.lease(world.keys[0])
    assert world.woken.wait(PATIENCE)
    time.sleep(0.05)
    assert lease.state is LOADING
    assert bool((world.device.memory == before).all())
    assert world.arena.free_bytes == world.arena.size


def test_a_second_lease_finds_the_adapter_ready(make: Callable[..., World]) -> None:
    world = make()
    first = world.ready(0)[0]
    second = world.pool.lease(world.keys[0])
    assert second.state is READY
    assert second.resident is first.resident
    world.release(first)
    assert world.holds(second)
    world.release(second)
    third = world.pool.lease(world.keys[0])
    assert third.state is READY
    loads = world.pool.figures.loads
    assert [loads[origin].count for origin in Origin] == [2, 0, 1, 0]
    assert loads[Origin.DISK].bytes == world.size
    assert loads[Origin.DISK].seconds > 0


def test_the_least_recently_used_idle_adapter_leaves(make: Callable[..., World]) -> None:
    world = make()
    world.release(*world.ready(0, 1))
    world.release(*world.ready(0))
    kept = world.ready(2)
    assert set(world.pool.resident) == {world.keys[0], world.keys[2]}
    assert world.pool.figures.evictions == 1
    assert world.holds(kept[0])
    world.release(*kept)
    world.ready(1)
    assert world.pool.figures.loads[Origin.HOST].count == 1


def test_leased_adapters_stay_and_others_wait_for_room(make: Callable[..., World]) -> None:
    world = make()
    a, b = world.ready(0, 1)
    waiting = world.pool.lease(world.keys[2])
    world.until(lambda: waiting.state is NO_ROOM)
    for _ in range(3):
        world.pool.pump()
    assert world.holds(a)
    assert world.holds(b)
    world.woken.clear()
    world.release(a)
    assert world.woken.is_set()
    world.until(lambda: waiting.state is READY)
    assert world.holds(waiting)
    assert world.holds(b)


def test_cached_pages_are_reclaimed_for_an_adapter(make: Callable[..., World]) -> None:
    world = make()
    while (page := world.pool.take_page()) is not None:
        world.cached.append(page)
    assert world.arena.free_pages == 0
    lease = world.ready(0)[0]
    assert world.holds(lease)
    assert world.cached


def test_a_page_evicts_idle_adapters_but_no_leased_ones(make: Callable[..., World]) -> None:
    world = make()
    a, b = world.ready(0, 1)
    while world.arena.free_pages:
        assert world.pool.take_page() is not None
    assert world.pool.take_page() is None
    world.release(b)
    assert world.pool.take_page() is not None
    assert world.pool.resident == (world.keys[0],)
    assert world.holds(a)


def test_gaps_are_closed_rather_than_adapters_evicted_unless_a_step_is_interrupted(
    make: Callable[..., World], backbone: Backbone
) -> None:
    world = make(device_images=4.5, page=9 * 256)
    small = [tiny_adapter(backbone, 1, seed=90 + n, targets=("k_proj",)) for n in range(2)]
    world.keys += [world.store.put(adapter) for adapter in small]
    world.images += [world.store.packed(key, PLAIN)[0] for key in world.keys[-2:]]
    leases = [world.ready(number)[0] for number in (6, 0, 7, 1)]
    world.release(leases[0], leases[2])
    world.evict_idle()
    residents = [leases[1].resident, leases[3].resident]
    while (page := world.arena.take_page()) is not None:
        world.cached.append(page)
    before = [(r.extent, r.generation) for r in residents if r is not None]
    world.pool.stand_still(True)
    assert world.pool.take_page() is None
    assert before == [(r.extent, r.generation) for r in residents if r is not None]
    world.pool.stand_still(False)
    taken = world.pool.take_page()
    assert taken is not None
    after = [(r.extent, r.generation) for r in residents if r is not None]
    assert any(a != b for a, b in zip(after, before, strict=True))
    assert world.pool.figures.moves > 0
    assert world.holds(leases[1])
    assert world.holds(leases[3])


def test_an_upload_under_way_is_neither_moved_nor_evicted(make: Callable[..., World]) -> None:
    world = make(at_once=False)
    lease = world.pool.lease(world.keys[0])
    world.until(lambda: bool(world.device.open))
    assert lease.state is LOADING
    assert world.pool.uploading
    world.release(lease)
    while world.arena.free_pages:
        world.pool.take_page()
    assert world.pool.take_page() is None
    world.device.finish()
    world.pool.pump()
    assert not world.pool.uploading
    again = world.pool.lease(world.keys[0])
    assert again.state is READY
    assert world.holds(again)
    world.release(again)
    assert world.pool.take_page() is not None


def test_an_adapter_is_usable_when_the_device_says_ready_before_done(
    make: Callable[..., World],
) -> None:
    world = make(at_once=False)
    lease = world.pool.lease(world.keys[0])
    world.until(lambda: bool(world.device.open))
    world.device.open[0][2].ready = True
    world.until(lambda: lease.state is READY)
    assert world.pool.uploading
    world.device.finish()
    world.pool.pump()
    assert not world.pool.uploading


def test_a_lease_given_up_while_loading_leaves_nothing(make: Callable[..., World]) -> None:
    world = make(device_images=1)
    kept = world.ready(0)[0]
    for _ in range(20):
        world.release(*[world.pool.lease(key) for key in world.keys[1:]])
    waiting = world.pool.lease(world.keys[1])
    world.until(lambda: waiting.state is NO_ROOM)
    world.release(waiting)
    world.pool.pump()
    assert world.pool.resident == (world.keys[0],)
    assert world.pool.figures.device_bytes == world.size
    world.release(kept)
    assert world.holds(world.ready(5)[0])


def test_a_lease_is_released_once(make: Callable[..., World]) -> None:
    world = make()
    lease = world.ready(0)[0]
    world.release(lease)
    with pytest.raises(ValueError, match="once"):
        world.release(lease)


def test_a_missing_adapter_fails_and_the_next_lease_tries_again(
    make: Callable[..., World], backbone: Backbone
) -> None:
    world = make()
    adapter = tiny_adapter(backbone, 2, seed=77, targets=("q_proj",))
    lease = world.pool.lease(adapter.content_hash)
    world.until(lambda: lease.state is FAILED)
    assert lease.failure is not None
    assert lease.failure.reason is AdapterReason.NOT_STORED
    world.release(lease)
    world.store.put(adapter)
    assert world.pool.figures.failures == 1
    again = world.pool.lease(adapter.content_hash)
    world.until(lambda: again.state is not LOADING)
    assert again.failure is None


def test_an_unreadable_disk_fails_leases_and_stops_nothing(make: Callable[..., World]) -> None:
    world = make()
    for path in world.store._folder.glob(f"{world.keys[0].hex()}*"):
        path.unlink()
    file = world.store._folder / f"{world.keys[0].hex()}.safetensors"
    file.mkdir()
    lease = world.pool.lease(world.keys[0])
    world.until(lambda: lease.state is FAILED)
    assert lease.failure is not None
    assert lease.failure.reason is AdapterReason.DISK
    file.rmdir()
    world.store.put(world.adapters[0])
    assert world.holds(world.ready(0)[0])


def test_a_loader_outlives_what_nobody_foresaw(make: Callable[..., World]) -> None:
    world = make()
    calls = []
    packed = world.store.packed

    def broken(*arguments: object) -> tuple[PackedImage, Origin]:
        calls.append(arguments)
        if len(calls) <= 2:
            raise RuntimeError("out of pinned memory")
        return packed(*arguments)  # type: ignore[arg-type]

    world.store.packed = broken  # type: ignore[method-assign]
    leases = [world.pool.lease(world.keys[n]) for n in range(2)]
    world.until(lambda: all(lease.state is FAILED for lease in leases))
    assert leases[0].failure is not None
    assert leases[0].failure.reason is AdapterReason.NOT_LOADED
    assert "pinned" in leases[0].failure.detail
    assert world.holds(world.ready(0)[0])


def test_an_adapter_larger_than_the_device_fails(make: Callable[..., World]) -> None:
    world = make(device_images=0.5)
    lease = world.pool.lease(world.keys[0])
    world.until(lambda: lease.state is FAILED)
    assert lease.failure is not None
    assert lease.failure.reason is AdapterReason.TOO_LARGE


def test_adapters_are_fetched_when_leased(make: Callable[..., World], backbone: Backbone) -> None:
    remote = tiny_adapter(backbone, 2, seed=55, targets=("q_proj",))
    world = make(fetch=lambda content_hash: image_of(remote))
    lease = world.pool.lease(remote.content_hash)
    world.until(lambda: lease.state is READY)
    assert world.pool.figures.loads[Origin.NETWORK].count == 1
    assert remote.content_hash in world.store


def test_the_host_tier_keeps_its_budget(make: Callable[..., World]) -> None:
    world = make(device_images=1, host_images=2, count=8)
    for number in [*range(8), *range(8)]:
        world.release(*world.ready(number))
        assert world.pool.figures.host_bytes <= 2 * world.size
    assert world.pool.figures.loads[Origin.DISK].count == 16


def test_waiting_adapters_never_fill_the_host_beyond_its_budget_and_the_threads(
    make: Callable[..., World],
) -> None:
    world = make(device_images=1, host_images=2, count=12)
    world.ready(0)
    leases = [world.pool.lease(key) for key in world.keys[1:]]

    def full() -> bool:
        assert world.pool.figures.host_bytes <= (2 + 2) * world.size
        return [lease.state for lease in leases].count(NO_ROOM) >= 2

    world.until(full)
    for _ in range(20):
        world.pool.pump()
        time.sleep(0.01)
        assert full()
    assert {lease.state for lease in leases} == {LOADING, NO_ROOM}


@pytest.mark.parametrize("host_images", [0, 0.5, 20])
def test_every_lease_gets_its_turn(make: Callable[..., World], host_images: float) -> None:
    world = make(device_images=1, host_images=host_images, count=10)
    leases = [world.pool.lease(key) for key in world.keys]
    while leases:
        world.until(lambda: any(lease.state is READY for lease in leases))
        lease = next(lease for lease in leases if lease.state is READY)
        assert world.holds(lease)
        world.release(lease)
        leases.remove(lease)
    assert world.pool.figures.host_bytes <= host_images * world.size


def test_an_urgent_lease_takes_the_room_of_parked_ones(make: Callable[..., World]) -> None:
    """Requests that only wait cannot keep another one from its turn, on the device or the host."""
    world = make(device_images=2, host_images=1, count=8)
    parked = world.ready(0, 1, parked=True)
    more = [world.pool.lease(key, parked=True) for key in world.keys[2:6]]
    world.until(lambda: any(lease.state is NO_ROOM for lease in more))
    urgent = world.pool.lease(world.keys[7], parked=True)
    world.pool.urge(urgent)
    world.until(lambda: urgent.state is READY)
    assert world.holds(urgent)
    assert parked[0].state is READY
    assert parked[1].state is not READY
    assert not world.pool.pin(parked[1])
    assert world.pool.pin(urgent)
    assert world.pool.figures.displaced == 1
    second = world.pool.lease(world.keys[6], parked=True)
    world.pool.urge(second)
    world.until(lambda: second.state is READY)
    assert world.holds(urgent)
    assert world.pool.pin(second)
    world.release(urgent, second, parked[0])
    world.until(lambda: parked[1].state is READY or any(m.state is READY for m in more))


def test_pinned_leases_do_not_yield_to_urgent_ones(make: Callable[..., World]) -> None:
    world = make(device_images=1)
    first = world.ready(0, parked=True)[0]
    assert world.pool.pin(first)
    urgent = world.pool.lease(world.keys[1], parked=True)
    world.pool.urge(urgent)
    world.until(lambda: urgent.state is NO_ROOM)
    assert world.holds(first)
    world.pool.park(first)
    world.until(lambda: urgent.state is READY)
    assert first.state is not READY


def test_an_adapter_that_was_removed_from_the_disk_is_served_while_it_is_in_memory(
    make: Callable[..., World],
) -> None:
    world = make(host_images=0)
    lease = world.ready(0)[0]
    world.store.remove(world.keys[0])
    assert world.holds(lease)
    world.release(lease)
    lease = world.ready(0)[0]
    assert world.holds(lease)
    world.release(lease)
    world.evict_idle()
    assert world.pool.resident == ()
    assert world.is_empty()
    again = world.pool.lease(world.keys[0])
    world.until(lambda: again.state is FAILED)


def test_an_adapter_is_given_up_while_room_is_made_for_it(
    make: Callable[..., World],
) -> None:
    world = make(device_images=1)
    kept = world.ready(0)[0]
    lease = world.pool.lease(world.keys[1])
    given_up = False

    def give_up() -> bool:
        nonlocal given_up
        if not given_up:
            given_up = True
            world.pool.release(lease)
        return False

    world.pool._reclaim = give_up
    world.until(lambda: given_up)
    world.pool.pump()
    assert world.pool.resident == (world.keys[0],)
    assert world.holds(kept)
    again = world.pool.lease(world.keys[1])
    world.until(lambda: again.state is NO_ROOM)
    world.release(kept)
    world.until(lambda: again.state is READY)
    assert world.holds(again)


def test_close_fails_who_waits_and_stops_the_threads(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.adapters.loader.PATIENCE_SECONDS", PATIENCE)
    begun, go = threading.Event(), threading.Event()

    def slow(content_hash: bytes) -> bytes:
        begun.set()
        go.wait(PATIENCE)
        raise ConnectionError

    world = make(fetch=slow)
    assert world.threads <= set(threading.enumerate())
    lease = world.pool.lease(bytes(32))
    assert begun.wait(PATIENCE)
    closing = threading.Thread(target=world.pool.close)
    closing.start()
    deadline = time.monotonic() + PATIENCE
    while lease.state is not FAILED:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    go.set()
    closing.join(PATIENCE)
    assert lease.failure is not None
    assert lease.failure.reason is AdapterReason.CLOSED
    assert not any(thread.is_alive() for thread in world.threads)
    with pytest.raises(AdapterRefused) as caught:
        world.pool.lease(world.keys[0])
    assert caught.value.reason is AdapterReason.CLOSED
    world.release(lease)
