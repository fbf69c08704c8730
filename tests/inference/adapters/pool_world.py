"""A pool of tiny adapters over a store on disk and a device of bytes, for tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from memory_device import PLAIN, MemoryDevice
from tiny_models import tiny_adapter

from inference.adapters.lease import Lease
from inference.adapters.pool import AdapterPool
from inference.adapters.state import AdapterState
from inference.adapters.store import AdapterStore
from inference.arena import Arena
from inference.backbone.model import Backbone
from tests.patience import PATIENCE

PAGE = 512


class World:
    """A pool over a store on disk, with room for a number of adapters on the device."""

    def __init__(
        self,
        folder: Path,
        backbone: Backbone,
        *,
        device_images: float = 2,
        host_images: float = 8,
        at_once: bool = True,
        fetch: Callable[[bytes], bytes] | None = None,
        count: int = 6,
        page: int = PAGE,
    ) -> None:
        self.store = AdapterStore(folder, backbone, fetch=fetch)
        self.adapters = [
            tiny_adapter(backbone, 2, seed=n, targets=("q_proj",)) for n in range(count)
        ]
        self.keys = [self.store.put(adapter) for adapter in self.adapters]
        self.images = [self.store.packed(key, PLAIN)[0] for key in self.keys]
        self.size = self.images[0].size_bytes
        self.arena = Arena(-(-int(self.size * device_images) // page), page)
        self.device = MemoryDevice(self.arena, at_once=at_once)
        self.cached: list[int] = []
        self.woken = threading.Event()
        self.pool = AdapterPool(
            self.store,
            self.arena,
            self.device,
            host_bytes=int(self.size * host_images),
            reclaim=self.reclaim,
            changed=self.woken.set,
        )
        self.threads = set(self.pool._loader._threads)

    def reclaim(self) -> bool:
        if self.cached:
            self.pool.give_page(self.cached.pop(0))
            return True
        return False

    def until(self, condition: Callable[[], bool]) -> None:
        """Pump whenever the pool asks for it."""
        limit = time.monotonic() + PATIENCE
        self.pool.pump()
        while not condition():
            assert time.monotonic() < limit
            self.woken.wait(5)
            self.woken.clear()
            self.pool.pump()

    def close(self) -> None:
        """Close the pool; behind it nothing is loaded any more."""
        self.pool.close()
        for thread in self.threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in self.threads)

    def evict_idle(self) -> None:
        while self.pool._evict():
            pass

    def is_empty(self) -> bool:
        """Whether nothing is on the device, and in the host's memory only what it may keep."""
        host, figures = self.pool._host, self.pool.figures
        kept = sum(image.size_bytes for image in host._images.values())
        return (
            figures.device_bytes == 0
            and self.arena.free_bytes == self.arena.size
            and host.pinned_bytes == 0
            and figures.host_bytes == kept <= host._budget
        )

    def ready(self, *numbers: int, parked: bool = False) -> list[Lease]:
        leases = [self.pool.lease(self.keys[n], parked=parked) for n in numbers]
        self.until(lambda: all(lease.state is AdapterState.READY for lease in leases))
        return leases

    def holds(self, lease: Lease) -> bool:
        image = self.images[self.keys.index(lease.content_hash)]
        return lease.resident is not None and self.device.holds(lease.resident, image)

    def release(self, *leases: Lease) -> None:
        for lease in leases:
            self.pool.release(lease)
