"""Two explorers that others built, in a real browser, on a chain where the main job was done.

Their code is not part of this project: `python -m tests.clients.explorers` says where it lies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import Node, npm_project
from tests.clients.explorers.tours import PICTURES, Seen, browser, visit
from tests.clients.settled_chain import Settled

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SHOWN = {
    "papi-console-storage",
    "papi-console-block",
    "polkadot-apps-block",
    "polkadot-apps-extrinsic",
}
"""The pages of which pictures are kept."""


@pytest.fixture(scope="session")
def driver() -> Path:
    """Return the folder in which the browser's driver is installed."""
    return npm_project("explorers")


def built(variable: str) -> Path:
    folder = os.environ.get(variable)
    if folder is None:
        pytest.skip(f"there is no explorer here: set {variable} to the folder of its built page")
    if browser() is None:
        pytest.skip("there is no Chromium here")
    return Path(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = Path(os.environ.get(PICTURES) or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


@pytest.fixture(scope="module")
def papi_console(pictures: Path, node: Node, request: pytest.FixtureRequest) -> Seen:
    folder = built("PAPI_CONSOLE")
    settled: Settled = request.getfixturevalue("settled")
    installed: Path = request.getfixturevalue("driver")
    return visit("papi_console.mjs", folder, node, settled, installed, pictures, SHOWN)


@pytest.fixture(scope="module")
def polkadot_apps(pictures: Path, node: Node, request: pytest.FixtureRequest) -> Seen:
    folder = built("POLKADOT_APPS")
    settled: Settled = request.getfixturevalue("settled")
    installed: Path = request.getfixturevalue("driver")
    return visit("polkadot_apps.mjs", folder, node, settled, installed, pictures, SHOWN)


@pytest.mark.parametrize(
    ("page", "texts"),
    [
        ("blocks", ["Recent Blocks", "Finalized", "Best"]),
        ("block", ["Inference", "Settled", "Paid"]),
        ("storage", ["Every Datanet. The chain hands out the ids.", "manuals", "title"]),
        ("constants", ["CreationDeposit", "Held while a Datanet exists."]),
        ("runtime-calls", ["DatanetsApi"]),
        ("extrinsic", ["Datanets", "create"]),
    ],
)
def test_papi_console_shows(papi_console: Seen, page: str, texts: list[str]) -> None:
    shown = papi_console.pages[f"papi-console-{page}"]
    assert [text for text in texts if text not in shown] == []


def test_papi_console_throws_no_fault(papi_console: Seen) -> None:
    assert papi_console.faults == []


@pytest.mark.parametrize(
    ("page", "texts"),
    [
        ("blocks", ["OpenLedger Development", "recent blocks", "total issuance"]),
        ("block", ["inference.Settled", "inference.Paid", "timestamp.set"]),
        ("storage", ["Every Datanet. The chain hands out the ids.", "manuals", "title"]),
        ("constants", ["creationDeposit", "Held while a Datanet exists."]),
        ("runtime-calls", ["Submit Runtime call"]),
        ("extrinsic", ["create(name, schema, policy)", "Create a Datanet owned by the caller"]),
        ("accounts", ["ALICE", "OPEN"]),
    ],
)
def test_polkadot_apps_shows(polkadot_apps: Seen, page: str, texts: list[str]) -> None:
    shown = polkadot_apps.pages[f"polkadot-apps-{page}"]
    assert [text for text in texts if text not in shown] == []


def test_polkadot_apps_throws_no_fault(polkadot_apps: Seen) -> None:
    assert polkadot_apps.faults == []
