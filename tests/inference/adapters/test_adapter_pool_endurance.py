from __future__ import annotations

import ctypes
import gc
import random
import threading
import time
from pathlib import Path

import psutil
from pool_world import World
from tiny_models import tiny_adapter

from inference.adapters.figures import Origin
from inference.adapters.lease import Lease
from inference.adapters.state import AdapterState
from inference.backbone.model import Backbone
from tests.patience import PATIENCE

CYCLES = 10_000
BOUND = 4 << 20
"""Growth over the cycles that counts as none; the images read add up to 25 MiB."""


class Allocated(ctypes.Structure):
    """What the C library says of its memory."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def allocated_bytes() -> int:
    """Count what is allocated and not freed, whatever the kernel holds in memory of it."""
    tell = ctypes.CDLL(None).mallinfo2
    tell.restype = Allocated
    told = tell()
    return int(told.uordblks + told.hblkhd)


def test_ten_thousand_loads_and_evictions_leave_no_trace(
    tmp_path: Path, backbone: Backbone
) -> None:
    world = World(tmp_path, backbone, device_images=2, host_images=1, count=7)
    process = psutil.Process()

    def cycle(times: int) -> tuple[int, int, int, int]:
        for n in range(times):
            lease = world.pool.lease(world.keys[n % 7])
            world.until(lambda lease=lease: lease.state is AdapterState.READY)
            if n % 500 == 0:
                assert world.holds(lease)
            world.pool.release(lease)
        gc.collect()
        objects = len(gc.get_objects())
        return process.num_fds(), process.num_threads(), objects, allocated_bytes()

    files, threads, objects, memory = cycle(CYCLES // 10)
    device = world.arena.free_bytes
    loads = sum(world.pool.figures.loads[origin].count for origin in (Origin.DISK, Origin.HOST))
    files_after, threads_after, objects_after, memory_after = cycle(CYCLES)
    figures = world.pool.figures
    after = sum(figures.loads[origin].count for origin in (Origin.DISK, Origin.HOST))
    assert after - loads == CYCLES
    assert figures.loads[Origin.DISK].count > CYCLES // 2
    assert figures.evictions == after - len(world.pool.resident)
    assert world.arena.free_bytes == device
    assert len(world.arena.extents) == len(world.pool.resident) == 2
    assert figures.device_bytes == 2 * world.size
    assert figures.host_bytes <= world.size
    assert files_after <= files
    assert threads_after <= threads
    assert objects_after - objects < CYCLES // 10
    assert memory_after - memory < BOUND
    world.close()


def test_many_threads_lease_and_release_while_one_pumps(tmp_path: Path, backbone: Backbone) -> None:
    """Every adapter that is ready lies whole in memory, whatever the others do meanwhile."""
    world = World(tmp_path, backbone, device_images=4, host_images=3, count=9)
    sizes = [tiny_adapter(backbone, rank, seed=60 + rank, targets=("k_proj",)) for rank in (1, 5)]
    world.keys += [world.store.put(adapter) for adapter in sizes]
    world.images += [world.store.packed(key, world.device.packing)[0] for key in world.keys[-2:]]
    held: set[Lease] = set()
    guard = threading.Condition()
    looks = 0
    done: list[int] = []
    failures: list[BaseException] = []

    def client(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for n in range(60):
                lease = world.pool.lease(chance.choice(world.keys), parked=chance.random() < 0.3)
                if chance.random() < 0.8:
                    while lease.state in (AdapterState.LOADING, AdapterState.NO_ROOM):
                        assert lease.failure is None
                        time.sleep(0.0005)
                with guard:
                    held.add(lease)
                    seen = looks
                    assert guard.wait_for(lambda seen=seen: looks > seen, PATIENCE)
                time.sleep(chance.random() * 0.001)
                with guard:
                    held.remove(lease)
                world.pool.release(lease)
                if n % 10 == 0:
                    assert len(world.pool.resident) <= 8
            done.append(seed)
        except BaseException as error:
            failures.append(error)

    clients = [threading.Thread(target=client, args=(seed,), daemon=True) for seed in range(8)]
    for thread in clients:
        thread.start()
    chance = random.Random(0)
    pages: list[int] = []
    checked = 0
    limit = time.monotonic() + PATIENCE
    while any(thread.is_alive() for thread in clients):
        assert time.monotonic() < limit
        world.pool.pump()
        with guard:
            for lease in held:
                if lease.state is AdapterState.READY:
                    assert world.holds(lease)
                    checked += 1
            looks += 1
            guard.notify_all()
            if held and chance.random() < 0.2:
                world.pool.urge(chance.choice(sorted(held, key=lambda lease: lease.number)))
        page = world.pool.take_page() if chance.random() < 0.3 and len(pages) < 4 else None
        if page is not None:
            pages.append(page)
        elif pages:
            world.pool.give_page(pages.pop())
        time.sleep(0.0002)
    assert failures == []
    assert sorted(done) == list(range(8))
    assert checked > 100
    for page in pages:
        world.pool.give_page(page)
    # What was being loaded when its last lease ended comes before the threads are gone.
    world.close()
    world.pool.pump()
    world.evict_idle()
    assert world.is_empty()
