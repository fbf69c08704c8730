"""`state_*`: storage, keys, proofs, runtime calls, metadata and the version of the rules."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import orjson

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod, Method
from node.rpc.errors import RANGE_TOO_LARGE, RpcError, response_too_big, state_discarded
from node.rpc.kinds import Later
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
from node.rpc.shapes import VERSION, version_shape
from node.rpc.slices import Slice
from node.rpc.work import Work
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import decode
from runtime.state.store import MissingNode, State
from runtime.state.trie import lookup

MOST_KEYS = 1000
MOST_PROVEN = 256
MOST_READ_BYTES = 8 << 20
"""Values in one answer; the caller can list the same long value again and again."""

AT = Param("at", hash32, optional=True, doc="The block to read at; by default the best one.")
_KEY = Param("key", hex_bytes, doc="The whole storage key.")
_KEYS = Param("keys", list_of(hex_bytes, MOST_KEYS), doc="Whole storage keys.")
_CALL = (
    Param("method", text, doc="Such as `AccountNonceApi_account_nonce`."),
    Param("data", hex_bytes, doc="SCALE of the arguments, one behind the other."),
    AT,
)
CHANGES = schema.record(
    block=schema.HASH,
    changes=schema.array(
        {
            "type": "array",
            "items": [schema.HEX, schema.nullable(schema.HEX)],
            "minItems": 2,
            "maxItems": 2,
        }
    ),
)
"""Keys with their values at a block; null where nothing is stored."""
READ_PROOF = schema.record(at=schema.HASH, proof=schema.array(schema.HEX))


def state_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""
    metadata: dict[int, orjson.Fragment] = {}

    def get_storage(key: bytes, at: bytes | None) -> object:
        """Read the value under a key; null where there is none."""
        value = _read(backend, key, at)
        return None if value is None else to_hex(value)

    def get_storage_hash(key: bytes, at: bytes | None) -> object:
        """Return the blake2b-256 hash of the value under a key; null where there is none."""
        value = _read(backend, key, at)
        return None if value is None else to_hex(blake2_256(value))

    def get_storage_size(key: bytes, at: bytes | None) -> object:
        """Return the length of the value under a key, in bytes; null where there is none."""
        value = _read(backend, key, at)
        return None if value is None else len(value)

    async def get_keys_paged(
        prefix: bytes | None, count: int, start: bytes | None, at: bytes | None
    ) -> object:
        """List the keys that begin with a prefix, in order, from behind `startKey` on."""
        block_hash = backend.at(at)
        entries = backend.state(block_hash).iterate(prefix or b"", start)
        return await _take_keys(entries, count, block_hash)

    async def query_storage_at(keys: list[bytes], at: bytes | None) -> object:
        """Read many values of one block; a list of one block's changes, as for a range."""
        block_hash = backend.at(at)
        changes = await read_many(backend.state(block_hash), keys, block_hash)
        return [{"block": to_hex(block_hash), "changes": changes}]

    async def get_read_proof(keys: list[bytes], at: bytes | None) -> object:
        """Prove what is, or is not, under some keys: the nodes of the state's tree above them."""
        if len(keys) > MOST_PROVEN:
            detail = f"at most {MOST_PROVEN} keys per proof, got {len(keys)}"
            raise RpcError(RANGE_TOO_LARGE, "Too many keys", detail)
        return await read_proof(backend, keys, at)

    async def call_aside(method: str, data: bytes, at: bytes | None) -> str:
        return to_hex(await backend.run_api(method, data, at))

    def call(method: str, data: bytes, at: bytes | None) -> object:
        """Call a method of a runtime API on a block's state; arguments and result are SCALE.

        What the call writes is dropped.
        """
        quick = backend.run_quick_api(method, data, at)
        return Later(partial(call_aside, method, data, at)) if quick is None else to_hex(quick)

    def get_metadata(at: bytes | None) -> object:
        """Return the runtime's metadata in version 14, which the oldest clients read.

        Versions 15 and 16 come from `state_call` of `Metadata_metadata_at_version`.
        """
        spec = backend.runtime_version(at).spec_version
        if spec not in metadata:
            blob: bytes = decode(bytes, backend.call_api("Metadata_metadata", b"", at))
            metadata[spec] = orjson.Fragment(orjson.dumps(to_hex(blob)))
        return metadata[spec]

    def get_runtime_version(at: bytes | None) -> object:
        """Return name and version of the rules, and which runtime APIs they have."""
        return version_shape(backend.runtime_version(at))

    paged = (
        Param("prefix", hex_bytes, optional=True, doc="What the keys begin with."),
        Param("count", _page, doc="Most keys in the answer."),
        Param("startKey", hex_bytes, optional=True, doc="The last key of the page before."),
        AT,
    )
    return [
        Method(
            "state_getStorage",
            get_storage,
            (_KEY, AT),
            ("state_getStorageAt",),
            result=schema.nullable(schema.HEX),
        ),
        Method(
            "state_getStorageHash",
            get_storage_hash,
            (_KEY, AT),
            ("state_getStorageHashAt",),
            result=schema.nullable(schema.HASH),
        ),
        Method(
            "state_getStorageSize",
            get_storage_size,
            (_KEY, AT),
            ("state_getStorageSizeAt",),
            result=schema.nullable(schema.U32),
        ),
        LengthyMethod(
            "state_getKeysPaged",
            get_keys_paged,
            paged,
            ("state_getKeysPagedAt",),
            result=schema.array(schema.HEX),
        ),
        LengthyMethod(
            "state_queryStorageAt",
            query_storage_at,
            (_KEYS, AT),
            result=schema.array(CHANGES, 1),
        ),
        LengthyMethod(
            "state_getReadProof",
            get_read_proof,
            (_KEYS, AT),
            result=READ_PROOF,
            work=Work.SCAN,
        ),
        Method("state_call", call, _CALL, ("state_callAt",), result=schema.HEX),
        Method("state_getMetadata", get_metadata, (AT,), result=schema.HEX),
        Method(
            "state_getRuntimeVersion",
            get_runtime_version,
            (AT,),
            ("chain_getRuntimeVersion",),
            result=VERSION,
        ),
    ]


def _read(backend: Backend, key: bytes, at: bytes | None) -> bytes | None:
    block_hash = backend.at(at)
    try:
        return backend.state(block_hash).get(key)
    except MissingNode:
        raise state_discarded(block_hash) from None


async def read_proof(backend: Backend, keys: list[bytes], at: bytes | None) -> object:
    """Collect the nodes that looking up keys reads, in slices of 2 ms."""
    block_hash = backend.at(at)
    state = backend.state(block_hash)
    nodes: dict[bytes, bytes] = {}

    def read(name: bytes) -> bytes:
        if name not in nodes:
            nodes[name] = state.node(name)
        return nodes[name]

    work = Slice()
    try:
        for key in keys:
            lookup(read, state.root, key)
            await work.pause()
    except MissingNode:
        raise state_discarded(block_hash) from None
    return {"at": to_hex(block_hash), "proof": [to_hex(node) for node in nodes.values()]}


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
