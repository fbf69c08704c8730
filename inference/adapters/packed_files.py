"""Packed images as files beside the canonical ones: a cache that may be deleted at any time.

A file is a 64-byte head (magic, packing, checksum) and the image. The checksum (xxh3-128) finds
what a disk or a crash damaged; a file that does not match is never used.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path

from torch import Tensor
from xxhash import xxh3_128

from inference.adapters.disk_limit import DiskLimit
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.image_layout import Packing
from inference.adapters.packed_image import PackedImage, open_image
from inference.adapters.whole_file import write_whole
from inference.backbone.config import LlamaConfig

log = logging.getLogger(__name__)

HEAD = struct.Struct("<8s32s16sQ")
MAGIC = b"OLPACK01"


class PackedFiles:
    """The packed images of one folder and model."""

    def __init__(self, folder: Path, config: LlamaConfig, disk: DiskLimit) -> None:
        self._folder = folder
        self._config = config
        self._disk = disk

    def read(
        self, content_hash: bytes, packing: Packing, buffer: Callable[[int], Tensor]
    ) -> PackedImage | None:
        """Read an image into a buffer; None if there is no sound file."""
        path = self._path(content_hash, packing)
        try:
            data = _read(path, content_hash, packing, buffer)
            image = open_image(content_hash, data, self._config, packing)
        except FileNotFoundError:
            return None
        except AdapterRefused as refusal:
            log.warning("%s is made anew: %s", path.name, refusal.detail)
            return None
        self._disk.used(path)
        return image

    def write(self, image: PackedImage, packing: Packing) -> None:
        """Keep an image; a disk that does not take it is only logged."""
        path = self._path(image.content_hash, packing)
        head = _head(image.content_hash, image.data, packing)
        try:
            write_whole(path, (head, image.data.numpy().data), sync=False)
        except OSError as error:
            log.warning("%s is not cached: %s", path.name, error)
            return
        self._disk.wrote(HEAD.size + image.data.numel())

    def remove(self, content_hash: bytes) -> None:
        """Delete an adapter's images of every packing."""
        for path in self._folder.glob(f"{content_hash.hex()}.*.packed"):
            path.unlink(missing_ok=True)

    def _path(self, content_hash: bytes, packing: Packing) -> Path:
        return self._folder / f"{content_hash.hex()}.{packing.name}.packed"


def _read(
    path: Path, content_hash: bytes, packing: Packing, buffer: Callable[[int], Tensor]
) -> Tensor:
    with path.open("rb") as file:
        head = file.read(HEAD.size)
        size = os.fstat(file.fileno()).st_size - HEAD.size
        if size <= 0 or head[:40] != MAGIC + _name(packing):
            raise AdapterRefused(AdapterReason.UNREADABLE, "its head is wrong")
        data = buffer(size)
        if file.readinto(data.numpy().data) != size or head != _head(content_hash, data, packing):
            raise AdapterRefused(AdapterReason.UNREADABLE, "its checksum is wrong")
    return data


def _name(packing: Packing) -> bytes:
    return hashlib.blake2b(packing.name.encode(), digest_size=32).digest()


def _head(content_hash: bytes, data: Tensor, packing: Packing) -> bytes:
    checksum = xxh3_128(content_hash)
    checksum.update(data.numpy().data)
    return HEAD.pack(MAGIC, _name(packing), checksum.digest(), data.numel())
