"""The demo on four validators: others than the executor's judge, and every unit is explained."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from rich.console import Console

from examples.demo.run import run_demo
from examples.demo.screen import Screen
from examples.demo.settings import Settings
from tests.e2e.network_world import alone
from tests.e2e.test_demo_kill import QUICK_TRAINING

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.longest]
MOST_SECONDS = 900
VALIDATORS = {"Alice//stash", "Bob//stash", "Charlie//stash", "Dave//stash"}
OWNER = "Dave//stash"


async def test_a_committee_of_other_validators_judges_what_one_executes(tmp_path: Path) -> None:
    settings = Settings(
        folder=tmp_path / "demo",
        validators=4,
        records_each=6,
        max_tokens=12,
        train_options=QUICK_TRAINING,
        windows=(30, 12, 2, 20),
    )
    with alone(), trio.fail_after(MOST_SECONDS), (tmp_path / "screen").open("w") as told:
        report = await run_demo(settings, Screen(Console(file=told)))
    assert report["self_attested"] is False
    committee = set(report["committee"])
    assert committee == VALIDATORS - {"Alice//stash", OWNER}  # the owner of a model never judges
    paid = {p["role"]: set[str]() for p in report["payments"]}
    for payment in report["payments"]:
        paid[payment["role"]].add(payment["name"])
    assert paid["executor"] == {"Alice//stash"}
    assert paid["committee"] == committee
    assert sum(int(p["amount"]) for p in report["payments"]) == int(report["fee"])
    authors = {a["name"] for a in report["accounts"] if int(a["author_fees"])}
    assert authors <= VALIDATORS
    assert len(authors) > 1
    page = (settings.folder / "index.html").read_text()
    assert "Self-attested" not in page
    for name in committee:
        assert f"<b>{name}</b>" in page
    logs = {log.stem: log.read_text() for log in settings.logs.glob("*.log")}
    assert {"node", "node-bob", "node-charlie", "node-dave"} <= logs.keys()
    assert not [name for name, text in logs.items() if "Traceback" in text]
