"""What a worker and `openledger train` make of a cluster."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from prometheus_client import CollectorRegistry, generate_latest
from ray_world import LIMITS, filled_store, mixed_requests, saved_backbone, two_nodes

from inference import cli
from inference.api.engine_figures import EngineCollector
from inference.api.engine_room import EngineRoom
from inference.cpu_executor import CpuExecutor
from inference.engine import open_engine
from inference.request import Answer, Request
from inference.serving_engine import ServingEngine


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
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    saved_backbone(tmp_path / "base")
    base = ("--base", str(tmp_path / "base"), "--ray", f"127.0.0.1:{port}")
    for arguments in (
        parse("train", "--datanet", "0", "--out", "x", *base),
        parse("worker", "-d", str(tmp_path / "worker"), *base, "--log", "error"),
    ):
        assert arguments.run(arguments) == 1
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert "CLUSTER_UNREACHABLE" in told


def test_a_gpu_and_a_cluster_are_not_asked_for_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = parse("worker", "-d", str(tmp_path), "--ray", "auto", "--device", "cuda")
    assert arguments.run(arguments) == 1
    assert "BAD_DEVICE" in capsys.readouterr().err


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
        with trio.fail_after(90):
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
