"""Adapters by content hash: images on disk, packed adapters in memory within a byte budget.

The least recently used adapter leaves first; one that a request uses is pinned and stays. Calls are
safe from several threads, so that loading happens off the engine's thread.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inference.adapters.adapter import LoraAdapter, image_of
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.image import decode_image
from inference.backbone.model import Backbone
from inference.backbone.packed import PackedAdapter, pack_adapter


@dataclass(slots=True)
class _Resident:
    adapter: LoraAdapter
    packed: PackedAdapter
    size_bytes: int
    pins: int = 0


class AdapterStore:
    """The adapters of one backbone."""

    def __init__(self, folder: Path, backbone: Backbone, budget_bytes: int = 256 << 20) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._backbone = backbone
        self._budget = budget_bytes
        self._resident: OrderedDict[bytes, _Resident] = OrderedDict()
        self._resident_bytes = 0
        self._lock = threading.Lock()

    @property
    def resident_bytes(self) -> int:
        """Memory of all loaded adapters."""
        return self._resident_bytes

    @property
    def resident(self) -> tuple[bytes, ...]:
        """List the loaded adapters, least recently used first."""
        return tuple(self._resident)

    def put(self, adapter: LoraAdapter) -> bytes:
        """Keep an adapter's image on disk; return its content hash."""
        self._write(adapter.content_hash, image_of(adapter))
        return adapter.content_hash

    def put_image(self, image: bytes, expected: bytes) -> LoraAdapter:
        """Check a fetched image and keep it; raises AdapterRefused and keeps nothing."""
        adapter = decode_image(image, self._backbone, expected)
        self._write(expected, image)
        return adapter

    def __contains__(self, content_hash: bytes) -> bool:
        return self._path(content_hash).exists()

    def remove(self, content_hash: bytes) -> None:
        """Forget an adapter; raises STORE_FULL while a request uses it."""
        with self._lock:
            resident = self._resident.get(content_hash)
            if resident is not None and resident.pins:
                raise AdapterRefused(AdapterReason.STORE_FULL, "the adapter is in use")
            self._drop(content_hash)
            self._path(content_hash).unlink(missing_ok=True)

    def acquire(self, content_hash: bytes) -> PackedAdapter:
        """Load if needed and pin; raises NOT_STORED, WRONG_HASH, STORE_FULL."""
        with self._lock:
            resident = self._load(content_hash)
            resident.pins += 1
            return resident.packed

    def release(self, content_hash: bytes) -> None:
        """Undo one `acquire`."""
        with self._lock:
            resident = self._resident[content_hash]
            if not resident.pins:
                raise ValueError("release without acquire")
            resident.pins -= 1

    @contextmanager
    def pinned(self, content_hash: bytes) -> Iterator[PackedAdapter]:
        """Pin for the length of a block."""
        packed = self.acquire(content_hash)
        try:
            yield packed
        finally:
            self.release(content_hash)

    def adapter(self, content_hash: bytes) -> LoraAdapter:
        """Return the adapter with its factors as they were trained."""
        with self._lock:
            return self._load(content_hash).adapter

    def _load(self, content_hash: bytes) -> _Resident:
        resident = self._resident.get(content_hash)
        if resident is None:
            resident = self._read(content_hash)
            self._make_room(resident.size_bytes)
            self._resident[content_hash] = resident
            self._resident_bytes += resident.size_bytes
        self._resident.move_to_end(content_hash)
        return resident

    def _read(self, content_hash: bytes) -> _Resident:
        try:
            image = self._path(content_hash).read_bytes()
        except FileNotFoundError as error:
            raise AdapterRefused(
                AdapterReason.NOT_STORED, f"{content_hash.hex()} is not here; fetch its image first"
            ) from error
        adapter = decode_image(image, self._backbone, content_hash)
        packed = pack_adapter(adapter.pairs, self._backbone.config)
        return _Resident(adapter, packed, adapter.size_bytes + packed.size_bytes)

    def _make_room(self, size_bytes: int) -> None:
        idle = [key for key, resident in self._resident.items() if not resident.pins]
        while self._resident_bytes + size_bytes > self._budget:
            if not idle:
                raise AdapterRefused(
                    AdapterReason.STORE_FULL,
                    f"{size_bytes} bytes do not fit beside the adapters in use; retry later",
                )
            self._drop(idle.pop(0))

    def _drop(self, content_hash: bytes) -> None:
        resident = self._resident.pop(content_hash, None)
        if resident is not None:
            self._resident_bytes -= resident.size_bytes

    def _write(self, content_hash: bytes, image: bytes) -> None:
        path = self._path(content_hash)
        partial = path.with_suffix(f".{threading.get_ident()}.part")
        with partial.open("wb") as file:
            file.write(image)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def _path(self, content_hash: bytes) -> Path:
        return self._folder / f"{content_hash.hex()}.safetensors"
