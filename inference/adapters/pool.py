"""The adapters of one device: leases, loading ahead, eviction and moves, with no limit of slots.

An adapter goes disk or network → host memory on a thread, and host → device in `pump`. Nothing
that touches the device's memory happens elsewhere, and nothing in `pump` waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from inference.adapters.book import Book
from inference.adapters.device import AdapterDevice
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.figures import PoolFigures
from inference.adapters.host_tier import HostTier
from inference.adapters.lease import Entry, Lease
from inference.adapters.loader import Loader
from inference.adapters.loads import Loaded, load
from inference.adapters.packed_image import PackedImage, plain_buffer
from inference.adapters.placement import Placement, Way
from inference.adapters.state import AdapterState
from inference.adapters.store import AdapterStore
from inference.arena import Arena


class AdapterPool:
    """Leases adapters of a store on one device.

    Args:
        store: the disk tier.
        arena: the device's memory; used on the engine's thread only.
        device: copies images.
        host_bytes: budget of the host tier. Images on their way are never more than this and one
            image per thread.
        reclaim: drops one cached page that no sequence uses; False if there is none.
        reclaim_spare: does so only while cached pages have more than their share.
        changed: called from any thread when `pump` has work or a lease's state has changed; it
            must not call the pool.
        threads: how many adapters are loaded at once.
        host_buffer: allocates uint8 [size] for an image in the host tier.
    """

    def __init__(
        self,
        store: AdapterStore,
        arena: Arena,
        device: AdapterDevice,
        *,
        host_bytes: int,
        reclaim: Callable[[], bool],
        reclaim_spare: Callable[[], bool] = lambda: False,
        changed: Callable[[], None],
        threads: int = 2,
        host_buffer: Callable[[int], Tensor] = plain_buffer,
    ) -> None:
        packing = device.packing

        def work(content_hash: bytes) -> Loaded:
            return load(store, content_hash, packing, host_buffer)

        self._arena = arena
        self._reclaim = reclaim
        self._reclaim_spare = reclaim_spare
        self._changed = changed
        self._open = True
        self._news = False
        self._urgent: Lease | None = None
        self._host = HostTier(host_bytes)
        self._placement = Placement(arena, device)
        self._loader = Loader(work, self._loaded, self._host.has_room, threads)
        self._book = Book(self._host, self._loader, self._placement)
        self._lock = self._book.lock

    def lease(self, content_hash: bytes, *, parked: bool = False) -> Lease:
        """Claim an adapter and begin to load it; from any thread.

        A lease keeps the adapter on the device once it is READY. A parked one, for a request that
        only waits, gives its room to an urgent lease and is then LOADING again; `pin` it before
        the adapter is used. Raises AdapterRefused CLOSED.
        """
        with self._lock:
            if not self._open:
                raise _closed()
            lease = self._book.lease(content_hash, parked)
            pump = lease.entry.image is not None
        if pump:
            self._changed()
        return lease

    def release(self, lease: Lease) -> None:
        """End a lease, once; from any thread. The adapter stays until its room is needed."""
        with self._lock:
            if lease not in lease.entry.leases:
                raise ValueError("a lease is released once")
            lease.entry.leases.remove(lease)
            if self._urgent is lease:
                self._urgent = None
            if not lease.entry.leases:
                self._book.let_go(lease.entry)
            waiting = bool(self._book.waiting)
        if waiting:
            self._changed()

    @property
    def resident(self) -> tuple[bytes, ...]:
        """Hashes of the adapters that are ready on the device."""
        with self._lock:
            entries = self._book.entries.values()
            return tuple(e.content_hash for e in entries if e.state is AdapterState.READY)

    @property
    def uploading(self) -> bool:
        """Whether copies are under way, so that `pump` is due again soon."""
        return bool(self._book.uploads)

    @property
    def figures(self) -> PoolFigures:
        """Counters since the start."""
        with self._lock:
            return replace(
                self._book.figures,
                moves=self._placement.moves,
                host_bytes=self._host.size_bytes,
                device_bytes=self._placement.size_bytes,
            )

    def close(self) -> None:
        """Stop the threads; whoever waits for an adapter finds his lease FAILED (CLOSED)."""
        with self._lock:
            self._open = False
            for entry in list(self._book.entries.values()):
                if entry.resident is None:
                    self._book.fail(entry, _closed())
        self._loader.close()
        self._changed()

    # The engine's thread

    def pin(self, lease: Lease) -> bool:
        """Keep a READY adapter until `park` or `release`; False if it is not READY (any more)."""
        with self._lock:
            if lease.state is not AdapterState.READY:
                return False
            lease.parked = False
            if self._urgent is lease:
                self._urgent = None
            return True

    def park(self, lease: Lease) -> None:
        """Let urgent leases have the adapter's room again."""
        lease.parked = True

    def urge(self, lease: Lease) -> None:
        """Load and place this lease's adapter before any other, in the room of parked ones.

        It holds until the lease is pinned or released, or another one is urged.
        """
        with self._lock:
            entry = lease.entry
            if lease not in entry.leases or entry.state is AdapterState.FAILED:
                return
            self._urgent = lease
            if entry.image is None and entry.resident is None:
                self._loader.ask(entry.content_hash, urgent=True)

    def pump(self) -> None:
        """Place what has been loaded, start uploads and see which have ended; never wait."""
        self._news = False
        changed = [self._poll(), self._place_waiting(), self._poll()]
        if any(changed):
            self._changed()

    @property
    def has_news(self) -> bool:
        """Whether an adapter has come that `pump` has not seen."""
        return self._news

    def stand_still(self, still: bool) -> None:
        """Say whether a step is interrupted, so that nothing that is in use may move."""
        self._placement.still = still

    @property
    def free_pages(self) -> int:
        """Pages that can be taken without moving or evicting anything."""
        return self._arena.free_pages

    def take_page(self) -> int | None:
        """Hold a cache page, moving or evicting idle adapters if none is free."""
        return self._placement.take_page(self._evict)

    def give_page(self, page: int) -> None:
        """Give a cache page back."""
        self._arena.give_page(page)

    def _poll(self) -> bool:
        changed = False
        for entry in list(self._book.uploads.values()):
            upload = entry.upload
            if upload is None:
                continue
            if entry.state is not AdapterState.READY and upload.ready:
                with self._lock:
                    self._book.ready(entry)
                changed = True
            if upload.done:
                with self._lock:
                    self._book.uploaded(entry)
                changed = True
        return changed

    def _place_waiting(self) -> bool:
        with self._lock:
            order = list(self._book.waiting.values())
            urgent = None if self._urgent is None else self._urgent.entry
        # Prefixes beyond their share go first: else they would push out every idle adapter.
        ways: list[Way] = [self._free_idle, self._reclaim]
        if urgent is not None and urgent in order:
            order = [urgent]
            ways.insert(1, self._displace)
        changed = False
        refused = self._arena.size + 1
        for entry in order:
            with self._lock:
                image = entry.image
                if image is None or self._book.waiting.get(entry.content_hash) is not entry:
                    continue
                self._book.placing = entry
            # What is as large as another that found no room finds none either.
            placed = image.size_bytes < refused and self._placement.place(entry, image, ways)
            if not placed:
                refused = min(refused, image.size_bytes)
            changed |= self._settle(entry, image, placed)
        return changed

    def _settle(self, entry: Entry, image: PackedImage, placed: bool) -> bool:
        before = entry.state
        with self._lock:
            self._book.placing = None
            if placed:
                self._book.placed(entry)
            elif image.size_bytes > self._arena.size:
                detail = f"{image.size_bytes} bytes; the device's memory holds {self._arena.size}"
                self._book.fail(entry, AdapterRefused(AdapterReason.TOO_LARGE, detail))
            else:
                entry.state = AdapterState.NO_ROOM
            if not entry.leases and entry.state is not AdapterState.FAILED:
                self._book.let_go(entry)
        return entry.state is not before

    def _free_idle(self) -> bool:
        return self._reclaim_spare() or self._evict()

    def _evict(self) -> bool:
        with self._lock:
            return self._book.evict()

    def _displace(self) -> bool:
        with self._lock:
            return self._book.displace()

    # The loader's threads

    def _loaded(self, content_hash: bytes, result: Loaded) -> None:
        with self._lock:
            self._book.arrived(content_hash, result)
        self._news = True
        self._changed()


def _closed() -> AdapterRefused:
    return AdapterRefused(AdapterReason.CLOSED, "the engine has been closed")
