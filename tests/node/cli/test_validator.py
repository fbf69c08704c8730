"""`openledger validator` against a real node, and `openledger key peer-id`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID

from consensus.core.evidence import Evidence, EvidenceKind
from consensus.core.messages import Vote
from consensus.core.votes import VoteKind
from genesis.presets import development
from genesis.spec import ChainSpec, ChainType
from node.cli import main as cli
from node.client.signing import from_uri
from node.evidence import EvidenceFolder
from node.keystore import Keystore, Stretching
from node.paths import ChainPaths
from runtime.executive import genesis_header
from runtime.primitives.keys import ss58_encode, verify_ed25519
from runtime.state.store import MemoryState
from tests.node.running_node import ALONE
from tests.patience import PATIENCE
from tests.ports import free_port

ROOT = Path(__file__).parents[3]
STARTING = (
    "from node.cli.node import *; import argparse, sys; p = argparse.ArgumentParser(); "
    "add_node_options(p); run(p.parse_args(sys.argv[1:]))"
)
STASH = "//Alice//stash"
EPOCH = 14_400
"""Blocks, two hours of them: no test meets the end of an epoch."""
PASSWORD = "correct horse"


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


class Place(NamedTuple):
    """Where a node runs."""

    url: str
    paths: ChainPaths


@contextmanager
def running(folder: Path, spec: ChainSpec, *options: str) -> Iterator[Place]:
    """Run a node in a process of its own until the block ends."""
    (folder / "spec.json").write_text(spec.to_json())
    port = free_port()
    line = ["--chain", str(folder / "spec.json"), "--base-path", str(folder), "--no-network"]
    line += ["--rpc-port", str(port), "--no-prometheus", *options]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", STARTING, *line], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield Place(f"ws://127.0.0.1:{port}", ChainPaths.of(folder, spec.id))
    finally:
        process.terminate()
        process.wait(PATIENCE)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A chain of one validator that stays in its first epoch."""
    spec = development()
    assert spec.genesis.runtime is not None
    spec.genesis.runtime["session"]["epoch_length"] = EPOCH
    pace = ALONE | {"block_interval_ms": 500}
    quick = spec.model_copy(update={"consensus": spec.consensus.model_copy(update=pace)})
    options = ["--validator", "--suri", "//Alice", "--init-log"]
    with running(tmp_path_factory.mktemp("node"), quick, *options) as found:
        yield found


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: Place) -> Run:
    points = [EntryPoint(name, f"node.cli.{name}", cli.GROUP) for name in ("key", "validator")]
    monkeypatch.setattr(cli, "entry_points", lambda group: points)

    def call(*arguments: object, url: str = place.url) -> Done:
        capsys.readouterr()
        try:
            status = cli.main(["validator", *map(str, arguments), "--node", url, "--json"])
        except SystemExit as wrong_use:
            status = int(wrong_use.code or 0)
        return Done(status, *capsys.readouterr())

    return call


def address(uri: str) -> str:
    return ss58_encode(from_uri(uri).account_id)


def public(uri: str) -> str:
    return f"0x{from_uri(uri, 'ed25519').public.hex()}"


def keystore(folder: Path, uri: str, scheme: Any = "ed25519") -> tuple[Path, Path]:
    """Make a keystore with a consensus key; returns it and the file with its password."""
    (folder / "password").write_text(PASSWORD + "\n")
    with Keystore(folder / "keys", PASSWORD, stretching=Stretching.INSECURE) as keys:
        keys.insert("consensus", uri, scheme)
    return folder / "keys", folder / "password"


def test_status_shows_the_epoch_and_what_each_validator_did(run: Run) -> None:
    told = run("status").told
    deadline = time.monotonic() + PATIENCE
    while told["blocksCounted"] < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
        told = run("status").told
    assert told["blocksCounted"] >= 2
    (alice,) = told["validators"]
    assert (told["epoch"], told["firstBlock"], told["lastBlock"]) == (0, 1, EPOCH)
    assert (alice["account"], alice["key"]) == (address(STASH), public("//Alice"))
    assert alice["weight"] == int(alice["stake"]) // 10**9
    assert alice["made"] == told["block"] == told["blocksCounted"] + 1
    assert (alice["attested"], alice["missed"]) == (told["blocksCounted"], 0)
    assert (told["next"], told["checkpoint"]) == ([], None)


def test_people_get_a_table(run: Run, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    del run
    assert cli.main(["validator", "status", "--node", place.url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["epoch:", "0"]
    assert sum(address(STASH) in line for line in lines) == 1
    assert cli.main(["validator", "status", "--account", address(STASH), "--node", place.url]) == 0
    assert sum(public("//Alice") in line for line in capsys.readouterr().out.splitlines()) == 4


def test_a_key_registered_for_the_next_sets_acts_two_epochs_later(run: Run) -> None:
    done = run("set-keys", "--consensus-suri", "//Alice//2", "--suri", STASH)
    assert done.status == 0, done.err
    assert done.told == {
        "account": address(STASH),
        "key": public("//Alice//2"),
        "actsFromEpoch": 2,
        "elected": True,
    }
    told = run("status", "--account", address(STASH)).told
    assert told["acts"] == [
        {"epoch": 0, "key": public("//Alice"), "decided": True},
        {"epoch": 1, "key": public("//Alice"), "decided": True},
        {"epoch": 2, "key": public("//Alice//2"), "decided": False},
    ]
    (change,) = run("status").told["next"]
    assert (change["epoch"], change["what"]) == (2, "changes key")
    assert run("set-keys", "--consensus-suri", "//Alice", "--suri", STASH).status == 0
    assert run("status").told["next"] == []


def test_a_key_from_a_keystore_is_registered_and_given_up(run: Run, tmp_path: Path) -> None:
    keys, password = keystore(tmp_path, "//Bob")
    options = ["--consensus-keystore", keys, "--consensus-password-filename", password]
    done = run("set-keys", *options, "--suri", "//Bob")
    assert (done.status, done.told["key"], done.told["elected"]) == (0, public("//Bob"), False)
    told = run("status", "--account", address("//Bob")).told
    assert told["registeredKey"] == public("//Bob")
    assert [row["key"] for row in told["acts"]] == [None, None, None]
    assert run("purge-keys", "--suri", "//Bob").told["purged"] == public("//Bob")
    again = run("purge-keys", "--suri", "//Bob")
    assert (again.status, again.err) == (
        3,
        "openledger: Session.NoKeys: The account has no key registered.\n",
    )


def test_what_the_chain_refuses_is_told_by_name(run: Run) -> None:
    taken = run("set-keys", "--consensus-suri", "//Alice", "--suri", "//Dave")
    assert (taken.status, taken.err.split(": ")[1]) == (3, "Session.KeyTaken")
    elected = run("purge-keys", "--suri", STASH)
    assert (elected.status, elected.err.split(": ")[1]) == (3, "Session.StillElected")


def test_an_unusable_consensus_key_is_refused_by_name(run: Run, tmp_path: Path) -> None:
    keys, password = keystore(tmp_path, "//Bob", "sr25519")
    wrong = run(
        "set-keys",
        "--consensus-keystore",
        keys,
        "--consensus-password-filename",
        password,
        "--suri",
        "//Bob",
    )
    assert wrong.status == 1
    assert "NOT_ED25519" in wrong.err
    absent = run("set-keys", "--consensus-keystore", tmp_path / "no", "--suri", "//Bob")
    assert absent.status == 1
    assert "NO_KEYSTORE" in absent.err
    assert run("set-keys", "--suri", "//Bob").status == 2


def test_a_secret_on_the_command_line_is_refused_on_a_live_chain(run: Run, tmp_path: Path) -> None:
    spec = development().model_copy(update={"chain_type": ChainType.LIVE, "id": "alive"})
    with running(tmp_path, spec) as alive:
        refused = run("set-keys", "--consensus-suri", "//Bob", "--suri", "//Bob", url=alive.url)
    assert refused.status == 1
    assert "LIVE_CHAIN" in refused.err


def test_a_key_proof_signs_for_one_account_of_this_chain(run: Run, place: Place) -> None:
    told = run("key-proof", "--consensus-suri", "//Bob", "--account", address("//Eve")).told
    assert (told["account"], told["key"]) == (address("//Eve"), public("//Bob"))
    spec = ChainSpec.load(place.paths.folder.parents[1] / "spec.json")
    genesis = genesis_header(MemoryState(spec.genesis_entries()).root).hash()
    message = b"open-simplex-key-v1" + genesis + from_uri("//Eve").account_id
    proof = bytes.fromhex(told["proof"][2:])
    assert verify_ed25519(from_uri("//Bob", "ed25519").public, message, proof)


def test_evidence_names_the_account_of_the_offender(run: Run, place: Place) -> None:
    assert run("evidence").told == []
    votes = [
        Vote(VoteKind.NOTARIZE, 0, 7, 6, 7, bytes([block]) * 32, 0, bytes(64)) for block in (1, 2)
    ]
    evidence = Evidence(EvidenceKind.CONFLICTING_NOTARIZE, *votes)
    EvidenceFolder(place.paths.evidence).keep(evidence)
    (piece,) = run("evidence").told
    assert piece.pop("evidence").startswith("0x")
    assert piece == {
        "kind": "CONFLICTING_NOTARIZE",
        "epoch": 0,
        "view": 7,
        "position": 0,
        "account": address(STASH),
        "means": "two blocks notarized in one view",
    }


def test_the_peer_id_is_known_before_the_first_start(
    run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    del run
    line = ["key", "peer-id", "--chain", "local", "--base-path", str(tmp_path)]
    assert cli.main(line) == 0
    told = capsys.readouterr().out
    seed = (ChainPaths.of(tmp_path, "local").network / "key").read_bytes()
    assert told == f"{ID.from_pubkey(create_new_key_pair(seed).public_key)}\n"
    assert cli.main(line) == 0
    assert capsys.readouterr().out == told
    (ChainPaths.of(tmp_path, "local").network / "key").write_bytes(b"short")
    assert cli.main(line) == 1
    assert "remove it to get a new identity" in capsys.readouterr().err
