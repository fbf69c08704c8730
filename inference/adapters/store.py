"""Adapters by content hash on disk, fetched where missing; decoded and packed forms on demand.

Calls are safe from several threads. Removing an adapter takes its files only: copies in memory are
named by the same hash, so they never go stale, and leave with their last use.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from inference.adapters.adapter import LoraAdapter, image_hash, image_of
from inference.adapters.disk_limit import DiskLimit
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.figures import Origin
from inference.adapters.image import decode_hashed, decode_image
from inference.adapters.image_layout import Packing
from inference.adapters.packed_files import PackedFiles
from inference.adapters.packed_image import PackedImage, pack_image, plain_buffer
from inference.adapters.sources import Source, Sources
from inference.adapters.whole_file import sweep, write_whole
from inference.backbone.model import Backbone

log = logging.getLogger(__name__)


class AdapterStore:
    """The adapters of one backbone.

    Args:
        folder: holds one file per adapter, and packed forms of those that were used.
        backbone: the base model that every adapter must fit.
        fetch: where images come from that are not in the folder; one source or several, asked in
            order. They are called on the thread that wants the adapter.
        decoded_bytes: budget of decoded adapters kept in memory.
        disk_bytes: of the folder's files; beyond it those leave that were not read for longest,
            to be fetched again when they are wanted (images only with `fetch`). None: no limit.
    """

    def __init__(
        self,
        folder: Path,
        backbone: Backbone,
        *,
        fetch: Source | Sequence[Source] | None = None,
        decoded_bytes: int = 256 << 20,
        disk_bytes: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if swept := sweep(folder):
            log.info("%d unfinished files of an earlier run are deleted from %s", swept, folder)
        sources = () if fetch is None else (fetch,) if callable(fetch) else tuple(fetch)
        self._folder = folder
        self._backbone = backbone
        self._sources = Sources(sources)
        self._disk = DiskLimit(folder, disk_bytes, lasting=not sources)
        self._packed = PackedFiles(folder, backbone.config, self._disk)
        self._budget = decoded_bytes
        self._decoded: OrderedDict[bytes, LoraAdapter] = OrderedDict()
        self._decoded_bytes = 0
        self._lock = threading.Lock()

    @property
    def decoded_bytes(self) -> int:
        """Memory of the decoded adapters."""
        return self._decoded_bytes

    def put(self, adapter: LoraAdapter) -> bytes:
        """Keep an adapter's image on disk; return its content hash."""
        self._write(adapter.content_hash, image_of(adapter))
        return adapter.content_hash

    def put_image(self, image: bytes, expected: bytes) -> LoraAdapter:
        """Check a fetched image and keep it; raises AdapterRefused and keeps nothing."""
        adapter = decode_image(image, self._backbone, expected)
        self._write(expected, image)
        return adapter

    def contains(self, content_hash: bytes) -> bool:
        """Whether the image is on disk."""
        return self._path(content_hash).exists()

    def __contains__(self, content_hash: bytes) -> bool:
        return self.contains(content_hash)

    def pin(self, content_hash: bytes) -> None:
        """Keep an adapter's image whatever the limit of the disk, until as many `unpin`."""
        self._disk.pin(content_hash)

    def unpin(self, content_hash: bytes) -> None:
        """Let an adapter's image go when its room is wanted."""
        self._disk.unpin(content_hash)

    def remove(self, content_hash: bytes) -> None:
        """Delete an adapter's files; who leases it keeps it."""
        with self._lock:
            self._drop(content_hash)
        self._path(content_hash).unlink(missing_ok=True)
        self._packed.remove(content_hash)

    def read(self, content_hash: bytes) -> bytes:
        """Return the canonical image, verified; raises NOT_STORED, NOT_FETCHED, WRONG_HASH."""
        return self._image(content_hash)[0]

    def adapter(self, content_hash: bytes) -> LoraAdapter:
        """Return the adapter with its factors as they were trained; raises as `read`."""
        with self._lock:
            found = self._decoded.get(content_hash)
            if found is not None:
                self._decoded.move_to_end(content_hash)
                return found
        adapter = decode_hashed(self.read(content_hash), self._backbone, content_hash)
        with self._lock:
            self._keep(adapter)
        return adapter

    def packed(
        self,
        content_hash: bytes,
        packing: Packing,
        buffer: Callable[[int], Tensor] = plain_buffer,
    ) -> tuple[PackedImage, Origin]:
        """Return a packed image and where it came from; raises as `read`, and OSError."""
        cached = self._packed.read(content_hash, packing, buffer)
        if cached is not None:
            return cached, Origin.DISK
        image, origin = self._image(content_hash)
        adapter = decode_hashed(image, self._backbone, content_hash)
        packed = pack_image(adapter, self._backbone.config, packing, buffer)
        self._packed.write(packed, packing)
        return packed, origin

    def _image(self, content_hash: bytes) -> tuple[bytes, Origin]:
        path = self._path(content_hash)
        try:
            image = path.read_bytes()
        except FileNotFoundError:
            return self._fetch(content_hash), Origin.NETWORK
        found = image_hash(image)
        if found == content_hash:
            self._disk.used(path)
            return image, Origin.DISK
        if not self._sources:
            raise AdapterRefused(
                AdapterReason.WRONG_HASH, f"{path.name} hashes to {found.hex()}; put it again"
            )
        log.warning("%s is damaged and fetched again", path.name)
        return self._fetch(content_hash), Origin.NETWORK

    def _fetch(self, content_hash: bytes) -> bytes:
        def keep(image: bytes) -> None:
            self.put_image(image, content_hash)

        return self._sources.fetch(content_hash, keep)

    def _keep(self, adapter: LoraAdapter) -> None:
        self._drop(adapter.content_hash)
        self._decoded[adapter.content_hash] = adapter
        self._decoded_bytes += adapter.size_bytes
        while self._decoded_bytes > self._budget and len(self._decoded) > 1:
            self._drop(next(iter(self._decoded)))

    def _drop(self, content_hash: bytes) -> None:
        adapter = self._decoded.pop(content_hash, None)
        if adapter is not None:
            self._decoded_bytes -= adapter.size_bytes

    def _write(self, content_hash: bytes, image: bytes) -> None:
        write_whole(self._path(content_hash), (image,), sync=True)
        self._disk.wrote(len(image))

    def _path(self, content_hash: bytes) -> Path:
        return self._folder / f"{content_hash.hex()}.safetensors"
