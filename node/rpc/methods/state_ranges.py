"""`state_*` over ranges: all keys or pairs under a prefix, and values over a range of blocks."""

from __future__ import annotations

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod
from node.rpc.errors import (
    INVALID_BLOCK_RANGE,
    RpcError,
    count_too_large,
    response_too_big,
    state_discarded,
)
from node.rpc.methods.state import AT, CHANGES, MOST_READ_BYTES
from node.rpc.params import Param, hash32, hex_bytes, list_of, to_hex
from node.rpc.slices import Slice
from node.rpc.work import Work
from runtime.state.store import MissingNode

MOST_ENTRIES = 10_000
"""Keys, or pairs, in one answer; `state_getKeysPaged` goes on where more are wanted."""
MOST_BLOCKS = 1024
"""Blocks in one range."""
MOST_READS = 100_000
"""Keys times blocks in one range."""
_MOST_KEYS = 1000
_PREFIX = Param("prefix", hex_bytes, optional=True, doc="What the keys begin with.")
_PAIR = {"type": "array", "items": [schema.HEX, schema.HEX], "minItems": 2, "maxItems": 2}


def state_range_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""

    async def get_keys(prefix: bytes | None, at: bytes | None) -> object:
        """List all keys that begin with a prefix; refused where one answer cannot hold them."""
        pairs = await _entries(backend, prefix or b"", at)
        return [to_hex(key) for key, _ in pairs]

    async def get_pairs(prefix: bytes | None, at: bytes | None) -> object:
        """List all keys that begin with a prefix, with their values.

        Refused where they are too many for one answer.
        """
        pairs = await _entries(backend, prefix or b"", at)
        return [(to_hex(key), to_hex(value)) for key, value in pairs]

    async def query_storage(keys: list[bytes], first: bytes, last: bytes | None) -> object:
        """Read values over a range of blocks: all of the first block, then what changed.

        Blocks in which none of the keys changed are left out. Without a last block the range ends
        with the best one.
        """
        blocks = await _range(backend, first, backend.at(last), len(keys))
        return await _changes(backend, keys, blocks)

    return [
        LengthyMethod(
            "state_getKeys",
            get_keys,
            (_PREFIX, AT),
            ("state_getKeysAt",),
            result=schema.array(schema.HEX, MOST_ENTRIES),
            work=Work.SCAN,
        ),
        LengthyMethod(
            "state_getPairs",
            get_pairs,
            (_PREFIX, AT),
            ("state_getPairsAt",),
            result=schema.array(_PAIR, MOST_ENTRIES),
            unsafe=True,
            work=Work.SCAN,
        ),
        LengthyMethod(
            "state_queryStorage",
            query_storage,
            (
                Param("keys", list_of(hex_bytes, _MOST_KEYS), doc="Whole storage keys."),
                Param("fromBlock", hash32, doc="Hash of the first block."),
                Param("toBlock", hash32, optional=True, doc="Hash of the last block."),
            ),
            result=schema.array(CHANGES, MOST_BLOCKS),
            unsafe=True,
            work=Work.SCAN,
        ),
    ]


async def _entries(backend: Backend, prefix: bytes, at: bytes | None) -> list[tuple[bytes, bytes]]:
    """Read all entries under a prefix in slices of 2 ms; raises `RpcError` for too many."""
    block_hash = backend.at(at)
    found: list[tuple[bytes, bytes]] = []
    size = 0
    work = Slice()
    try:
        for key, value in backend.state(block_hash).iterate(prefix):
            size += len(key) + len(value)
            if len(found) >= MOST_ENTRIES:
                raise count_too_large(
                    len(found) + 1, MOST_ENTRIES, "go through them with state_getKeysPaged"
                )
            if size > MOST_READ_BYTES:
                raise response_too_big("go through the keys with state_getKeysPaged")
            found.append((key, value))
            await work.pause()
    except MissingNode:
        raise state_discarded(block_hash) from None
    return found


async def _range(backend: Backend, first: bytes, last: bytes, keys: int) -> list[bytes]:
    """List the blocks from `first` to its descendant `last`; raises `RpcError`."""
    start, end = backend.header(first), backend.header(last)
    count = end.number - start.number + 1
    if count < 1:
        raise _no_range(first, last, "the first block is above the last one")
    most = min(MOST_BLOCKS, MOST_READS // max(keys, 1))
    if count > most:
        raise count_too_large(count, most, f"ask for at most {most} blocks of {keys} keys at once")
    blocks = [last]
    work = Slice()
    while len(blocks) < count:
        blocks.append(backend.header(blocks[-1]).parent_hash)
        await work.pause()
    if blocks[-1] != first:
        raise _no_range(first, last, "the blocks are on different branches")
    return blocks[::-1]


def _no_range(first: bytes, last: bytes, why: str) -> RpcError:
    text = f"Cannot resolve a block range ['{to_hex(first)}' ... '{to_hex(last)}']. {why}"
    return RpcError(INVALID_BLOCK_RANGE, text)


async def _changes(backend: Backend, keys: list[bytes], blocks: list[bytes]) -> object:
    found: list[dict[str, object]] = []
    known: dict[bytes, bytes | None] = {}
    size = 0
    work = Slice()
    for block_hash in blocks:
        state = backend.state(block_hash)
        changes: list[tuple[str, str | None]] = []
        try:
            for key in keys:
                value = state.get(key)
                if key not in known or known[key] != value:
                    known[key] = value
                    changes.append((to_hex(key), None if value is None else to_hex(value)))
                    size += len(key) + len(value or b"")
                await work.pause()
        except MissingNode:
            raise state_discarded(block_hash) from None
        if size > MOST_READ_BYTES:
            raise response_too_big("ask for fewer keys or blocks at once")
        if changes:
            found.append({"block": to_hex(block_hash), "changes": changes})
    return found
