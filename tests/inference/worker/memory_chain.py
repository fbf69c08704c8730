"""The real runtime in memory, block by block, as a `ChainView` of the worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import trio
import trio.testing
from dev_chain import next_claim

from consensus.interface import BlockRef
from inference.worker.chain_view import ChainError, ChainReason, Head
from inference.worker.worker import Worker
from node.client.outcome import named_error
from node.client.signing import KeyPair, sign_extrinsic
from runtime import construct, executive
from runtime.frame.event_records import EventRecord
from runtime.primitives.digest import pre_digest_item
from runtime.primitives.errors import InvalidTransaction
from runtime.primitives.extrinsic import Extensions, Immortal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Header
from runtime.state.overlay import Overlay
from runtime.state.store import LayeredState, MemoryState, State
from tests.patience import PATIENCE


async def rested(*workers: Worker, enough: Callable[[], bool] = lambda: False) -> None:
    """Wait until the workers have done what the last block asks of them, however long that takes.

    Nothing is ready to run, no thread computes, and no duty is being attended to, except one that
    only further blocks can end, as soon as there was `enough` of it.
    """
    limiters = [trio.to_thread.current_default_thread_limiter()]
    for worker in workers:
        limiters += [worker.attributing._thread, worker.handing_out._thread]
    with trio.fail_after(PATIENCE):
        while True:
            await trio.testing.wait_all_tasks_blocked(0.01)
            computes = any(limiter.borrowed_tokens for limiter in limiters)
            attends = any(worker.committee._attending for worker in workers)
            if not computes and (enough() or not attends):
                return
            await trio.sleep(0.005)


class MemoryChain:
    """Every block is final; an extrinsic gets a block of its own."""

    def __init__(self, genesis_config: dict[str, Any]) -> None:
        self.state: State = MemoryState(construct.genesis_state(genesis_config))
        self.header: Header = executive.genesis_header(self.state.root)
        self.genesis = self.header.hash()
        self.blobs: dict[bytes, bytes] = {}
        self.seen: list[EventRecord] = []
        self._subscribers: list[trio.MemorySendChannel[Head]] = []

    @property
    def runtime(self) -> construct.Runtime:
        return construct.Runtime(Overlay(self.state))

    @property
    def height(self) -> int:
        return self.header.number

    @property
    def genesis_hash(self) -> bytes:
        return self.genesis

    def finalized(self) -> BlockRef:
        return BlockRef(self.header.hash(), self.height)

    def state_at(self, block_hash: bytes) -> State:
        return self.state

    def block(self, *extrinsics: bytes) -> tuple[EventRecord, ...]:
        """Make a block; raises InvalidTransaction where it cannot hold an extrinsic."""
        built = executive.build_block(
            self.header,
            self.state,
            timestamp=1000 * (self.height + 1),
            digest=(pre_digest_item(next_claim(self.runtime, self.header)),),
            candidates=extrinsics,
            full=lambda: False,
        )
        for _, refusal in built.refused:
            raise refusal
        outcome = executive.apply_block(self.header, self.state, built.block)
        self.state = LayeredState(self.state, outcome.changes, outcome.update)
        self.header = outcome.header
        self.runtime.check_invariants()
        raw = self.state.get(construct.storage_key("System", "Events"))
        assert raw is not None
        events = tuple(construct.EVENTS.decode(raw))
        self.seen += events
        for subscriber in self._subscribers:
            subscriber.send_nowait(Head(self.height, self.header.hash(), events))
        return events

    def call(self, signer: KeyPair, pallet: str, name: str, /, **arguments: Any) -> Any:
        """Make a call in a block of its own and return the last event of its pallet."""
        events = self.include(construct.encode_call(pallet, name, **arguments), signer)
        return [record.event for record in events if record.pallet == pallet][-1]

    def include(self, call: bytes, signer: KeyPair) -> tuple[EventRecord, ...]:
        nonce = self.runtime.system.account[signer.account_id].nonce
        signed = sign_extrinsic(
            call,
            signer,
            Extensions(Immortal(), nonce, 0),
            spec_version=1,
            transaction_version=1,
            genesis_hash=self.genesis,
            birth_hash=self.genesis,
        )
        try:
            executive.validate_transaction(self.state, self.header, signed)
            events = self.block(signed)
        except InvalidTransaction as refusal:
            raise ChainError(ChainReason.REFUSED, str(refusal), refusal.reason.name) from refusal
        own = tuple(record for record in events if record.extrinsic == 1)
        for record in own:
            if record.name == "ExtrinsicFailed":
                error = named_error(record.event.dispatch_error, self.header.hash())
                name = f"{error.pallet}.{error.error}"
                raise ChainError(ChainReason.FAILED, str(error), name)
        return own

    async def storage(self, pallet: str, item: str, *keys: Any) -> Any:
        await trio.lowlevel.checkpoint()
        declared = construct.storage_item(pallet, item)
        raw = self.state.get(declared.key(*keys))
        if raw is None:
            return declared.default if declared.has_default else None
        return declared.decode_value(raw)

    async def items(
        self, pallet: str, item: str, *prefix: Any
    ) -> Sequence[tuple[tuple[Any, ...], Any]]:
        await trio.lowlevel.checkpoint()
        declared = construct.storage_item(pallet, item)
        start = declared.key(*prefix)
        return [
            (declared.split_key(key), declared.decode_value(raw))
            for key, raw in self.state.iterate(start)
        ]

    async def blob(self, content_hash: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        if content_hash not in self.blobs:
            raise ChainError(ChainReason.NO_BLOB, "not here")
        return self.blobs[content_hash]

    async def put_blob(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        digest = blake2_256(data)
        if self.runtime.declared_blob(digest) != len(data):
            raise ChainError(ChainReason.REFUSED, "nobody declared this blob")
        self.blobs[digest] = data

    async def submit(self, call: bytes, signer: KeyPair) -> tuple[EventRecord, ...]:
        await trio.lowlevel.checkpoint()
        return self.include(call, signer)

    async def heads(self) -> AsyncGenerator[Head, None]:
        send, receive = trio.open_memory_channel[Head](1000)
        self._subscribers.append(send)
        try:
            while True:
                yield await receive.receive()
        finally:
            self._subscribers.remove(send)

    def named(self, pallet: str, name: str) -> list[Any]:
        """Return all events of a name so far."""
        return [r.event for r in self.seen if (r.pallet, r.name) == (pallet, name)]
