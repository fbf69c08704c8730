"""What a worker and `openledger train` make of a cluster."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import ray
import torch
import trio
from prometheus_client import CollectorRegistry, generate_latest
from ray_world import LIMITS, filled_store, mixed_requests, saved_backbone, settings, two_nodes

from inference import cli
from inference.adapters.store import AdapterStore
from inference.api.engine_figures import EngineCollector
from inference.api.engine_room import EngineRoom
from inference.backbone.model import Backbone
from inference.cluster.engines import RayEngines
from inference.cpu_executor import CpuExecutor
from inference.cuda.open import device_executor
from inference.cuda.weights import DeviceWeights
from inference.engine import open_engine
from inference.executor import Executor
from inference.request import Answer, Limits, Request
from inference.serving_engine import ServingEngine
from inference.worker.devices import statement_in, statement_of
from inference.worker.identity import engine_statement, read_statement
from tests.patience import PATIENCE


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers(required=True))
    return parser.parse_args(arguments)


def test_a_cluster_is_an_option_and_one_engine_here_is_the_rule(tmp_path: Path) -> None:
    worker = parse("worker", "-d", str(tmp_path))
    assert (worker.ray, worker.replicas) == (None, 1)
    worker = parse("worker", "-d", str(tmp_path), "--ray", "head:6379", "--replicas", "3")
    assert (worker.ray, worker.replicas) == ("head:6379", 3)
    train = parse("train", "--datanet", "2", "--out", "x", "--ray", "auto")
    assert train.ray == "auto"


def test_a_cluster_that_is_not_there_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved_backbone(tmp_path / "base")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens, and nobody else can
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        base = ("--base", str(tmp_path / "base"), "--ray", address)
        for arguments in (
            parse("train", "--datanet", "0", "--out", "x", *base),
            parse("worker", "-d", str(tmp_path / "worker"), *base, "--log", "error"),
        ):
            assert arguments.run(arguments) == 1
            told = capsys.readouterr().err
            assert told.count("\n") == 1
            assert "CLUSTER_UNREACHABLE" in told


def test_which_gpu_a_replica_gets_is_for_ray_to_choose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_ray = ("--ray", "auto", "--device", "cuda:1")
    for command in (("worker", "-d", str(tmp_path)), ("serve", "--no-auth")):
        arguments = parse(*command, *on_ray)
        assert arguments.run(arguments) == 1
        told = capsys.readouterr().err
        assert "BAD_DEVICE" in told
        assert "give --device cuda, not cuda:1" in told


@pytest.fixture
def cluster() -> Iterator[None]:
    with two_nodes():
        yield


async def answers(engine: ServingEngine, requests: list[Request]) -> list[Answer | None]:
    found = []
    for request in requests:
        async with engine.stream(request) as stream:
            async for _ in stream:
                pass
        found.append(stream.answer)
    return found


@pytest.mark.e2e
def test_a_worker_s_engine_room_serves_from_the_cluster_and_counts_what_it_did(
    tmp_path: Path, cluster: None
) -> None:
    from inference.cluster.opening import on_ray

    backbone = saved_backbone(tmp_path / "base")
    store, adapters = filled_store(tmp_path / "adapters", backbone)
    requests = mixed_requests(adapters, 4, seed=9)
    room = EngineRoom(backbone, store, LIMITS, engines=on_ray(tmp_path / "base", 1, 1))
    registry = CollectorRegistry()
    registry.register(EngineCollector(lambda: room.figures))

    async def scenario() -> None:
        executor = CpuExecutor(backbone, LIMITS.pages)
        async with open_engine(executor, backbone.tokenizer, store, LIMITS) as engine:
            expected = await answers(engine, requests)
        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                await nursery.start(room.run)
                for request in requests:
                    room.check(request)
                assert await answers(room.engine, requests) == expected
                assert room.load == (0, 0)
                drawn = sum(len(answer.output_ids) for answer in expected if answer is not None)
                text = generate_latest(registry).decode()
                assert f"openledger_engine_output_tokens_total {float(drawn)}" in text
                nursery.cancel_scope.cancel()
        assert room.crashes == 0

    trio.run(scenario)


@pytest.mark.e2e
def test_a_server_that_waits_for_a_gpu_says_so_and_can_be_stopped(tmp_path: Path) -> None:
    saved_backbone(tmp_path / "base")
    program = str(Path(sys.executable).with_name("openledger"))
    options = ("--base", str(tmp_path / "base"), "--no-auth", "--port", "0")
    command = [program, "serve", *options, "--ray", "local", "--device", "cuda"]
    log = tmp_path / "log"
    with log.open("wb") as output, subprocess.Popen(command, stderr=output) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while "1 GPUs, it has 0" not in log.read_text():
                assert time.monotonic() < deadline, log.read_text()
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    assert log.read_text().strip().endswith("server stopped")


def on_twins(backbone: Backbone, limits: Limits) -> Executor:
    """Compute as a GPU would, in bfloat16, by the kernels' twins."""
    weights = DeviceWeights.place(backbone.decoder, torch.device("cpu"), torch.bfloat16)
    return device_executor(weights, limits.pages)


@pytest.mark.e2e
def test_replicas_on_devices_say_what_they_compute_with_and_answer_as_one_here(
    tmp_path: Path, cluster: None
) -> None:
    from inference.cluster.opening import open_ray_engines

    ray.cloudpickle.register_pickle_by_value(sys.modules[on_twins.__module__])
    backbone = saved_backbone(tmp_path / "base")
    store, adapters = filled_store(tmp_path / "adapters", backbone)
    requests = mixed_requests(adapters, 8, seed=10)
    wanted = settings(2, tmp_path, device="twins of a GPU", executor=on_twins)

    def opened(
        backbone: Backbone, store: AdapterStore, limits: Limits
    ) -> AbstractAsyncContextManager[RayEngines]:
        return open_ray_engines(backbone, store, tmp_path / "base", wanted)

    room = EngineRoom(backbone, store, LIMITS, engines=opened)
    executor = on_twins(Backbone.load(tmp_path / "base", dtype=torch.bfloat16), LIMITS)

    async def scenario() -> None:
        async with open_engine(executor, backbone.tokenizer, store, LIMITS) as engine:
            expected = await answers(engine, requests)
        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                await nursery.start(room.run)
                engines = room.engine
                assert isinstance(engines, RayEngines)
                while len(engines.links) < 2:
                    await trio.sleep(0.02)
                assert await answers(engines, requests) == expected
                nursery.cancel_scope.cancel()

    trio.run(scenario)
    assert statement_in(room) == statement_of(backbone, executor) != engine_statement(backbone)
    facts = read_statement(statement_in(room))
    assert facts is not None
    assert facts["class"] == "bf16"
    longest = executor.pages * executor.shape.positions
    assert room.elsewhere is not None
    assert room.elsewhere.positions == longest
