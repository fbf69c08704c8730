"""The commands' keys, options and failures, and a worker's entry on chain."""

from __future__ import annotations

import argparse
import stat
from pathlib import Path

import pytest
import trio
from memory_chain import MemoryChain
from paid_world import ALICE, BOB, WORKER, new_chain

from inference import cli
from inference.worker.chain_view import ChainError
from inference.worker.failures import exit_status, told
from inference.worker.progress import open_meter, sparkline
from inference.worker.registration import register
from inference.worker.secrets_file import KeyReason, KeyRefused, key_from_file
from node.client.errors import Unreachable


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers(required=True))
    return parser.parse_args(arguments)


def test_options_are_read(tmp_path: Path) -> None:
    worker = parse("worker", "-d", str(tmp_path), "--models", "1,4", "--port", "81")
    assert (worker.models, worker.port, worker.key_uri) == ((1, 4), 81, None)
    train = parse("train", "--datanet", "3:1", "--datanet", "2", "--out", "x")
    assert train.datanet == [(3, 1), (2, None)]


def test_an_unreachable_node_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise BaseExceptionGroup("nursery", [Unreachable("ws://nowhere")])

    assert exit_status(fail) == 1
    assert "no node answers at ws://nowhere" in capsys.readouterr().err
    assert told(BaseExceptionGroup("mixed", [Unreachable("x"), KeyError("y")])) is None
    with pytest.raises(KeyError):
        exit_status(lambda: {}["y"])


def test_a_base_model_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = parse("train", "--datanet", "0", "--out", "x", "--base", str(tmp_path))
    assert arguments.run(arguments) == 1
    assert "config.json" in capsys.readouterr().err


def test_a_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "worker" / "worker.key"
    made = key_from_file(path)
    assert key_from_file(path).account_id == made.account_id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(KeyRefused) as refusal:
        key_from_file(path)
    assert refusal.value.reason is KeyReason.EXPOSED


def test_an_empty_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    with pytest.raises(KeyRefused) as refusal:
        key_from_file(path)
    assert refusal.value.reason is KeyReason.EMPTY


def entry(chain: MemoryChain) -> tuple[bytes, tuple[int, ...], int] | None:
    worker = chain.runtime.inference.workers.get(WORKER.account_id)
    return None if worker is None else (worker.endpoint, worker.models, worker.capacity)


async def test_a_worker_registers_once_and_updates_what_changed() -> None:
    chain = new_chain()
    await register(chain, WORKER, None, "http://a:1", (), 4)
    assert entry(chain) is None
    for endpoint, models, capacity in (("http://a:1", (), 4), ("http://b:2", (0,), 8)):
        await register(chain, WORKER, ALICE, endpoint, models, capacity)
        assert entry(chain) == (endpoint.encode(), models, capacity)
    height = chain.height
    await register(chain, WORKER, ALICE, "http://b:2", (0,), 8)
    await register(chain, WORKER, None, "http://c:3", (), 8)
    assert (chain.height, entry(chain)) == (height, (b"http://b:2", (0,), 8))


async def test_who_is_no_validator_registers_nothing() -> None:
    chain = new_chain()
    with pytest.raises(ChainError, match="NotValidator"):
        await register(chain, WORKER, BOB, "http://a:1", (), 4)
    await trio.lowlevel.checkpoint()
    assert entry(chain) is None


def test_progress_is_told_in_tenths(capsys: pytest.CaptureFixture[str]) -> None:
    with open_meter() as meter:
        for done in range(101):
            meter.show("training", done, 100, "loss 1.0")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "training: 100/100 loss 1.0"


def test_a_sparkline_falls_with_its_values() -> None:
    assert sparkline([3.0, 2.0, 1.0]) == "█▅▁"
    assert sparkline([]) == ""
    assert len(sparkline([float(v) for v in range(1000)])) <= 60
