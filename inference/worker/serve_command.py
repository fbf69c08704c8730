"""`openledger serve`: load a base model and adapters, serve until told to stop."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Timer

import trio

from inference import serving_process
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.peft import CONFIG
from inference.adapters.store import AdapterStore
from inference.api.errors import ApiRefused
from inference.api.keys import Authority, KeyFile
from inference.api.loading import Loader
from inference.api.loopback import Loopback, is_loopback
from inference.api.names import NAMES, sole_owner
from inference.api.server import Server, ServerConfig, running
from inference.backbone.model import Backbone
from inference.cluster.connection import joined
from inference.log import Log, set_up
from inference.request import Limits
from inference.worker.devices import (
    Device,
    build_of,
    bytes_of,
    limits_on,
    pages_of,
    weights_on,
)
from inference.worker.failures import exit_status
from inference.worker.node_source import NodeSource
from inference.worker.progress import open_meter
from inference.worker.replicas import check_replicas, device_here, engines_of

_LOG = Log("server")
Named = tuple[str, Path]
AT_ONCE_SECONDS = 2.0


def run_serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status."""
    set_up(arguments.log)
    if arguments.api_keys is None and not is_loopback(arguments.host):
        sys.stderr.write(
            f"openledger: without keys only this machine is served: give --api-keys FILE, or a "
            f"loopback address instead of {arguments.host}\n"
        )
        return 1
    if not 0 <= arguments.port < 2**16:
        sys.stderr.write(f"openledger: --port {arguments.port} is not in 0…65535\n")
        return 1
    return exit_status(partial(_start, arguments))


def _start(arguments: argparse.Namespace) -> None:
    check_replicas(arguments)
    authority = Loopback() if arguments.api_keys is None else KeyFile(arguments.api_keys)
    if isinstance(authority, KeyFile):
        _LOG.info("keys read", file=arguments.api_keys, keys=authority.count)
    with ExitStack() as stack:
        folder = arguments.store
        if folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="openledger-serve-")
            folder = Path(stack.enter_context(temporary))
        stack.enter_context(sole_owner(folder))
        backbone = Backbone.load(arguments.base, dtype=weights_on(arguments.device))
        _LOG.info(
            "base model loaded",
            folder=arguments.base,
            hash=backbone.content_hash,
            context=backbone.config.max_position_embeddings,
        )
        sources = [NodeSource(url) for url in arguments.node]
        store = AdapterStore(
            folder, backbone, fetch=sources or None, disk_bytes=bytes_of(arguments.disk)
        )
        stack.enter_context(joined(arguments.ray))
        trio.run(_run, arguments, backbone, store, authority)


async def _run(
    arguments: argparse.Namespace, backbone: Backbone, store: AdapterStore, authority: Authority
) -> None:
    pages = pages_of(backbone, arguments.memory)
    limits = replace(_limits(arguments), pages=pages)
    host = bytes_of(arguments.memory)
    device = Device(device_here(arguments), backbone, limits.pages, arguments.threads, host)
    config = ServerConfig(
        bind=f"{arguments.host}:{arguments.port}",
        base_name=arguments.name or arguments.base.resolve().name,
        executor=device.executor,
        engines=engines_of(arguments),
        build=build_of,
        names=None if arguments.store is None else arguments.store / NAMES,
        folders=[path for name, path in arguments.adapters if not name],
        threads=arguments.threads,
        limits=limits,
    )
    server = Server(backbone, store, authority, config, fetches=bool(arguments.node))
    await trio.to_thread.run_sync(load_all, server.loader, arguments.adapters)
    await trio.to_thread.run_sync(server.loader.restore)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            stop = trio.Event()
            nursery.start_soon(_hear, signals, server, stop, nursery.cancel_scope)
            async with running(server):
                serving_process.settle()
                await stop.wait()
                await server.drain()
            nursery.cancel_scope.cancel()
        _LOG.info("server stopped")


async def _hear(
    signals: AsyncIterator[int], server: Server, stop: trio.Event, scope: trio.CancelScope
) -> None:
    """Let answers under way be finished after the first signal, and end at once after another.

    While the server starts there is nothing to finish.
    """
    async for number in signals:
        _LOG.info("stopping", signal=signal.Signals(number).name)
        if stop.is_set():
            # A write to a client that does not read cannot be cancelled.
            end = Timer(AT_ONCE_SECONDS, os._exit, (128 + number,))
            end.daemon = True
            end.start()
        if stop.is_set() or not server.address:
            scope.cancel()
        stop.set()


def load_all(loader: Loader, given: Sequence[Named]) -> None:
    """Load the adapters of the command line.

    One that is named by itself has to be served (raises AdapterRefused, ApiRefused); one that is
    found in a folder and cannot be served is told of and left out.
    """
    for name, folder in given:
        if name:
            loader.add_folder(name, folder)
    found = [path for name, folder in given if not name for path in adapters_below(folder)]
    with open_meter() as meter:
        for done, path in enumerate(found, 1):
            try:
                loader.add_folder(path.name, path)
            except (AdapterRefused, ApiRefused) as refusal:
                _LOG.error("adapter left out", folder=path, cause=refusal)
            meter.show("adapters", done, len(found))


def adapters_below(folder: Path) -> Iterator[Path]:
    """Yield the PEFT folders in a folder, or itself if it is one; raises MISSING_FILE."""
    if (folder / CONFIG).exists():
        yield folder
        return
    if not folder.is_dir():
        raise AdapterRefused(AdapterReason.MISSING_FILE, f"{folder} is no folder")
    yield from (path for path in sorted(folder.iterdir()) if (path / CONFIG).exists())


def _limits(arguments: argparse.Namespace) -> Limits:
    usual = limits_on(arguments.device)
    return replace(
        usual,
        running=arguments.running or usual.running,
        guests=usual.guests if arguments.guests is None else arguments.guests,
        rows=arguments.rows or usual.rows,
        waiting=arguments.waiting,
        waiting_per_tenant=arguments.waiting_per_tenant,
    )
