"""A claim on an adapter, and what the pool knows of the adapter behind it."""

from __future__ import annotations

from dataclasses import dataclass, field

from inference.adapters.device import Upload
from inference.adapters.errors import AdapterRefused
from inference.adapters.figures import Origin
from inference.adapters.packed_image import PackedImage
from inference.adapters.resident import Resident
from inference.adapters.state import AdapterState


@dataclass(slots=True, eq=False)
class Entry:
    """One adapter that is leased or on the device; the pool alone changes it.

    `image` is pinned in the host tier from the end of loading to the end of the upload.
    """

    content_hash: bytes
    state: AdapterState = AdapterState.LOADING
    failure: AdapterRefused | None = None
    leases: set[Lease] = field(default_factory=set)
    image: PackedImage | None = None
    resident: Resident | None = None
    upload: Upload | None = None
    origin: Origin = Origin.HOST
    seconds: float = 0.0
    placed_at: float = 0.0

    @property
    def parked(self) -> bool:
        """Whether it is ready for parked leases only, and nothing copies it."""
        return (
            self.state is AdapterState.READY
            and self.upload is None
            and bool(self.leases)
            and all(lease.parked for lease in self.leases)
        )


class Lease:
    """Keeps an adapter on the device from READY until it is released.

    A parked lease keeps it only as long as no urgent lease needs the room.
    """

    __slots__ = ("entry", "number", "parked")

    def __init__(self, entry: Entry, number: int, parked: bool) -> None:
        self.entry = entry
        self.number = number
        self.parked = parked

    @property
    def content_hash(self) -> bytes:
        """Identity of the adapter."""
        return self.entry.content_hash

    @property
    def state(self) -> AdapterState:
        """How far the adapter is; FAILED is final for this lease, the next one tries again."""
        return self.entry.state

    @property
    def failure(self) -> AdapterRefused | None:
        """Why it is FAILED."""
        return self.entry.failure

    @property
    def resident(self) -> Resident | None:
        """Where the adapter lies while it is READY."""
        return self.entry.resident if self.entry.state is AdapterState.READY else None
