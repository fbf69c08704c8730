"""`openledger_blob_*`: content-addressed blobs in chunks; only declared ones are taken."""

from __future__ import annotations

import base64
from functools import partial

import trio

from node.blob_errors import BlobReason, BlobRefusal
from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod
from node.rpc.errors import BLOB_ERROR, RpcError
from node.rpc.params import MalformedError, Param, base64_bytes, decoder, hash32, unsigned
from runtime.primitives.errors import Refusal

MOST_CHUNK = 1 << 20
THREADS = 8
"""Of their own: strangers must not use up those that the node itself works in."""

_HASH = Param("hash", hash32, doc="blake2b-256 of the whole blob.")
_OFFSET = Param("offset", unsigned, doc="Bytes before the chunk.")
_STATUS = schema.shared(
    "BlobStatus",
    schema.record(
        size={**schema.U64, "description": "bytes that the chain declares"},
        received={**schema.U64, "description": "bytes that are here, from the first one on"},
        complete=schema.BOOLEAN,
    ),
)


def blob_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group; none on a node that keeps no blobs."""
    store = backend.blobs
    if store is None:
        return []
    exchange = backend.exchange
    threads = trio.CapacityLimiter(THREADS)

    async def put(blob: bytes, offset: int, data: bytes) -> object:
        """Take a chunk at the present end of a declared blob; answers the blob's new status."""
        try:
            await trio.to_thread.run_sync(store.put, blob, offset, data, limiter=threads)
        except Refusal as refusal:
            raise _refusal(refusal) from None
        return await status(blob)

    async def get(blob: bytes, offset: int, length: int) -> object:
        """Read at most a mebibyte of a declared blob, as base64; it is fetched if not here yet."""
        read = partial(trio.to_thread.run_sync, store.read, blob, offset, length, limiter=threads)
        try:
            try:
                data = await read()
            except BlobRefusal as refusal:
                if exchange is None or refusal.reason is not BlobReason.ABSENT:
                    raise
                await exchange.fetch(blob)
                data = await read()
        except Refusal as refusal:
            raise _refusal(refusal) from None
        return base64.b64encode(data).decode()

    async def status(blob: bytes) -> object:
        """Tell how much of a blob is here, or null for one that nobody declared."""
        found = await trio.to_thread.run_sync(store.status, blob, limiter=threads)
        if found is None:
            return None
        return {"size": found.size, "received": found.received, "complete": found.complete}

    return [
        LengthyMethod(
            "openledger_blob_put",
            put,
            (_HASH, _OFFSET, Param("data", _chunk, doc="At most a mebibyte, in base64.")),
            result=_STATUS,
        ),
        LengthyMethod(
            "openledger_blob_get",
            get,
            (_HASH, _OFFSET, Param("length", _length, doc="Bytes to read, at most a mebibyte.")),
            result=base64_bytes.schema,
        ),
        LengthyMethod("openledger_blob_status", status, (_HASH,), result=schema.nullable(_STATUS)),
    ]


@decoder(base64_bytes.schema)
def _chunk(value: object) -> bytes:
    data = base64_bytes(value)
    if not 0 < len(data) <= MOST_CHUNK:
        raise MalformedError(f"a chunk has 1 to {MOST_CHUNK} bytes, got {len(data)}")
    return data


@decoder({"type": "integer", "minimum": 1, "maximum": MOST_CHUNK})
def _length(value: object) -> int:
    length = unsigned(value)
    if not 0 < length <= MOST_CHUNK:
        raise MalformedError(f"between 1 and {MOST_CHUNK} bytes are read at once")
    return length


def _refusal(refusal: Refusal) -> RpcError:
    detail = f"{refusal.reason.name}: {refusal.detail or refusal.reason.value}"
    return RpcError(BLOB_ERROR, "Blob refused", detail)
