"""`state_*`: storage, keys, proofs, runtime calls, metadata and the version of the rules."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod, Method
from node.rpc.errors import RANGE_TOO_LARGE, RpcError, response_too_big, state_discarded
from node.rpc.params import (
    MalformedError,
    Param,
    decoder,
    hash32,
    hex_bytes,
    list_of,
    text,
    to_hex,
    u32,
)
from node.rpc.shapes import version_shape
from node.rpc.slices import Slice
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import decode
from runtime.state.proof import prove
from runtime.state.store import MissingNode, State

MOST_KEYS = 1000
_MOST_PROVEN = 256
MOST_READ_BYTES = 8 << 20
"""Values in one answer; the caller can list the same long value again and again."""

_KEY = Param("key", hex_bytes)
_AT = Param("at", hash32, optional=True)
_KEYS = Param("keys", list_of(hex_bytes, MOST_KEYS))


def state_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""
    metadata: dict[int, orjson.Fragment] = {}

    def get_storage(key: bytes, at: bytes | None) -> object:
        value = _read(backend, key, at)
        return None if value is None else to_hex(value)

    def get_storage_hash(key: bytes, at: bytes | None) -> object:
        value = _read(backend, key, at)
        return None if value is None else to_hex(blake2_256(value))

    def get_storage_size(key: bytes, at: bytes | None) -> object:
        value = _read(backend, key, at)
        return None if value is None else len(value)

    async def get_keys_paged(
        prefix: bytes | None, count: int, start: bytes | None, at: bytes | None
    ) -> object:
        block_hash = backend.at(at)
        entries = backend.state(block_hash).iterate(prefix or b"", start)
        return await _take_keys(entries, count, block_hash)

    async def query_storage_at(keys: list[bytes], at: bytes | None) -> object:
        block_hash = backend.at(at)
        changes = await read_many(backend.state(block_hash), keys, block_hash)
        return [{"block": to_hex(block_hash), "changes": changes}]

    def get_read_proof(keys: list[bytes], at: bytes | None) -> object:
        if len(keys) > _MOST_PROVEN:
            detail = f"at most {_MOST_PROVEN} keys per proof, got {len(keys)}"
            raise RpcError(RANGE_TOO_LARGE, "Too many keys", detail)
        block_hash = backend.at(at)
        state = backend.state(block_hash)
        try:
            proof = prove(state.node, state.root, keys)
        except MissingNode:
            raise state_discarded(block_hash) from None
        return {"at": to_hex(block_hash), "proof": [to_hex(node) for node in proof]}

    def call(method: str, data: bytes, at: bytes | None) -> object:
        return to_hex(backend.call_api(method, data, at))

    def get_metadata(at: bytes | None) -> object:
        spec = backend.runtime_version(at).spec_version
        if spec not in metadata:
            blob: bytes = decode(bytes, backend.call_api("Metadata_metadata", b"", at))
            metadata[spec] = orjson.Fragment(orjson.dumps(to_hex(blob)))
        return metadata[spec]

    def get_runtime_version(at: bytes | None) -> object:
        return version_shape(backend.runtime_version(at))

    paged = (
        Param("prefix", hex_bytes, optional=True),
        Param("count", _page),
        Param("startKey", hex_bytes, optional=True),
        _AT,
    )
    return [
        Method("state_getStorage", get_storage, (_KEY, _AT), ("state_getStorageAt",)),
        Method("state_getStorageHash", get_storage_hash, (_KEY, _AT), ("state_getStorageHashAt",)),
        Method("state_getStorageSize", get_storage_size, (_KEY, _AT), ("state_getStorageSizeAt",)),
        LengthyMethod("state_getKeysPaged", get_keys_paged, paged, ("state_getKeysPagedAt",)),
        LengthyMethod("state_queryStorageAt", query_storage_at, (_KEYS, _AT)),
        Method("state_getReadProof", get_read_proof, (_KEYS, _AT)),
        Method(
            "state_call",
            call,
            (Param("method", text), Param("data", hex_bytes), _AT),
            ("state_callAt",),
        ),
        Method("state_getMetadata", get_metadata, (_AT,)),
        Method(
            "state_getRuntimeVersion", get_runtime_version, (_AT,), ("chain_getRuntimeVersion",)
        ),
    ]


def _read(backend: Backend, key: bytes, at: bytes | None) -> bytes | None:
    block_hash = backend.at(at)
    try:
        return backend.state(block_hash).get(key)
    except MissingNode:
        raise state_discarded(block_hash) from None


@decoder({"type": "integer", "minimum": 0, "maximum": MOST_KEYS})
def _page(value: object) -> int:
    count = u32(value)
    if count > MOST_KEYS:
        raise MalformedError(f"at most {MOST_KEYS} keys per page; go on behind the last one")
    return count


async def _take_keys(
    entries: Iterator[tuple[bytes, bytes]], count: int, block_hash: bytes
) -> list[str]:
    """Take keys in slices of 2 ms, so that nobody waits for a long page."""
    keys: list[str] = []
    work = Slice()
    try:
        while len(keys) < count and (entry := next(entries, None)) is not None:
            keys.append(to_hex(entry[0]))
            await work.pause()
    except MissingNode:
        raise state_discarded(block_hash) from None
    return keys


async def read_many(
    state: State, keys: list[bytes], block_hash: bytes
) -> list[tuple[str, str | None]]:
    """Read values in slices of 2 ms; raises `RpcError` where they are too long together."""
    changes: list[tuple[str, str | None]] = []
    size = 0
    work = Slice()
    try:
        for key in keys:
            value = state.get(key)
            size += len(key) + len(value or b"")
            if size > MOST_READ_BYTES:
                raise response_too_big("ask for fewer keys at once")
            changes.append((to_hex(key), None if value is None else to_hex(value)))
            await work.pause()
    except MissingNode:
        raise state_discarded(block_hash) from None
    return changes
