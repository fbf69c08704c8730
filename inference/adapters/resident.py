"""An adapter that lies in a device's memory."""

from __future__ import annotations

from dataclasses import dataclass

from inference.adapters.image_layout import ImageLayout
from inference.arena import Extent


@dataclass(slots=True, eq=False)
class Resident:
    """Where an adapter's image lies; read and changed on the engine's thread only.

    Attributes:
        extent: changes when the memory is compacted.
        generation: how often it did; whoever keeps addresses compares it before each step.
    """

    content_hash: bytes
    layout: ImageLayout
    extent: Extent
    generation: int = 0

    @property
    def size_bytes(self) -> int:
        """Memory that the adapter takes from the device."""
        return self.extent.size
