"""`openledger worker`: connect, register, serve until told to stop."""

from __future__ import annotations

import argparse
import signal
from dataclasses import replace
from functools import partial

import trio

from inference import serving_process
from inference.api.keys import KeyFile
from inference.backbone.model import Backbone
from inference.cluster.connection import joined
from inference.log import Log, set_up
from inference.worker.chain_view import ChainError
from inference.worker.devices import bytes_of, limits_on, pages_of
from inference.worker.failures import exit_status
from inference.worker.node_view import NodeView
from inference.worker.private_line import NodeLine
from inference.worker.registration import register
from inference.worker.replicas import check_replicas, device_here, engines_of
from inference.worker.secrets_file import key_from_file, key_from_option
from inference.worker.submitting import SubmissionPolicy
from inference.worker.worker import WorkerConfig, open_worker
from node.client.errors import Unreachable
from node.client.rpc import NodeClient
from node.client.signing import KeyPair

_LOG = Log("worker")
_LEAST_WAIT, _MOST_WAIT = 1.0, 30.0


def run_worker(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status."""
    set_up(arguments.log)
    return exit_status(partial(_start, arguments))


def _start(arguments: argparse.Namespace) -> None:
    check_replicas(arguments)
    if arguments.key_uri is None:
        keys = [key_from_file(arguments.key_file or arguments.base_path / "worker.key")]
    else:
        keys = [key_from_option(arguments.key_uri)]
    if arguments.validator_uri is not None:
        keys.append(key_from_option(arguments.validator_uri))
    backbone = Backbone.load(arguments.base)
    _LOG.info(
        "base model loaded",
        folder=arguments.base,
        hash=backbone.content_hash,
        context=backbone.config.max_position_embeddings,
    )
    with joined(arguments.ray):
        trio.run(_run, arguments, keys, backbone)


async def _run(arguments: argparse.Namespace, keys: list[KeyPair], backbone: Backbone) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve, arguments, keys, backbone)
            async for number in signals:
                _LOG.info("stopping", signal=signal.Signals(number).name)
                break
            nursery.cancel_scope.cancel()


async def _serve(arguments: argparse.Namespace, keys: list[KeyPair], backbone: Backbone) -> None:
    wait = _LEAST_WAIT
    while True:
        try:
            async with NodeClient.connect(arguments.node) as client:
                _LOG.info("node found", url=arguments.node, genesis=client.genesis_hash)
                await _work(arguments, client, keys, backbone)
        except* Unreachable as group:
            _LOG.warning("node unreachable", retry_seconds=wait, cause=group.exceptions[0])
        await trio.sleep(wait)
        wait = min(_MOST_WAIT, 2 * wait)


async def _work(
    arguments: argparse.Namespace, client: NodeClient, keys: list[KeyPair], backbone: Backbone
) -> None:
    view = NodeView(client)
    endpoint = arguments.endpoint or f"http://{arguments.host}:{arguments.port}"
    key, validator = keys[0], keys[1] if len(keys) > 1 else None
    try:
        await register(view, key, validator, endpoint, arguments.models, arguments.capacity)
    except ChainError as error:
        _LOG.error("registration refused", cause=error)
    config = WorkerConfig(
        folder=arguments.base_path,
        bind=f"{arguments.host}:{arguments.port}",
        capacity=arguments.capacity,
        device=device_here(arguments),
        limits=replace(limits_on(arguments.device), pages=pages_of(backbone, arguments.memory)),
        host_bytes=bytes_of(arguments.memory),
        disk_bytes=bytes_of(arguments.disk),
        threads=arguments.threads,
        policy=SubmissionPolicy(arguments.submit_receipts, arguments.submit_blocks),
        preload=arguments.preload,
        keys=None if arguments.api_keys is None else KeyFile(arguments.api_keys),
        base_name=arguments.base.resolve().name,
        engines=engines_of(arguments),
    )
    async with open_worker(view, backbone, key, config, NodeLine(client)):
        serving_process.settle()
        await trio.sleep_forever()
