"""The composition root: opens the parts of a node, wires them, and runs them in one nursery."""

from __future__ import annotations

import errno
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import trio

from consensus.interface import Agreement
from genesis.spec import ChainSpec
from node.agreement import agreement_settings, open_agreement
from node.application import BestState, NodeApplication
from node.blobs import BlobStore
from node.chain import Chain
from node.declarations import DeclaredBlobs
from node.errors import NodeError
from node.log import Log
from node.metrics import Metrics
from node.metrics_server import MetricsServer
from node.native_runtime import NativeRuntime
from node.paths import ChainPaths
from node.pool import Pool
from node.rpc.backend import Backend, NodeFacts
from node.rpc.dispatch import Dispatcher
from node.rpc.heads import Heads
from node.rpc.limits import RpcConfig
from node.rpc.methods import all_methods
from node.rpc.server import RpcServer
from node.storage.pruning import Pruning
from node.version import node_version

SWITCH_INTERVAL = 0.0005
"""Seconds after which a busy thread lets the event loop run; 5 ms by default is far too long."""
BLOB_COLLECTION_SECONDS = 3600
_log = Log("node")


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything that the command line decides.

    key_seed: the 32 secret bytes of the consensus key, None on a node that only follows;
    make_record: whether a missing record of earlier signatures may be made.
    """

    spec: ChainSpec
    base_path: Path
    name: str = "openledger"
    key_seed: bytes | None = field(default=None, repr=False)
    make_record: bool = False
    pruning: Pruning = Pruning()
    rpc: RpcConfig = RpcConfig()
    prometheus: tuple[str, int] | None = ("127.0.0.1", 9615)

    @property
    def paths(self) -> ChainPaths:
        """The folders of the chain."""
        return ChainPaths.of(self.base_path, self.spec.id)


@dataclass(frozen=True, slots=True)
class RunningNode:
    """The parts of a node that runs, and where it listens."""

    chain: Chain
    pool: Pool
    agreement: Agreement
    metrics: Metrics
    blobs: BlobStore
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
        agreement = open_agreement(
            settings, config.paths, config.key_seed, make_record=config.make_record
        )
        pool = Pool(BestState(chain, runtime))
        blobs = BlobStore(config.paths.blobs, DeclaredBlobs(chain))
        metrics = Metrics(
            chain, pool, name=config.name, chain_id=config.spec.id, version=node_version()
        )
        heads = Heads(chain)
        backend = Backend(chain, pool, runtime, _facts(config), blobs)
        try:
            doors = await _open_doors(config, backend, heads, metrics)
            async with trio.open_nursery() as nursery:
                for task in (heads.run, metrics.run, pool.run, *doors.tasks):
                    nursery.start_soon(task)
                nursery.start_soon(_collect_blobs, blobs)
                nursery.start_soon(agreement.run, NodeApplication(chain, pool, runtime))
                _tell_start(backend.facts, config.name)
                task_status.started(
                    RunningNode(chain, pool, agreement, metrics, blobs, doors.rpc, doors.prometheus)
                )
        finally:
            pool.close()
            agreement.close()


def _tell_start(facts: NodeFacts, name: str) -> None:
    _log.info("node started", name=name, role=facts.roles[0], version=facts.version)
    if "Authority" not in facts.roles:
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


@dataclass(frozen=True, slots=True)
class _Doors:
    """Where the node listens, and the tasks that serve there."""

    rpc: tuple[str, int]
    prometheus: tuple[str, int] | None
    tasks: tuple[Callable[[], Awaitable[None]], ...]


async def _open_doors(
    config: NodeConfig, backend: Backend, heads: Heads, metrics: Metrics
) -> _Doors:
    rpc = _rpc_server(config, backend, heads, metrics)
    metrics.connections = lambda: rpc.connections
    if config.prometheus is None:
        return _Doors(await _listen(rpc, config.rpc.port, "--rpc-port"), None, (rpc.run,))
    prometheus = MetricsServer(metrics, *config.prometheus)
    figures = await _listen(prometheus, config.prometheus[1], "--prometheus-port")
    try:
        calls = await _listen(rpc, config.rpc.port, "--rpc-port")
    except NodeError:
        await prometheus.aclose()
        raise
    return _Doors(calls, figures, (rpc.run, prometheus.run))


class _Server(Protocol):
    async def listen(self) -> tuple[str, int]: ...


async def _listen(server: _Server, port: int, option: str) -> tuple[str, int]:
    try:
        host, bound = await server.listen()
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"is not to be had ({error})"
        raise NodeError(f"port {port} {why}; choose another with {option}") from error
    _log.info(
        "listening", what=option.removeprefix("--").removesuffix("-port"), host=host, port=bound
    )
    return host, bound


def _rpc_server(config: NodeConfig, backend: Backend, heads: Heads, metrics: Metrics) -> RpcServer:
    limits = config.rpc.limits
    dispatcher = Dispatcher(
        all_methods(backend, heads),
        batch_length=limits.batch_length,
        response_bytes=limits.response_bytes,
    )
    return RpcServer(dispatcher, config.rpc, metrics.health)


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
