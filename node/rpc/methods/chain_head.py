"""`chainHead_v1_*`: follow the chain's head, and read at the blocks that were told of."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from node.rpc.backend import Backend
from node.rpc.chain_head.blocks import HeadBlock, Runtimes
from node.rpc.chain_head.errors import (
    duplicate_hashes,
    not_pinned,
    not_waiting,
    too_many_follows,
    without_runtime,
)
from node.rpc.chain_head.follower import Follower
from node.rpc.chain_head.limits import FollowLimits, Room
from node.rpc.chain_head.operation import Job
from node.rpc.chain_head.reads import Reads
from node.rpc.chain_head.schemas import FOLLOW_EVENT, STARTED, STORAGE_STARTED
from node.rpc.heads import Heads
from node.rpc.kinds import AnyMethod, SessionMethod, SubscribeMethod
from node.rpc.params import (
    MalformedError,
    Param,
    boolean,
    decoder,
    hash32,
    hex_bytes,
    list_of,
    text,
    to_hex,
)
from node.rpc.schema import HASH, HEX, NULL, array, nullable
from node.rpc.storage_query import QUERIES, Query, weight
from node.rpc.subscriptions import Session, Subscription
from runtime.primitives.header import Header
from runtime.primitives.scale import encode

FOLLOW = "chainHead_v1_followEvent"
MOST_UNPINNED = 4096
"""Blocks of one request."""

_LIMIT_REACHED = {"result": "limitReached"}
_HASHES = list_of(hash32, MOST_UNPINNED)


@decoder({"oneOf": [HASH, array(HASH, MOST_UNPINNED)]})
def _hashes(value: object) -> list[bytes]:
    """Decode one hash or an array of them."""
    if isinstance(value, str):
        return [hash32(value)]
    if not isinstance(value, list):
        raise MalformedError("expected a hash or an array of hashes")
    return _HASHES(value)


_FOLLOW = Param("followSubscription", text, doc="what chainHead_v1_follow returned")
_HASH = Param("hash", hash32, doc="of a pinned block")
_OPERATION = Param("operationId", text, doc="what the method that began it returned")


def chain_head_methods(
    backend: Backend, heads: Heads, limits: FollowLimits | None = None
) -> list[AnyMethod]:
    """List the methods of this group."""
    return ChainHead(backend, heads, limits or FollowLimits()).methods()


class ChainHead:
    """All followers of a node's head, by connection."""

    def __init__(self, backend: Backend, heads: Heads, limits: FollowLimits) -> None:
        self._limits = limits
        self._story = heads.story
        self._runtimes = Runtimes(backend.runtime)
        self._reads = Reads(backend, heads.story, limits)
        self._room = Room(limits.all_operations, limits.all_operation_bytes)
        self._followers: WeakKeyDictionary[Session, dict[str, Follower]] = WeakKeyDictionary()

    def methods(self) -> list[AnyMethod]:
        """List the methods."""
        return [
            SubscribeMethod(
                "chainHead_v1_follow",
                self.follow,
                FOLLOW,
                (),
                (Param("withRuntime", boolean, doc="whether to tell of runtimes"),),
                result=FOLLOW_EVENT,
            ),
            self._method("unfollow", self.unfollow, (), NULL),
            self._method("header", self.header, (_HASH,), nullable(HEX)),
            self._method("body", self.body, (_HASH,), STARTED),
            self._method(
                "call",
                self.call,
                (
                    _HASH,
                    Param("function", text, doc="such as `Core_version`"),
                    Param("callParameters", hex_bytes, doc="SCALE of its arguments"),
                ),
                STARTED,
            ),
            self._method(
                "storage",
                self.storage,
                (
                    _HASH,
                    Param("items", QUERIES, doc="what to read"),
                    Param("childTrie", hex_bytes, optional=True, doc="there are none"),
                ),
                STORAGE_STARTED,
            ),
            self._method("continue", self.go_on, (_OPERATION,), NULL),
            self._method("stopOperation", self.stop_operation, (_OPERATION,), NULL),
            self._method(
                "unpin", self.unpin, (Param("hashOrHashes", _hashes, doc="of pinned blocks"),), NULL
            ),
        ]

    async def follow(self, subscription: Subscription, with_runtime: bool) -> None:
        """Follow the chain's head: new, best, finalised and pruned blocks, in a sound order.

        Every block told of is pinned, and can be read until `chainHead_v1_unpin`. `stop` ends the
        subscription: news were lost, too many or too old blocks are pinned, or the client does not
        read. A connection may have 4 of them.
        """
        session = subscription.session
        if len(session.idents(FOLLOW)) > self._limits.follows:
            raise too_many_follows(self._limits.follows)
        runtimes = self._runtimes if with_runtime else None
        follower = Follower(subscription, self._story, runtimes, self._limits, self._room)
        mine = self._followers.setdefault(session, {})
        mine[subscription.ident] = follower

        def end() -> None:
            mine.pop(subscription.ident, None)
            follower.end()

        subscription.on_close(end)
        await follower.begin()

    def unfollow(self, session: Session, ident: str) -> None:
        """End a subscription and all that it holds; nothing happens where it has ended already."""
        session.close(ident, FOLLOW)

    def header(self, session: Session, ident: str, block_hash: bytes) -> str | None:
        """Return the SCALE encoding of a pinned block's header; null when the follow has ended."""
        follower = self._find(session, ident)
        if follower is None:
            return None
        return to_hex(encode(Header, _pinned(follower, block_hash).header))

    def body(self, session: Session, ident: str, block_hash: bytes) -> object:
        """Begin to read a pinned block's extrinsics: the event `operationBodyDone` brings them.

        Each is SCALE-encoded, with its length in front. `limitReached` when the follow has ended,
        or too many operations are under way.
        """
        follower = self._find(session, ident)
        if follower is None:
            return _LIMIT_REACHED
        return self._start(follower, _pinned(follower, block_hash), 0, self._reads.body())

    def call(
        self, session: Session, ident: str, block_hash: bytes, function: str, arguments: bytes
    ) -> object:
        """Begin a runtime call on a pinned block: `operationCallDone` brings what it returns.

        What it would write is discarded. `operationError` says why it fails.
        """
        follower = self._find(session, ident)
        if follower is None:
            return _LIMIT_REACHED
        if follower.runtimes is None:
            raise without_runtime()
        block = _pinned(follower, block_hash)
        size = len(function) + len(arguments)
        return self._start(follower, block, size, self._reads.call(function, arguments))

    def storage(
        self,
        session: Session,
        ident: str,
        block_hash: bytes,
        queries: list[Query],
        child: bytes | None,
    ) -> object:
        """Begin to read a pinned block's storage: `operationStorageItems` bring what is found.

        `operationStorageDone` ends them; after `operationWaitingForContinue`, which only questions
        about descendants lead to, `chainHead_v1_continue` brings more. There are no child tries, so
        a `childTrie` has no items. Of more items than there is room for, the last are discarded.
        """
        follower = self._find(session, ident)
        if follower is None:
            return _LIMIT_REACHED
        block = _pinned(follower, block_hash)
        taken = queries[: follower.room.count]
        asked = taken if child is None else []
        started = self._start(
            follower, block, weight(asked), self._reads.storage(asked), len(taken)
        )
        if started is not _LIMIT_REACHED:
            started["discardedItems"] = len(queries) - len(taken)
        return started

    def go_on(self, session: Session, ident: str, operation: str) -> None:
        """Ask for more of an operation that said `operationWaitingForContinue`."""
        follower = self._find(session, ident)
        found = follower.operations.get(operation) if follower else None
        if found is None:
            return
        if not found.waits:
            raise not_waiting()
        found.go_on()

    def stop_operation(self, session: Session, ident: str, operation: str) -> None:
        """Stop an operation; nothing happens where it has ended already."""
        follower = self._find(session, ident)
        found = follower.operations.get(operation) if follower else None
        if follower is not None and found is not None:
            follower.finish(found)

    def unpin(self, session: Session, ident: str, hashes: list[bytes]) -> None:
        """Let go of one block, or of all of an array; operations on them still end normally."""
        follower = self._find(session, ident)
        if follower is None:
            return
        if len(set(hashes)) < len(hashes):
            raise duplicate_hashes()
        for block_hash in hashes:
            _pinned(follower, block_hash)
        follower.unpin(hashes)

    def _method(
        self, name: str, call: Any, params: tuple[Param, ...], result: dict[str, Any]
    ) -> SessionMethod:
        return SessionMethod(f"chainHead_v1_{name}", call, (_FOLLOW, *params), result=result)

    def _find(self, session: Session, ident: str) -> Follower | None:
        return self._followers.get(session, {}).get(ident)

    def _start(
        self, follower: Follower, block: HeadBlock, size: int, job: Job, count: int = 1
    ) -> dict[str, Any]:
        count = max(count, 1)
        if count > follower.room.count or size > follower.room.size:
            return _LIMIT_REACHED
        operation = follower.start(block, count, size, job)
        return {"result": "started", "operationId": operation.ident}


def _pinned(follower: Follower, block_hash: bytes) -> HeadBlock:
    block = follower.pins.get(block_hash)
    if block is None:
        raise not_pinned()
    return block
