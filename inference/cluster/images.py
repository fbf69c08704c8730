"""Adapters' images in Ray's object store, put there when a replica first needs them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import ray
import trio

from inference.adapters.store import AdapterStore

BUDGET = 256 << 20


class Images:
    """Keeps references to the images used last, within a budget of bytes."""

    def __init__(self, store: AdapterStore, budget: int = BUDGET) -> None:
        self._store = store
        self._budget = budget
        self._kept: OrderedDict[bytes, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def reference(self, content_hash: bytes) -> Any:
        """Return a reference to an image; raises AdapterRefused, and OSError."""
        async with self._one_at_a_time:
            if content_hash not in self._kept:
                reference, size = await trio.to_thread.run_sync(self._put, content_hash)
                self._kept[content_hash] = reference, size
                self._bytes += size
            self._kept.move_to_end(content_hash)
            reference = self._kept[content_hash][0]
            while self._bytes > self._budget and len(self._kept) > 1:
                # Who was sent the reference keeps the image until it has read it.
                self._bytes -= self._kept.popitem(last=False)[1][1]
            return reference

    def _put(self, content_hash: bytes) -> tuple[Any, int]:
        image = self._store.read(content_hash)
        return ray.put(image), len(image)
