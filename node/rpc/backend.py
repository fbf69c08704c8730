"""What the methods read from and act on, with the errors of the node told in JSON-RPC's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from node.chain import Chain
from node.errors import StatePruned, UnknownBlock
from node.rpc.errors import execution_failed, state_discarded, unknown_api, unknown_block
from node.runtime_interface import RuntimeInterface
from runtime.frame.runtime_api import ApiArgumentError, UnknownApi
from runtime.primitives.header import Header
from runtime.primitives.scale import decode
from runtime.primitives.version import RuntimeVersion
from runtime.state.store import MissingNode, State

if TYPE_CHECKING:
    from node.blob_exchange import BlobExchange
    from node.blobs import BlobStore
    from node.evidence import EvidenceFolder
    from node.pool import Pool
    from node.private_exchange import PrivateExchange


ROOM_BESIDE_EXTRINSIC = 64
"""Bytes of the other arguments of a runtime call that takes an extrinsic."""


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
class Peer:
    """A connected peer, as `system_peers` shows it."""

    peer_id: str
    roles: str
    best_hash: bytes
    best_number: int


class PeerView(Protocol):
    """What JSON-RPC shows of the network."""

    def local_id(self) -> str:
        """Name this node's peer id."""

    def addresses(self) -> Sequence[str]:
        """List the multiaddresses at which peers reach this node."""

    def peers(self) -> Sequence[Peer]:
        """List the connected peers."""

    def is_syncing(self) -> bool:
        """Tell whether the node is behind its peers."""


class NoPeers:
    """The view of a node that runs without a network."""

    def local_id(self) -> str:
        """Return no name."""
        return ""

    def addresses(self) -> Sequence[str]:
        """Return none."""
        return ()

    def peers(self) -> Sequence[Peer]:
        """Return none."""
        return ()

    def is_syncing(self) -> bool:
        """Return False: there is nobody to be behind of."""
        return False


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
        block_hash = self.at(block_hash)
        try:
            return self.chain.state_at(block_hash)
        except UnknownBlock:
            raise unknown_block(block_hash) from None
        except (StatePruned, MissingNode):
            raise state_discarded(block_hash) from None

    def call_api(self, method: str, data: bytes, block_hash: bytes | None) -> bytes:
        """Make a runtime call; raises `RpcError` for unknown names and malformed arguments.

        Arguments above an extrinsic of the pool's limit are refused: they take long to decode.
        """
        if len(data) > self.pool.limits.extrinsic_bytes + ROOM_BESIDE_EXTRINSIC:
            raise execution_failed(f"the {len(data)} bytes of arguments are too many")
        block_hash = self.at(block_hash)
        state = self.state(block_hash)
        try:
            return self.runtime.call_api(state, self.header(block_hash), method, data)
        except UnknownApi:
            raise unknown_api(method) from None
        except ApiArgumentError as fault:
            raise execution_failed(f"{method} cannot decode its arguments: {fault}") from None
        except MissingNode:
            raise state_discarded(block_hash) from None

    def runtime_version(self, block_hash: bytes | None) -> RuntimeVersion:
        """Read the version of the rules behind a block."""
        data = self.call_api("Core_version", b"", block_hash)
        version: RuntimeVersion = decode(RuntimeVersion, data)
        return version
