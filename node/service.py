"""The composition root: opens the parts of a node, wires them, and runs them in one nursery."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

import trio

from consensus.core.votes import VoteDomain
from consensus.engine.engine import Engine
from consensus.interface import AgreementSettings
from consensus.session_key import SessionKey
from genesis.spec import ChainSpec
from node.agreement import agreement_settings, open_agreement
from node.application import BestState, NodeApplication
from node.blob_exchange import BlobExchange
from node.blob_exchange_limits import Keep
from node.blobs import BlobStore
from node.chain import Chain
from node.chain_events import Finalized
from node.committee_gate import CommitteeGate
from node.declarations import DeclaredBlobs
from node.doors import open_doors
from node.errors import NodeError
from node.evidence import EvidenceFolder
from node.log import Log
from node.metrics import Metrics
from node.metrics_parts import agreement_figures, exchange_figures, network_figures
from node.native_runtime import NativeRuntime
from node.network.interface import Network, RequestKind
from node.network_config import NetworkConfig, open_network
from node.node_keys import NodeKeys
from node.offchain import Notes
from node.paths import ChainPaths
from node.peers import NetworkPeers, ShownPeers
from node.pool import Pool
from node.private_exchange import PrivateExchange
from node.rpc.backend import Backend, NodeFacts
from node.rpc.heads import Heads
from node.rpc.limits import RpcConfig
from node.storage.pruning import Pruning
from node.sync.backfill import Backfill
from node.sync.serving import StateServer
from node.sync.snapshot import SnapshotSync
from node.sync.trail import Checkpoint, Trust
from node.transaction_gossip import TransactionGossip
from node.version import node_version

SWITCH_INTERVAL = 0.0005
"""Seconds after which a busy thread lets the event loop run; 5 ms by default is far too long."""
BLOB_COLLECTION_SECONDS = 3600
_log = Log("node")


class SyncMode(Enum):
    """How a node without a chain gets one."""

    FULL = "full"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything that the command line decides.

    key_seed: the 32 secret bytes of the consensus key, None on a node that only follows;
    next_key_seed: of the key that is to follow it, where there is one;
    keystore_password: for keys that are changed through JSON-RPC, None where that is refused;
    init_log: the key never signed on this chain; listen_for_double: wait for another process with
    this key before signing again; network: None meets nobody; checkpoint: an epoch's end that is
    believed.
    """

    spec: ChainSpec
    base_path: Path
    name: str = "openledger"
    key_seed: bytes | None = field(default=None, repr=False)
    next_key_seed: bytes | None = field(default=None, repr=False)
    keystore_password: str | None = field(default=None, repr=False)
    init_log: bool = False
    listen_for_double: bool = True
    pruning: Pruning = Pruning()
    rpc: RpcConfig = RpcConfig()
    prometheus: tuple[str, int] | None = ("127.0.0.1", 9615)
    network: NetworkConfig | None = None
    sync: SyncMode = SyncMode.FULL
    checkpoint: Checkpoint | None = None
    blobs: Keep = Keep.ALL

    @property
    def paths(self) -> ChainPaths:
        """The folders of the chain."""
        return ChainPaths.of(self.base_path, self.spec.id)


@dataclass(frozen=True, slots=True)
class RunningNode:
    """The parts of a node that runs, and where it listens."""

    chain: Chain
    pool: Pool
    agreement: Engine
    metrics: Metrics
    blobs: BlobStore
    network: Network
    rpc_address: tuple[str, int]
    prometheus_address: tuple[str, int] | None


class Starter(Protocol):
    """Who waits for the start; trio's `nursery.start` passes one."""

    def started(self, value: RunningNode) -> None:
        """Take the parts of the node that runs now."""


async def run_node(config: NodeConfig, task_status: Starter = trio.TASK_STATUS_IGNORED) -> None:
    """Run a node until cancelled; reports its parts once it listens.

    Raises NodeError, SigningRefused or InvalidChainSpec where it cannot start, StorageFull where
    the disk is full while it runs.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    runtime = NativeRuntime()
    runtime.prepare()
    with _open_chain(config, runtime) as chain:
        settings = agreement_settings(config.spec, chain.genesis_hash)
        network = open_network(
            config.network,
            config.spec,
            config.paths,
            settings,
            config.key_seed,
            f"openledger/{node_version()} ({config.name})",
        )
        agreement = open_agreement(
            settings,
            config.paths,
            config.key_seed,
            init_log=config.init_log,
            listen=config.listen_for_double,
            report=EvidenceFolder(config.paths.evidence).keep,
        )
        if config.next_key_seed is not None:
            agreement.add_key(SessionKey(config.next_key_seed))
        parts = _Parts(config, chain, runtime, settings, network, agreement)
        try:
            await parts.run(task_status)
        finally:
            parts.pool.close()
            agreement.close()


class _Parts:
    """The parts of a node, wired."""

    def __init__(
        self,
        config: NodeConfig,
        chain: Chain,
        runtime: NativeRuntime,
        settings: AgreementSettings,
        network: Network,
        agreement: Engine,
    ) -> None:
        self.config = config
        self.chain = chain
        self.runtime = runtime
        self.network = network
        self.agreement = agreement
        self.pool = Pool(BestState(chain, runtime))
        self.gossip = TransactionGossip(self.pool, network)
        self.peers = NetworkPeers(network, self.gossip.take)
        declared = DeclaredBlobs(chain)
        self.blobs = BlobStore(config.paths.blobs, declared)
        self.exchange = BlobExchange(network, self.blobs, declared, config.blobs)
        self.private = PrivateExchange(CommitteeGate(chain), network)
        domain = VoteDomain(settings.genesis_hash, settings.fork_id)
        self.trust = Trust(domain, settings.epoch, config.checkpoint)
        self.snapshot = SnapshotSync(chain, self.peers, self.trust)
        self.backfill = Backfill(chain, self.peers, self.trust)
        self.metrics = Metrics(
            chain, self.pool, name=config.name, chain_id=config.spec.id, version=node_version()
        )
        self.metrics.sources += [
            lambda: agreement_figures(agreement),
            lambda: network_figures(network),
            lambda: exchange_figures(self.exchange, self.private),
        ]
        self.heads = Heads(chain)
        self.backend = Backend(
            chain,
            self.pool,
            runtime,
            _facts(config),
            self.blobs,
            ShownPeers(network, chain),
            self.private,
            self.exchange,
            EvidenceFolder(config.paths.evidence),
            _keys(config, agreement),
            Notes(config.paths.notes),
        )
        network.set_handler(RequestKind.STATE, StateServer(chain).answer)
        network.set_handler(RequestKind.CONSENSUS, self._answer)

    async def _answer(self, peer: str, request: bytes) -> bytes | None:
        return await self.agreement.answer(request)

    async def run(self, task_status: Starter) -> None:
        """Run until cancelled."""
        doors = await open_doors(self.config, self.backend, self.heads, self.metrics)
        async with trio.open_nursery() as nursery:
            for task in (self.heads.run, self.metrics.run, self.pool.run, *doors.tasks):
                nursery.start_soon(task)
            await self._start_network(nursery)
            for task in (self.gossip.run, self.exchange.run, self.private.run, self._name_members):
                nursery.start_soon(task)
            nursery.start_soon(_collect_blobs, self.blobs)
            nursery.start_soon(self._agree)
            _tell_start(self.config)
            task_status.started(
                RunningNode(
                    self.chain,
                    self.pool,
                    self.agreement,
                    self.metrics,
                    self.blobs,
                    self.network,
                    doors.rpc,
                    doors.prometheus,
                )
            )

    async def _start_network(self, nursery: trio.Nursery) -> None:
        try:
            await nursery.start(self.network.run)
        except OSError as error:
            raise NodeError(
                f"peers cannot reach this node: {error}; choose another address with --port or "
                "--listen-addr"
            ) from error

    async def _agree(self) -> None:
        """Fetch a state first where that is asked for, then take part."""
        if self.config.sync is SyncMode.SNAPSHOT and not self.chain.finalized().number:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear_nothing)
                await self.snapshot.run()
                nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.backfill.run)
            await self.agreement.run(
                NodeApplication(self.chain, self.pool, self.runtime), self.peers
            )

    async def _hear_nothing(self) -> None:
        """Let go of what peers say while there is no state to judge it by."""
        while True:
            await self.peers.next()

    async def _name_members(self) -> None:
        """Tell the network whom it has to reach, now and with each epoch."""
        while True:
            events = self.chain.subscribe()
            self._name_once()
            async for event in events:
                if isinstance(event, Finalized):
                    self._name_once()
            await trio.sleep(1)

    def _name_once(self) -> None:
        epoch = self.runtime.current_epoch(self.chain.state_at(self.chain.finalized().hash))
        self.network.set_validators([member.public for member in epoch.authorities])


def _tell_start(config: NodeConfig) -> None:
    role = _facts(config).roles[0]
    _log.info("node started", name=config.name, role=role, version=node_version())
    if config.key_seed is None and config.network is None:
        _log.warning("this node makes no blocks and has no peers: its chain will not grow")


@contextmanager
def _open_chain(config: NodeConfig, runtime: NativeRuntime) -> Iterator[Chain]:
    chain = Chain.open(config.paths.database, config.spec, runtime, config.pruning)
    try:
        _log.info(
            "chain opened",
            chain=config.spec.id,
            genesis=chain.genesis_hash,
            finalised=chain.finalized().number,
            path=config.paths.folder,
        )
        yield chain
    finally:
        chain.close()
        _log.info("chain closed", finalised=chain.finalized().number)


def _keys(config: NodeConfig, agreement: Engine) -> NodeKeys:
    in_use = None if config.key_seed is None else SessionKey(config.key_seed).public
    return NodeKeys(config.paths, config.keystore_password, in_use, agreement.add_key)


def _facts(config: NodeConfig) -> NodeFacts:
    return NodeFacts(
        chain=config.spec.name,
        chain_type=config.spec.chain_type.value,
        name="OpenLedger Node",
        version=node_version(),
        properties=config.spec.properties.model_dump(),
        roles=("Authority",) if config.key_seed is not None else ("Full",),
    )


async def _collect_blobs(blobs: BlobStore) -> None:
    while True:
        await trio.sleep(BLOB_COLLECTION_SECONDS)
        try:
            freed = await trio.to_thread.run_sync(blobs.collect)
        except OSError as error:
            _log.warning("undeclared blobs could not be deleted", error=error)
            continue
        if freed:
            _log.info("undeclared blobs deleted", bytes=freed)
