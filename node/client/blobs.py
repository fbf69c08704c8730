"""Blobs to and from a node: in chunks, resumed where they stopped, checked by their hash."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

import trio

from node.client.errors import BlobError, CallError
from node.client.transport import Transport
from runtime.primitives.hashing import blake2_256

CHUNK = 1 << 20
Progress = Callable[[int, int], object]
"""Called with the bytes done and the bytes in all."""


async def put_blob(transport: Transport, data: bytes, progress: Progress | None = None) -> bytes:
    """Upload what a transaction declared, from where an earlier upload stopped; returns its hash.

    Raises BlobError where the chain declares no such blob, CallError where the node refuses.
    """
    blob_hash = blake2_256(data)
    name = "0x" + blob_hash.hex()
    status = await transport.request("openledger_blob_status", (name,))
    if status is None:
        raise BlobError(f"no transaction declares blob {name}; declare it before the upload")
    done = status["received"]
    while not status["complete"]:
        chunk = base64.b64encode(data[done : done + CHUNK]).decode()
        status = await transport.request("openledger_blob_put", (name, done, chunk))
        done = status["received"]
        if progress is not None:
            progress(done, len(data))
    return blob_hash


async def get_blob(
    transport: Transport, blob_hash: bytes, to: Path, progress: Progress | None = None
) -> Path:
    """Download a blob into a file, which appears only when its bytes have their hash.

    A node that lacks the blob asks its peers first. An interrupted download goes on where it
    stopped. Raises BlobError where no transaction declares the blob, nobody gives it, or the node
    sends other bytes (they are deleted).
    """
    name = "0x" + blob_hash.hex()
    status = await transport.request("openledger_blob_status", (name,))
    if status is None:
        raise BlobError(f"no transaction declares blob {name}; is the node in sync?")
    size = status["size"]
    part = to.with_name(f"{to.name}.{blob_hash.hex()[:16]}.part")
    done, digest = await trio.to_thread.run_sync(_digest_of, part)
    async with await trio.open_file(part, "ab") as file:
        while done < size:
            try:
                text = await transport.request("openledger_blob_get", (name, done, CHUNK))
            except CallError as error:
                raise BlobError(f"the node does not hold blob {name}: {error.data}") from error
            data = base64.b64decode(text)
            if not data:
                break
            await file.write(data)
            digest.update(data)
            done += len(data)
            if progress is not None:
                progress(done, size)
    if digest.digest() != blob_hash:
        part.unlink()
        raise BlobError(f"the node sent other bytes than those of blob {name}; try another node")
    part.replace(to)
    return to


def _digest_of(part: Path) -> tuple[int, hashlib.blake2b]:
    digest = hashlib.blake2b(digest_size=32)
    done = 0
    if part.exists():
        with part.open("rb") as file:
            while data := file.read(CHUNK):
                digest.update(data)
                done += len(data)
    return done, digest
