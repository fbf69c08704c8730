"""Which adapters are leased, waiting, idle or on their way; every change happens under `lock`."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import replace

from inference.adapters.errors import AdapterRefused
from inference.adapters.figures import Origin, PoolFigures
from inference.adapters.host_tier import HostTier
from inference.adapters.lease import Entry, Lease
from inference.adapters.loader import Loader
from inference.adapters.loads import Loaded
from inference.adapters.placement import Placement
from inference.adapters.state import AdapterState


class Book:
    """The entries of a pool; callers hold `lock`.

    Attributes:
        entries: everything that is leased or on the device.
        waiting: loaded and leased, not yet placed; in the order of arrival.
        idle: on the device and not leased; the least recently used first.
        uploads: being copied to the device; changed on the engine's thread only.
        placing: what the engine's thread is placing, outside the lock.
    """

    def __init__(self, host: HostTier, loader: Loader[Loaded], placement: Placement) -> None:
        self.lock = threading.Lock()
        self.entries: dict[bytes, Entry] = {}
        self.waiting: OrderedDict[bytes, Entry] = OrderedDict()
        self.idle: OrderedDict[bytes, Entry] = OrderedDict()
        self.uploads: dict[bytes, Entry] = {}
        self.placing: Entry | None = None
        self.figures = PoolFigures()
        self._host = host
        self._loader = loader
        self._placement = placement
        self._leases = 0

    def lease(self, content_hash: bytes, parked: bool) -> Lease:
        """Claim an adapter; begin to load it if it is not on the device."""
        entry = self.entries.get(content_hash)
        if entry is None:
            entry = self.entries[content_hash] = Entry(content_hash)
            self.begin(entry)
        elif entry.state is AdapterState.READY:
            self._count(entry, Origin.DEVICE, 0.0)
        self._leases += 1
        lease = Lease(entry, self._leases, parked)
        entry.leases.add(lease)
        self.idle.pop(content_hash, None)
        return lease

    def begin(self, entry: Entry) -> None:
        """Take the image from the host tier, or have it loaded."""
        entry.image = self._host.pin(entry.content_hash)
        entry.origin, entry.seconds = Origin.HOST, 0.0
        if entry.image is None:
            self._loader.ask(entry.content_hash)
        else:
            self.waiting[entry.content_hash] = entry

    def arrived(self, content_hash: bytes, result: Loaded) -> None:
        """Note what a thread has loaded, which nobody may want any more."""
        entry = self.entries.get(content_hash)
        wanted = entry is not None and entry.image is None and entry.resident is None
        if result.image is not None:
            self._host.put(result.image)
            if entry is None or (entry.image is None and not wanted):
                self._host.unpin(content_hash)
        if entry is not None and wanted:
            if result.failure is not None:
                self.fail(entry, result.failure)
            else:
                entry.image = result.image
                entry.origin, entry.seconds = result.origin, result.seconds
                self.waiting[content_hash] = entry
        self._loader.nudge()

    def placed(self, entry: Entry) -> None:
        """Note that an upload has begun."""
        entry.state = AdapterState.LOADING
        entry.placed_at = time.monotonic()
        self.uploads[entry.content_hash] = entry
        del self.waiting[entry.content_hash]

    def ready(self, entry: Entry) -> None:
        """Note that steps may use an adapter."""
        entry.state = AdapterState.READY
        self._count(entry, entry.origin, entry.seconds + time.monotonic() - entry.placed_at)

    def uploaded(self, entry: Entry) -> None:
        """Note that an upload has ended."""
        entry.upload = None
        self._unpin(entry)
        del self.uploads[entry.content_hash]

    def let_go(self, entry: Entry) -> None:
        """Note that nobody leases an adapter any more."""
        if entry is self.placing:
            return
        if entry.resident is not None:
            self.idle[entry.content_hash] = entry
            return
        self._loader.forget(entry.content_hash)
        self._forget(entry)

    def evict(self) -> bool:
        """Take the least recently used idle adapter off the device; False if there is none."""
        entry = next((entry for entry in self.idle.values() if entry.upload is None), None)
        if entry is None:
            return False
        self._leave_device(entry)
        del self.idle[entry.content_hash]
        self._forget(entry)
        self.figures = replace(self.figures, evictions=self.figures.evictions + 1)
        return True

    def displace(self) -> bool:
        """Take the adapter off the device whose parked leases came last; they wait anew."""
        parked = [entry for entry in self.entries.values() if entry.parked]
        if not parked:
            return False
        last = max(parked, key=lambda entry: min(lease.number for lease in entry.leases))
        self._leave_device(last)
        self.begin(last)
        self.figures = replace(self.figures, displaced=self.figures.displaced + 1)
        return True

    def fail(self, entry: Entry, refusal: AdapterRefused) -> None:
        """Refuse an adapter to all who lease it now."""
        entry.failure = refusal
        entry.state = AdapterState.FAILED
        self.figures = replace(self.figures, failures=self.figures.failures + 1)
        self._forget(entry)

    def _leave_device(self, entry: Entry) -> None:
        if entry.resident is not None:
            self._placement.remove(entry.resident)
        entry.resident = None
        entry.state = AdapterState.LOADING

    def _forget(self, entry: Entry) -> None:
        self.entries.pop(entry.content_hash, None)
        self.waiting.pop(entry.content_hash, None)
        self._unpin(entry)

    def _unpin(self, entry: Entry) -> None:
        if entry.image is not None:
            entry.image = None
            self._host.unpin(entry.content_hash)
            self._loader.nudge()

    def _count(self, entry: Entry, origin: Origin, seconds: float) -> None:
        size = 0 if entry.resident is None else entry.resident.size_bytes
        self.figures = self.figures.loaded(origin, size, seconds)
