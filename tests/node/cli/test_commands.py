"""The commands against a real node: what they change, print and refuse."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from genesis.presets import development
from node.cli import main as cli
from node.cli.account_wallet import Wallet
from node.cli.amounts import UNIT
from tests.patience import PATIENCE
from tests.ports import free_port

COMMANDS = ("claim", "datanet", "model", "receipt", "session")
ROOT = Path(__file__).parents[3]
STARTING = "from node.cli.node import *; import argparse, sys; p = argparse.ArgumentParser(); " + (
    "add_node_options(p); run(p.parse_args(sys.argv[1:]))"
)


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def told(self) -> Any:
        """What it printed, as a program reads it."""
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node of its own process with five blocks a second."""
    folder = tmp_path_factory.mktemp("node")
    spec = development()
    quick = spec.model_copy(
        update={"consensus": spec.consensus.model_copy(update={"block_interval_ms": 500})}
    )
    (folder / "spec.json").write_text(quick.to_json())
    port = free_port()
    options = ["--chain", str(folder / "spec.json"), "--validator", "--suri", "//Alice"]
    options += ["--tmp", "--rpc-port", str(port), "--no-prometheus"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", STARTING, *options], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"ws://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str) -> Run:
    points = [EntryPoint(name, f"node.cli.{name}", cli.GROUP) for name in COMMANDS]
    monkeypatch.setattr(cli, "entry_points", lambda group: points)

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        try:
            status = cli.main([*map(str, arguments), "--node", url, "--json"])
        except SystemExit as wrong_use:
            status = int(wrong_use.code or 0)
        return Done(status, *capsys.readouterr())

    return call


def create(run: Run, name: str) -> int:
    done = run("datanet", "create", name, "--fields", "title,text", "--suri", "//Alice")
    assert done.status == 0, done.err
    number: int = done.told["datanet"]
    return number


def test_records_go_from_a_file_into_a_published_version(run: Run, tmp_path: Path) -> None:
    datanet = create(run, "recipes")
    file = tmp_path / "records.jsonl"
    file.write_text('["bread", "flour, water"]\n{"text": "rice", "title": "soup"}\n')
    given = run(
        "datanet",
        "submit",
        datanet,
        file,
        "--licence",
        "CC0-1.0",
        "--suri",
        "//Bob",
        "--bond",
        "2.5",
    )
    assert given.status == 0, given.err
    assert given.told["bond"] == str(5 * UNIT // 2)
    taken = run("datanet", "accept", datanet, "--suri", "//Alice")
    assert taken.told == [{"batch": given.told["batch"], "firstRecord": 0, "records": 2}]
    published = run("datanet", "publish", datanet, "--suri", "//Alice")
    assert (published.told["version"], published.told["records"]) == (0, 2)
    shown = run("datanet", "show", datanet).told
    assert shown["fields"] == ["title", "text"]
    assert [b["status"] for b in shown["batches"]] == ["accepted"]
    assert shown["contributors"][0]["bonded"] == str(5 * UNIT // 2)
    flagged = run("datanet", "flag", datanet, 0, "--kind", "adversarial", "--suri", "//Charlie")
    assert flagged.status == 0, flagged.err
    proposed = run("model", "propose", "cook", "--datanet", f"{datanet}:0", "--suri", "//Dave")
    model = proposed.told["model"]
    assert run("model", "back", model, "3", "--suri", "//Eve").status == 0
    assert run("model", "unback", model, "1", "--suri", "//Eve").status == 0
    seen = run("model", "show", model).told
    assert (seen["stage"], seen["backedWith"]) == ("proposed", str(2 * UNIT))


def test_a_rejected_batch_gives_the_bond_back(run: Run, tmp_path: Path) -> None:
    datanet = create(run, "jokes")
    file = tmp_path / "records.jsonl"
    file.write_text('["a", "no joke"]\n')
    batch = run("datanet", "submit", datanet, file, "--licence", "CC0-1.0", "--suri", "//Bob").told[
        "batch"
    ]
    assert run("datanet", "reject", datanet, batch, "--suri", "//Alice").status == 0
    shown = run("datanet", "show", datanet).told
    assert (shown["batches"][0]["status"], shown["contributors"][0]["bonded"]) == ("rejected", "0")


def test_a_batch_whose_bytes_nobody_has_is_not_accepted(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datanet = create(run, "secrets")
    file = tmp_path / "records.jsonl"
    file.write_text('["a", "never uploaded"]\n')

    async def no_upload(self: object, blob: bytes, progress: object) -> None:
        return None

    with monkeypatch.context() as offline:
        offline.setattr("node.cli.chain.Chain.upload", no_upload)
        given = run("datanet", "submit", datanet, file, "--licence", "CC0-1.0", "--suri", "//Bob")
        assert given.status == 0, given.err
    refused = run("datanet", "accept", datanet, "--suri", "//Alice")
    assert refused.status == 5
    assert "ABSENT" in refused.err
    assert run("datanet", "show", datanet).told["batches"][0]["status"] == "pending"


def test_an_account_of_the_wallet_signs_by_its_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("horse staple\n")
    unlock = ("--wallet", tmp_path / "wallet", "--password-filename", tmp_path / "password")
    Wallet(tmp_path / "wallet").insert("me", "//Ferdie", "sr25519", "horse staple")
    ending = ("--fields", "a,b", "--min-bond", "1", "--from", "me", *unlock)
    made = run("datanet", "create", "by-name", *ending)
    assert made.status == 0, made.err
    ferdie = "5CiPPseXPECbkjWCa6MnjNokrgYjMqmKndv2rSnekmSK2DjL"
    assert ferdie in [net["owner"] for net in run("datanet", "list").told]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("datanet", "publish", 999, "--suri", "//Alice"), 3, "Datanets.UnknownDatanet: There is"),
        (("model", "launch", 999, "--compute-in", "1", "--compute-out", "1", "--premium", "1",
          "--suri", "//Alice"), 3, "Models.UnknownModel"),
        (("session", "close", 999, "--suri", "//Alice"), 3, "Inference.UnknownSession"),
        (("claim", "--suri", "//Alice"), 3, "Inference.NothingToClaim"),
        (("claim", "--suri", "//Nobody"), 3, "Payment"),
        (("session", "show", 999), 1, "SESSION: session 999: there is no such session"),
        (("datanet", "show", 999), 1, "see `openledger datanet list`"),
        (("model", "show", 999), 1, "see `openledger model list`"),
        (("session", "open", 0, "--escrow", "1", "--suri", "//Eve"), 1, "no worker serves model 0"),
        (("model", "submit", 0, "/nowhere", "--suri", "//Dave"), 1, "openledger train"),
        (("claim", "--suri", "no such words"), 1, "BAD_PHRASE"),
        (("claim", "--keystore", "/nowhere"), 1, "key insert"),
        (("claim",), 2, "--suri --keystore"),
        (("model", "back", 0, "1.5e3", "--suri", "//Eve"), 2, "digits with at most one point"),
        (("model", "propose", "x", "--datanet", "3", "--suri", "//Eve"), 2, "DATANET:VERSION"),
        (("session", "open", 0, "--executor", "5Grw", "--escrow", "1", "--suri", "//Eve"), 2,
         "is no account"),
        (("receipt", "verify", "/nowhere"), 1, "the receipt cannot be read"),
    ],
    ids=lambda value: " ".join(map(str, value[:2])) if isinstance(value, tuple) else None,
)  # fmt: skip
def test_a_refusal_is_one_line_that_says_what_to_do(
    run: Run, arguments: tuple[object, ...], status: int, told: str
) -> None:
    done = run(*arguments)
    assert (done.status, done.out) == (status, ""), done.err
    assert told in done.err
    assert "Traceback" not in done.err
    assert status == 2 or done.err.count("\n") == 1


def test_a_file_of_garbage_changes_nothing(run: Run, tmp_path: Path) -> None:
    datanet = create(run, "garbage")
    file = tmp_path / "records.jsonl"
    file.write_bytes(b'["a", "b"]\n["a", "\xff"]\n')
    done = run("datanet", "submit", datanet, file, "--licence", "CC0-1.0", "--suri", "//Bob")
    assert done.status == 1
    assert "INVALID_UTF8: line 2" in done.err
    assert run("datanet", "show", datanet).told["batches"] == []


def test_a_receipt_that_is_none_is_unproven(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "receipt.json"
    for text, told in (
        ('{"choices": []}', "NO_RECEIPT"),
        ('{"receipt": "AAAA"}', "WRONG_TAG"),
        ("AAAA", "WRONG_TAG"),
        ("{", "MALFORMED"),
    ):
        file.write_text(text)
        done = run("receipt", "verify", file)
        assert (done.status, told in done.err) == (5, True), done.err


def test_a_node_that_is_not_there_has_a_status_of_its_own(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["datanet", "list", "--node", "ws://127.0.0.1:1"]) == 4
    assert "no node answers at ws://127.0.0.1:1" in capsys.readouterr().err
