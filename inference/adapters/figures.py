"""What the pool has done: loads by where they came from, hits and evictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum


class Origin(Enum):
    """The nearest tier that had an adapter when it was asked for."""

    DEVICE = "device"
    HOST = "host"
    DISK = "disk"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class Loads:
    """Adapters that became ready, their bytes, and the seconds of work until they were.

    Seconds count reading, fetching, packing and copying, not the wait for room or for a thread.
    """

    count: int = 0
    bytes: int = 0
    seconds: float = 0.0

    def plus(self, size: int, seconds: float) -> Loads:
        """Count one more."""
        return Loads(self.count + 1, self.bytes + size, self.seconds + seconds)


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """Counters since the start, and what is held now.

    Attributes:
        loads: by origin; DEVICE counts leases that found the adapter ready (hits).
        evictions: idle adapters that left the device's memory.
        displaced: adapters of parked leases that made room for an urgent one.
        failures: loads that ended in a refusal.
        moves: images moved to close gaps.
        host_bytes: memory of the host tier now.
        device_bytes: memory of all images on the device now.
    """

    loads: Mapping[Origin, Loads] = field(default_factory=lambda: dict.fromkeys(Origin, Loads()))
    evictions: int = 0
    displaced: int = 0
    failures: int = 0
    moves: int = 0
    host_bytes: int = 0
    device_bytes: int = 0

    @property
    def hits(self) -> int:
        """Leases that found their adapter ready."""
        return self.loads[Origin.DEVICE].count

    def loaded(self, origin: Origin, size: int, seconds: float) -> PoolFigures:
        """Count a load."""
        return replace(self, loads={**self.loads, origin: self.loads[origin].plus(size, seconds)})
