"""`archive_v1_*`: blocks, runtime calls and storage at any block that the node still has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from node.chain import Chain
from node.errors import StatePruned, UnknownBlock
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod, Method, SessionMethod, SubscribeMethod
from node.rpc.errors import SERVER_BUSY, RpcError
from node.rpc.params import Param, hash32, hex_bytes, text, to_hex, unsigned
from node.rpc.schema import HASH, HEX, NULL, TEXT, U32, array, nullable, record
from node.rpc.storage_difference import DIFFERENCE_QUERIES, DifferenceQuery, differences
from node.rpc.storage_query import ITEM_MEMBERS, OVERHEAD, QUERIES, Query, results, weight
from node.rpc.storage_streams import PRUNED_MEANWHILE, Items, NoAnswer, StorageStreams
from node.rpc.subscriptions import Session, Subscription
from runtime.primitives.header import Header
from runtime.primitives.scale import encode
from runtime.state.store import MissingNode

_HASH = Param("hash", hash32, doc="hash of the block's header")
_OPERATION = Param("operation", text, doc="what the method that began it returned")
_STORAGE, _DIFFERENCE = "archive_v1_storageEvent", "archive_v1_storageDiffEvent"


def _event(name: str, **members: Any) -> dict[str, Any]:
    return record(event={"const": name}, **members)


def _stream(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"oneOf": [item, _event(f"{name}Done"), _event(f"{name}Error", error=TEXT)]}


_STORAGE_EVENT = _stream(
    "storage", record(tuple(ITEM_MEMBERS), event={"const": "storage"}, key=HEX, **ITEM_MEMBERS)
)
_DIFFERENCE_EVENT = _stream(
    "storageDiff",
    record(
        ("value", "hash"),
        event={"const": "storageDiff"},
        key=HEX,
        value=HEX,
        hash=HASH,
        type={"type": "string", "enum": ["added", "modified", "deleted"]},
    ),
)
_CALL_RESULT = {
    "oneOf": [
        record(success={"const": True}, value=HEX),
        record(success={"const": False}, error=TEXT),
        NULL,
    ]
}


def archive_methods(backend: Backend, streams: StorageStreams | None = None) -> list[AnyMethod]:
    """List the methods of this group."""
    streams = streams or StorageStreams()
    return [*_block_methods(backend), *_stream_methods(backend.chain, streams)]


def _block_methods(backend: Backend) -> list[AnyMethod]:
    chain = backend.chain

    def header(block_hash: bytes) -> str | None:
        """Return the SCALE encoding of a block's header, null for a block that is not known."""
        found = chain.header(block_hash)
        return None if found is None else to_hex(encode(Header, found))

    def body(block_hash: bytes) -> list[str] | None:
        """Return a block's extrinsics, null for a block that is not known or whose body is pruned.

        Each is SCALE-encoded, with its length in front.
        """
        found = chain.block(block_hash)
        return None if found is None else [to_hex(extrinsic) for extrinsic in found.extrinsics]

    def hash_by_height(height: int) -> list[str]:
        """Return the hashes of the known blocks of a height: one up to the last finalised block.

        Above it there may be none or several, that of the best chain first.
        """
        return [to_hex(block_hash) for block_hash in chain.blocks_at(height)]

    def finalized_height() -> int:
        """Return the height of the last finalised block."""
        return chain.finalized().number

    def genesis_hash() -> str:
        """Return the hash of block 0."""
        return to_hex(chain.genesis_hash)

    async def call(block_hash: bytes, function: str, parameters: bytes) -> object:
        """Make a runtime call with a block's state; null for a block that is not known.

        Whatever the call would write is discarded. Fails where the state is pruned: ask a node
        that runs with `--state-pruning archive`.
        """
        return await _call(backend, block_hash, function, parameters)

    named = (
        Param("function", text, doc="such as `Core_version`"),
        Param("callParameters", hex_bytes, doc="SCALE of its arguments"),
    )
    return [
        Method("archive_v1_body", body, (_HASH,), result=nullable(array(HEX))),
        LengthyMethod("archive_v1_call", call, (_HASH, *named), result=_CALL_RESULT),
        Method("archive_v1_finalizedHeight", finalized_height, result=U32),
        Method("archive_v1_genesisHash", genesis_hash, result=HASH),
        Method(
            "archive_v1_hashByHeight",
            hash_by_height,
            (Param("height", unsigned, doc="number of the blocks"),),
            result=array(HASH),
        ),
        Method("archive_v1_header", header, (_HASH,), result=nullable(HEX)),
    ]


def _stream_methods(chain: Chain, streams: StorageStreams) -> list[AnyMethod]:
    async def storage(
        subscription: Subscription, block_hash: bytes, queries: list[Query], child: bytes | None
    ) -> None:
        """Read a block's storage: values, hashes, descendants of keys, Merkle values.

        Each item is an event `storage`; `storageDone` or `storageError` ends them. There are no
        child tries, so a `childTrie` has no items. Items come as fast as they are read.
        """
        asked = [] if child is not None else queries
        begin = partial(_read, chain, block_hash, asked)
        streams.start(subscription, "storage", weight(asked), begin)

    async def storage_difference(
        subscription: Subscription,
        block_hash: bytes,
        queries: list[DifferenceQuery] | None,
        previous: bytes | None,
    ) -> None:
        """Compare a block's storage with that of its parent, or of the ancestor `previousHash`.

        Each key that differs is an event `storageDiff`; `storageDiffDone` or `storageDiffError`
        ends them. Without items all keys are compared, and values told.
        """
        asked = queries or [DifferenceQuery()]
        held = sum(OVERHEAD + len(query.prefix) for query in asked)
        begin = partial(_compare, chain, block_hash, previous, asked)
        streams.start(subscription, "storageDiff", held, begin)

    return [
        SubscribeMethod(
            "archive_v1_storage",
            storage,
            _STORAGE,
            (),
            (
                _HASH,
                Param("items", QUERIES, doc="what to read"),
                Param("childTrie", hex_bytes, optional=True, doc="there are none"),
            ),
            result=_STORAGE_EVENT,
        ),
        SubscribeMethod(
            "archive_v1_storageDiff",
            storage_difference,
            _DIFFERENCE,
            (),
            (
                _HASH,
                Param(
                    "items",
                    DIFFERENCE_QUERIES,
                    optional=True,
                    doc="what to compare; else everything",
                ),
                Param("previousHash", hash32, optional=True, doc="an ancestor; else the parent"),
            ),
            result=_DIFFERENCE_EVENT,
        ),
        _stop("archive_v1_stopStorage", _STORAGE),
        _stop("archive_v1_stopStorageDiff", _DIFFERENCE),
    ]


def _stop(name: str, kind: str) -> SessionMethod:
    def stop(session: Session, operation: str) -> None:
        """End a stream of events; nothing happens where it has ended already."""
        session.close(operation, kind)

    return SessionMethod(name, stop, (_OPERATION,), result=NULL)


async def _call(backend: Backend, block_hash: bytes, function: str, parameters: bytes) -> object:
    header = backend.chain.header(block_hash)
    try:
        state = backend.chain.state_at(block_hash)
        if header is None:
            return None
        value = await backend.run_on(state, header, function, parameters)
    except UnknownBlock:
        return None
    except StatePruned as pruned:
        return {"success": False, "error": str(pruned)}
    except MissingNode:
        return {"success": False, "error": PRUNED_MEANWHILE}
    except RpcError as refusal:
        if refusal.code == SERVER_BUSY:
            raise
        detail = f"; {refusal.data}" if isinstance(refusal.data, str) else ""
        return {"success": False, "error": refusal.message + detail}
    return {"success": True, "value": to_hex(value)}


def _read(chain: Chain, block_hash: bytes, queries: Sequence[Query]) -> Items:
    yield from results(chain.state_at(block_hash), queries)


def _compare(
    chain: Chain, block_hash: bytes, previous: bytes | None, queries: Sequence[DifferenceQuery]
) -> Items:
    header = _known(chain, block_hash)
    if previous is None:
        if header.number == 0:
            raise NoAnswer("block 0 has no parent to compare it with")
        previous = header.parent_hash
    elif not _stands_on(chain, block_hash, previous):
        raise NoAnswer(f"previousHash {to_hex(previous)} is not an ancestor of the block")
    yield from differences(chain.state_at(previous), chain.state_at(block_hash), queries)


def _stands_on(chain: Chain, block_hash: bytes, ancestor: bytes) -> bool:
    """Tell whether a known block is a known ancestor's descendant or that block itself."""
    number = _known(chain, ancestor).number
    header = _known(chain, block_hash)
    if chain.is_finalized(ancestor):
        return number <= header.number
    while header.number > number:
        block_hash = header.parent_hash
        header = _known(chain, block_hash)
    return block_hash == ancestor


def _known(chain: Chain, block_hash: bytes) -> Header:
    header = chain.header(block_hash)
    if header is None:
        raise UnknownBlock(block_hash)
    return header
