"""A device whose memory is a tensor; uploads end at once or when a test says so."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from inference.adapters.image_layout import Packing
from inference.adapters.packed_image import PackedImage
from inference.adapters.resident import Resident
from inference.arena import Arena, Extent, Move

PLAIN = Packing(torch.float32, None, "plain-float32")


@dataclass(slots=True)
class MemoryUpload:
    ready: bool = False
    done: bool = False


class MemoryDevice:
    """Copies within uint8 [arena.size], filled with 0xEE at first."""

    def __init__(self, arena: Arena, *, at_once: bool = True) -> None:
        self.memory = torch.full((arena.size,), 0xEE, dtype=torch.uint8)
        self.at_once = at_once
        self.open: list[tuple[PackedImage, Extent, MemoryUpload]] = []

    @property
    def packing(self) -> Packing:
        return PLAIN

    def upload(self, image: PackedImage, extent: Extent) -> MemoryUpload:
        upload = MemoryUpload()
        self.open.append((image, extent, upload))
        if self.at_once:
            self.finish()
        return upload

    def finish(self) -> None:
        """End every upload."""
        for image, extent, upload in self.open:
            self.memory[extent.start : extent.end] = image.data
            upload.ready = upload.done = True
        self.open.clear()

    def move(self, move: Move) -> None:
        source = self.memory[move.source.start : move.source.end].clone()
        self.memory[move.target.start : move.target.end] = source

    def holds(self, resident: Resident, image: PackedImage) -> bool:
        """Whether the memory holds exactly this image where the resident says."""
        extent = resident.extent
        return torch.equal(self.memory[extent.start : extent.end], image.data)
