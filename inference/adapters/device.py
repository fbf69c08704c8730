"""What a device must do for the pool of adapters."""

from __future__ import annotations

from typing import Protocol

from inference.adapters.image_layout import Packing
from inference.adapters.packed_image import PackedImage
from inference.arena import Extent, Move


class Upload(Protocol):
    """A copy from the host that may still be under way."""

    @property
    def ready(self) -> bool:
        """Whether the adapter may be used by a step that is started now."""
        ...

    @property
    def done(self) -> bool:
        """Whether the copy has ended: the host's buffer is free and the image may be moved."""
        ...


class AdapterDevice(Protocol):
    """Memory that holds images; every method is called on the engine's thread.

    What lies in an extent before an upload may still be read by steps that were started earlier,
    so an upload comes after them.
    """

    @property
    def packing(self) -> Packing:
        """How the device wants the factors."""
        ...

    def upload(self, image: PackedImage, extent: Extent) -> Upload:
        """Start to copy an image into an extent of its size; return at once."""
        ...

    def move(self, move: Move) -> None:
        """Copy within the memory, in order with steps, uploads and other moves."""
        ...
