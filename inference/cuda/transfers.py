"""Adapter images on their way into a device's memory, layer by layer, while steps go on.

A step over prompts may start as soon as the copies are enqueued: before the first layer of each
part it waits, on the device, for that part's mark. So a load hides under the prompt that asked for
it. Nothing here blocks the thread of the steps.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from inference.adapters.image_layout import ImageLayout
from inference.adapters.packed_image import PackedImage
from inference.arena import Extent, Move
from inference.backbone.packed import GROUPS
from inference.cuda.lane import Lane, Mark
from inference.cuda.pinned import PinnedRing

PARTS = 8
"""Parts of an image with a mark of their own, of equal numbers of layers."""
MOVED_AT_ONCE = 32 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `start … end-1` of an image, needed from layer `layer` on."""

    layer: int
    start: int
    end: int


def parts_of(layout: ImageLayout, most: int = PARTS) -> tuple[Part, ...]:
    """Cut an image between layers; the first part starts with the table, the last ends with it.

    Layers without an adapted site have no bytes, so a part may be empty.
    """
    layers = len(layout.entries) // len(GROUPS)
    count = min(most, layers)
    firsts = [number * layers // count for number in range(count)]
    bounds = [0, *(_layer_start(layout, layer) for layer in firsts[1:]), layout.size]
    return tuple(
        Part(layer, bounds[number], bounds[number + 1]) for number, layer in enumerate(firsts)
    )


def _layer_start(layout: ImageLayout, layer: int) -> int:
    later = layout.entries[layer * len(GROUPS) :]
    return next((entry.a for entry in later if entry is not None), layout.size)


class ImageUpload:
    """One image on its way; `ready` once steps over prompts may use it, `done` once it is there."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._marks: list[Mark] = []
        self._held = 0
        self._failure: Exception | None = None

    @property
    def ready(self) -> bool:
        """Whether every copy is enqueued; raises what kept one from it."""
        if self._failure is not None:
            raise RuntimeError("an adapter cannot be copied to the device") from self._failure
        return len(self._marks) == len(self._parts)

    @property
    def done(self) -> bool:
        """Whether every copy has ended."""
        return self.ready and self._marks[-1].done

    def marked(self, mark: Mark) -> None:
        """Note that the next part is enqueued."""
        self._marks.append(mark)

    def failed(self, failure: Exception) -> None:
        """Note that the rest will not come."""
        self._failure = failure

    def hold(self, layer: int | None) -> None:
        """Let steps wait for the parts up to a layer, or for all; each is waited for once."""
        while self._held < len(self._parts):
            if layer is not None and self._parts[self._held].layer > layer:
                return
            self._marks[self._held].hold()
            self._held += 1


@dataclass(frozen=True, slots=True)
class _Order:
    upload: ImageUpload
    parts: tuple[Part, ...]
    data: Tensor
    target: Tensor
    behind: Mark


class Transfers:
    """Copies images into memory and moves them there; for the thread of the steps."""

    def __init__(self, memory: Tensor, lane: Lane, ring: PinnedRing) -> None:
        self._memory = memory
        self._lane = lane
        self._ring = ring
        self._arriving: dict[int, ImageUpload] = {}
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._stager: threading.Thread | None = None

    def upload(self, image: PackedImage, extent: Extent) -> ImageUpload:
        """Start copying an image to its extent; returns at once."""
        parts = parts_of(image.layout)
        upload = ImageUpload(parts)
        target = self._memory[extent.start : extent.start + image.data.numel()]
        order = _Order(upload, parts, image.data, target, self._lane.behind_steps())
        self._arriving[extent.start] = upload
        if self._memory.device.type == "cpu" or image.data.is_pinned():
            self._send(order, staged=False)
        else:
            self._start_stager()
            self._orders.put(order)
        return upload

    def arriving(self, starts: Iterable[int]) -> list[ImageUpload]:
        """List the uploads at these offsets that steps still have to wait for."""
        self._forget_done()
        return [self._arriving[start] for start in starts if start in self._arriving]

    def move(self, move: Move) -> None:
        """Copy an image to lower bytes behind the steps enqueued so far; overlaps are allowed.

        An extent may be moved once its upload is ready, and given to others once it is done.
        """
        self._lane.mark().hold()
        source, target, size = move.source.start, move.target.start, move.source.size
        for start in range(0, size, MOVED_AT_ONCE):
            count = min(MOVED_AT_ONCE, size - start)
            copied = self._memory[source + start : source + start + count].clone()
            self._memory[target + start : target + start + count].copy_(copied)
        upload = self._arriving.pop(source, None)
        if upload is not None:
            self._arriving[target] = upload

    def close(self) -> None:
        """End the staging thread behind its last order, and wait for all copies."""
        if self._stager is not None:
            self._orders.put(None)
            self._stager.join()
            self._stager = None
        self._lane.mark().wait()

    def _forget_done(self) -> None:
        for start in [start for start, upload in self._arriving.items() if upload.done]:
            del self._arriving[start]

    def _start_stager(self) -> None:
        if self._stager is None:
            self._stager = threading.Thread(target=self._stage, name="adapter-staging", daemon=True)
            self._stager.start()

    def _stage(self) -> None:
        while (order := self._orders.get()) is not None:
            try:
                self._send(order, staged=True)
            except Exception as failure:  # told to whoever waits for the image
                order.upload.failed(failure)

    def _send(self, order: _Order, staged: bool) -> None:
        self._lane.follow(order.behind)
        for part in order.parts:
            source = order.data[part.start : part.end]
            target = order.target[part.start : part.end]
            if staged:
                self._ring.send(self._lane, source, target)
            else:
                self._lane.copy(target, source)
            order.upload.marked(self._lane.mark())
