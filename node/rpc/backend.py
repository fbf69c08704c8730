"""What the methods read from and act on, with the errors of the node told in JSON-RPC's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import thread_time
from typing import TYPE_CHECKING

import trio

from node.chain import Chain
from node.errors import StatePruned, UnknownBlock
from node.rpc.errors import (
    RpcError,
    execution_failed,
    rules_discarded,
    state_discarded,
    unknown_api,
    unknown_block,
)
from node.rpc.peer_view import NoPeers, Peer, PeerView
from node.rpc.slow_calls import SlowCalls
from node.rpc.work import AllTurns, Work, all_turns
from node.runtime_interface import RuntimeInterface
from runtime.frame.runtime_api import ApiArgumentError, OtherRules, UnknownApi
from runtime.primitives.header import Header
from runtime.primitives.scale import decode
from runtime.primitives.version import RuntimeVersion
from runtime.state.store import MissingNode, State

if TYPE_CHECKING:
    from node.blob_exchange import BlobExchange
    from node.blobs import BlobStore
    from node.evidence import EvidenceFolder
    from node.node_keys import NodeKeys
    from node.offchain import Notes
    from node.pool import Pool
    from node.private_exchange import PrivateExchange


ROOM_BESIDE_EXTRINSIC = 64
"""Bytes of the other arguments of a runtime call that takes an extrinsic."""
LONG_ARGUMENTS = 4096
"""Bytes of arguments from which on a runtime call counts as long."""
EXECUTING = ("DryRunApi_", "Core_execute", "BlockBuilder_")
"""Runtime calls that execute extrinsics."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What does not change while a node runs.

    chain_type: "Development", "Local" or "Live"; properties: what wallets show, such as
    `ss58Format`, `tokenDecimals` and `tokenSymbol`; roles: "Authority" or "Full".
    """

    chain: str
    chain_type: str
    name: str
    version: str
    properties: Mapping[str, object]
    roles: tuple[str, ...] = ("Full",)


@dataclass(frozen=True, slots=True)
class Backend:
    """The parts of a node behind its JSON-RPC."""

    chain: Chain
    pool: Pool
    runtime: RuntimeInterface
    facts: NodeFacts
    blobs: BlobStore | None = None
    network: PeerView = field(default_factory=NoPeers)
    private: PrivateExchange | None = None
    exchange: BlobExchange | None = None
    evidence: EvidenceFolder | None = None
    keys: NodeKeys | None = None
    notes: Notes | None = None
    turns: AllTurns = field(default_factory=all_turns)
    slow_apis: SlowCalls = field(default_factory=SlowCalls)

    def at(self, block_hash: bytes | None) -> bytes:
        """Name the block to read at: the given one, or the best."""
        return self.chain.best().hash if block_hash is None else block_hash

    def header(self, block_hash: bytes) -> Header:
        """Read a header; raises `RpcError` for an unknown block."""
        header = self.chain.header(block_hash)
        if header is None:
            raise unknown_block(block_hash)
        return header

    def state(self, block_hash: bytes | None) -> State:
        """Give the state behind a block, the best where None; raises `RpcError`."""
        return self._state(self.at(block_hash), state_discarded)

    def _state(self, block_hash: bytes, discarded: Callable[[bytes], RpcError]) -> State:
        try:
            return self.chain.state_at(block_hash)
        except UnknownBlock:
            raise unknown_block(block_hash) from None
        except (StatePruned, MissingNode):
            raise discarded(block_hash) from None

    def call_api(self, method: str, data: bytes, block_hash: bytes | None) -> bytes:
        """Make a runtime call; raises `RpcError` for unknown names and malformed arguments.

        Arguments above an extrinsic of the pool's limit are refused: they take long to decode.
        """
        block_hash = self.at(block_hash)
        state = self._state(block_hash, rules_discarded)
        try:
            return self.call_on(state, self.header(block_hash), method, data)
        except MissingNode:
            raise rules_discarded(block_hash) from None

    def call_on(self, state: State, header: Header, method: str, data: bytes) -> bytes:
        """Make a runtime call on a state that is held; raises MissingNode where it is pruned."""
        if len(data) > self.pool.limits.extrinsic_bytes + ROOM_BESIDE_EXTRINSIC:
            raise execution_failed(f"the {len(data)} bytes of arguments are too many")
        try:
            return self.runtime.call_api(state, header, method, data)
        except UnknownApi:
            raise unknown_api(method) from None
        except ApiArgumentError as fault:
            raise execution_failed(f"{method} cannot decode its arguments: {fault}") from None
        except OtherRules as fault:
            raise execution_failed(str(fault)) from None

    async def run_api(self, method: str, data: bytes, block_hash: bytes | None) -> bytes:
        """Make a runtime call, in a thread where it takes long; raises as `call_api` does."""
        call = partial(self.call_api, method, data, self.at(block_hash))
        return await self._run(call, method, data)

    async def run_on(self, state: State, header: Header, method: str, data: bytes) -> bytes:
        """Make a runtime call, in a thread where it takes long; raises as `call_on` does."""
        call = partial(self.call_on, state, header, method, data)
        return await self._run(call, method, data)

    async def _run(self, call: Callable[[], bytes], method: str, data: bytes) -> bytes:
        if not self._takes_long(method, data):
            return self._timed(call, method)
        async with self.turns[Work.RULES].turn():
            return await trio.to_thread.run_sync(call)

    def run_quick_api(self, method: str, data: bytes, block_hash: bytes | None) -> bytes | None:
        """Make a runtime call as `call_api` does if it takes short; None where it takes long."""
        if self._takes_long(method, data):
            return None
        return self._timed(partial(self.call_api, method, data, block_hash), method)

    def _takes_long(self, method: str, data: bytes) -> bool:
        """Tell what has long arguments, executes extrinsics, or took long a while ago."""
        return (
            len(data) > LONG_ARGUMENTS
            or method.startswith(EXECUTING)
            or self.slow_apis.slow(method, trio.current_time())
        )

    def _timed(self, call: Callable[[], bytes], method: str) -> bytes:
        begun = thread_time()
        try:
            return call()
        finally:
            self.slow_apis.note(method, thread_time() - begun, trio.current_time())

    def runtime_version(self, block_hash: bytes | None) -> RuntimeVersion:
        """Read the version of the rules behind a block."""
        data = self.call_api("Core_version", b"", block_hash)
        version: RuntimeVersion = decode(RuntimeVersion, data)
        return version


__all__ = ["Backend", "NoPeers", "NodeFacts", "Peer", "PeerView"]
