"""The node and the worker die without warning, again and again, and no unit is lost."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console

from examples.demo.run import Stage, run_demo
from examples.demo.screen import Screen
from examples.demo.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.longest]
MOST_SECONDS = 1200
QUICK_TRAINING = (
    "--epochs", "1", "--rank", "2", "--coordinates", "64", "--layers", "1", "--threads", "1",
)  # fmt: skip


def settings(folder: Path) -> Settings:
    """A short demo whose windows leave a killed worker time to come back for its duties."""
    return Settings(
        folder=folder,
        records_each=6,
        max_tokens=12,
        train_options=QUICK_TRAINING,
        windows=(45, 45, 3, 30),
    )


async def kill_at_bad_moments(stage: Stage, dice: random.Random, killed: list[str]) -> None:
    """Kill either process whenever it has just begun something that must not be lost."""
    journal, receipts = stage.journal, stage.settings.folder / "purse" / "receipts.jsonl"

    async def kill(name: str) -> None:
        await trio.sleep(dice.uniform(0, 1.5))
        stage.processes[name].kill()
        killed.append(name)

    await journal.until("Datanets", "BatchSubmitted")
    await kill("node")
    await journal.until("Models", "ArtifactSubmitted")
    await kill("node")
    while not receipts.exists():
        await trio.sleep(0.05)
    await kill("worker")
    await journal.until("Inference", "SessionClosing")
    await kill("worker")
    await journal.until("Inference", "ReceiptsSubmitted")
    await kill("node")
    await journal.until("Attribution", "Committed")
    await kill("node")
    await kill("worker")
    await journal.until("Attribution", "Agreed")
    await kill("node")


@pytest.mark.parametrize("seed", [1])
async def test_the_demo_completes_though_its_processes_are_killed(
    tmp_path: Path, seed: int
) -> None:
    killed: list[str] = []
    report: dict[str, Any] = {}
    with trio.fail_after(MOST_SECONDS), (tmp_path / "screen").open("w") as told:
        async with trio.open_nursery() as nursery:
            dice = random.Random(seed)
            report = await run_demo(
                settings(tmp_path / "demo"),
                Screen(Console(file=told)),
                lambda stage: nursery.start_soon(kill_at_bad_moments, stage, dice, killed),
            )
            nursery.cancel_scope.cancel()
    assert killed == ["node", "node", "worker", "worker", "node", "node", "worker", "node"]
    assert sum(int(p["amount"]) for p in report["payments"]) == int(report["fee"])
    assert int(report["refund"]) + int(report["fee"]) == int(report["escrow"])
    answered = sum(int(answer["fee"]) for answer in report["answers"])
    assert int(report["fee"]) >= answered  # an answer that was lost on its way is paid for
