"""Packed images in the host's memory: the least recently used leaves first, pinned ones stay."""

from __future__ import annotations

from collections import OrderedDict

from inference.adapters.packed_image import PackedImage


class HostTier:
    """Images within a byte budget; callers hold a lock of their own.

    What is pinned may exceed the budget; `has_room` says when to stop loading.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._images: OrderedDict[bytes, PackedImage] = OrderedDict()
        self._pinned: set[bytes] = set()
        self.size_bytes = 0
        self.pinned_bytes = 0

    def has_room(self, loading: int) -> bool:
        """Whether one more image may be loaded beside the `loading` under way.

        An image larger than the whole budget is loaded when nothing else is.
        """
        return self.pinned_bytes < self._budget or not (self.pinned_bytes or loading)

    def put(self, image: PackedImage) -> None:
        """Keep an image and pin it."""
        if image.content_hash not in self._images:
            self._images[image.content_hash] = image
            self.size_bytes += image.size_bytes
        self.pin(image.content_hash)
        self._trim()

    def pin(self, content_hash: bytes) -> PackedImage | None:
        """Return an image and pin it; None if it is not here."""
        image = self._images.get(content_hash)
        if image is not None and content_hash not in self._pinned:
            self._pinned.add(content_hash)
            self.pinned_bytes += image.size_bytes
        return image

    def unpin(self, content_hash: bytes) -> None:
        """Let an image go when its room is needed."""
        if content_hash in self._pinned:
            self._pinned.remove(content_hash)
            self.pinned_bytes -= self._images[content_hash].size_bytes
            self._images.move_to_end(content_hash)
            self._trim()

    def _trim(self) -> None:
        if self.size_bytes <= self._budget:
            return
        for content_hash in [key for key in self._images if key not in self._pinned]:
            self.size_bytes -= self._images.pop(content_hash).size_bytes
            if self.size_bytes <= self._budget:
                return
