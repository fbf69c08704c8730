"""Where a node listens for wallets and for Prometheus."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from node.errors import NodeError
from node.log import Log
from node.metrics import Metrics
from node.metrics_parts import rpc_figures
from node.metrics_server import MetricsServer
from node.rpc.backend import Backend
from node.rpc.dispatch import Dispatcher
from node.rpc.heads import Heads
from node.rpc.limits import RpcConfig
from node.rpc.methods import all_methods
from node.rpc.server import RpcServer

_log = Log("node")


class DoorConfig(Protocol):
    """What of a node's configuration is about listening."""

    @property
    def rpc(self) -> RpcConfig:
        """Where and for whom JSON-RPC is served."""

    @property
    def prometheus(self) -> tuple[str, int] | None:
        """Where metrics are served; None for nowhere."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the node listens, and the tasks that serve there."""

    rpc: tuple[str, int]
    prometheus: tuple[str, int] | None
    tasks: tuple[Callable[[], Awaitable[None]], ...]


async def open_doors(config: DoorConfig, backend: Backend, heads: Heads, metrics: Metrics) -> Doors:
    """Listen for JSON-RPC and, where asked, for metrics; raises NodeError for a port in use."""
    rpc = _rpc_server(config, backend, heads, metrics)
    metrics.sources.append(lambda: rpc_figures(rpc))
    if config.prometheus is None:
        return Doors(await _listen(rpc, config.rpc.port, "--rpc-port"), None, (rpc.run,))
    prometheus = MetricsServer(metrics, *config.prometheus)
    figures = await _listen(prometheus, config.prometheus[1], "--prometheus-port")
    try:
        calls = await _listen(rpc, config.rpc.port, "--rpc-port")
    except NodeError:
        await prometheus.aclose()
        raise
    return Doors(calls, figures, (rpc.run, prometheus.run))


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


def _rpc_server(config: DoorConfig, backend: Backend, heads: Heads, metrics: Metrics) -> RpcServer:
    limits = config.rpc.limits
    dispatcher = Dispatcher(
        all_methods(backend, heads),
        batch_length=limits.batch_length,
        response_bytes=limits.response_bytes,
        turns=backend.turns,
    )
    return RpcServer(dispatcher, config.rpc, metrics.health)
