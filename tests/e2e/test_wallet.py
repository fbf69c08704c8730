"""A person with a wallet and a node: accounts, dry runs, transfers, calls and reads."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from genesis.presets import development
from node.cli.amounts import UNIT
from node.client.signing import from_uri
from runtime.primitives.keys import ss58_encode
from tests.clients.conftest import ROOT, running_node

pytestmark = pytest.mark.e2e
PROGRAM = Path(sys.executable).with_name("openledger")
MOST_SECONDS = 240
BOB = ss58_encode(from_uri("//Bob").account_id)


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
    """A node with two blocks a second."""
    folder = tmp_path_factory.mktemp("wallet-node")
    spec = development()
    consensus = spec.consensus.model_copy(update={"block_interval_ms": 500})
    path = folder / "chain.json"
    path.write_text(spec.model_copy(update={"consensus": consensus}).to_json())
    with running_node(folder / "log", "--dev", "--tmp", "--chain", str(path)) as node:
        yield node.websocket


@pytest.fixture(scope="module")
def run(url: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a command with a wallet of its own, whose account `me` has 100 OPEN."""
    folder = tmp_path_factory.mktemp("wallet")
    (folder / "password").write_text("horse staple\n")
    wallet = ["--wallet", str(folder / "wallet")]
    unlock = [*wallet, "--password-filename", str(folder / "password")]
    options = {
        "account new": unlock,
        "account balance": [*wallet, "--node", url],
        "tx submit": ["--node", url],
        "tx decode": [],
        "tx": [*unlock, "--node", url],
        "query": [*wallet, "--node", url],
    }

    def call(*words: object, typed: str = "") -> Done:
        texts = [str(word) for word in words]
        own = options.get(" ".join(texts[:2]), options.get(texts[0]))
        assert own is not None
        done = subprocess.run(
            [PROGRAM, *texts, *own],
            input=typed,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    assert call("account", "new", "me").status == 0
    funded = call("tx", "transfer", "me", 100, "--from", "//Alice", "--wait", "in_block", "--yes")
    assert funded.status == 0, funded.err
    return call


def free(run: Run, account: str) -> int:
    return int(run("account", "balance", account, "--json").told["free"])


def test_a_new_account_is_funded_and_pays_what_the_dry_run_said(run: Run) -> None:
    before, nonce = free(run, "me"), run("account", "balance", "me", "--json").told["nonce"]
    done = run("tx", "transfer", "//Bob", "2.5", "--from", "me", "--yes", "--json")
    assert done.status == 0, done.err
    assert done.err == ""
    sent = done.told["submitted"]
    assert done.told["call"]["args"] == {"dest": BOB, "value": str(5 * UNIT // 2)}
    assert (done.told["nonce"], done.told["preview"]["outcome"]) == (nonce, "success")
    assert (sent["success"], sent["error"]) == (True, None)
    paid, said = int(sent["feePaid"]), int(done.told["preview"]["fee"])
    assert 0 < paid <= said * 101 // 100
    assert free(run, "me") == before - 5 * UNIT // 2 - paid
    moved = [event for event in sent["events"] if event["name"] == "Transfer"]
    assert moved[0]["fields"]["to"] == BOB
    tried = [e["name"] for e in done.told["preview"]["events"]]
    assert tried == [event["name"] for event in sent["events"]]


def test_a_person_sees_the_outcome_before_the_question_and_may_refuse(run: Run) -> None:
    before = free(run, "me")
    for typed in ("n\n", "\n", ""):
        done = run("tx", "transfer", "//Bob", "1", "--from", "me", typed=typed)
        assert done.status == 1
        assert "outcome   success" in done.out
        assert "Balances.Transfer" in done.out
        assert done.err.endswith("Submit? [y/N] openledger: nothing was sent\n")
    assert free(run, "me") == before
    words = ("tx", "transfer", "//Bob", "1", "--from", "me", "--wait", "in_block", "--tip", "0.5")
    done = run(*words, typed="y\n")
    assert done.status == 0, done.err
    assert "ready" in done.err
    assert "in block 0x" in done.err
    assert "fee paid  0.5" in done.out
    assert free(run, "me") < before - 3 * UNIT // 2


def test_a_transfer_that_would_fail_says_so_and_changes_nothing(run: Run) -> None:
    before = free(run, "me")
    done = run("tx", "transfer", "//Bob", "1000", "--from", "me", "--dry-run", "--json")
    assert done.status == 1
    assert "Token.FundsUnavailable: The free balance is too low." in done.err
    assert done.told["submitted"] is None
    assert done.told["preview"]["outcome"] == "failure"
    assert done.told["preview"]["error"]["name"] == "FundsUnavailable"
    assert free(run, "me") == before


def test_a_call_that_fails_in_its_block_ends_with_status_1_and_costs_its_fee(run: Run) -> None:
    before = free(run, "me")
    done = run("tx", "transfer", "//Bob", "1000", "--from", "me", "--yes", "--wait", "in_block")
    assert done.status == 1
    assert "outcome   fails, the fee is charged: Token.FundsUnavailable" in done.out
    assert done.err.endswith("openledger: Token.FundsUnavailable: The free balance is too low.\n")
    assert before - UNIT < free(run, "me") < before


def test_who_cannot_pay_is_refused_before_sending(run: Run) -> None:
    done = run("tx", "transfer", "//Bob", "1", "--suri", "//Pauper", "--yes")
    assert done.status == 3
    assert "refused, nothing is charged: Payment" in done.out


def test_a_datanet_is_created_and_read_back_by_name(run: Run) -> None:
    policy = '{"open": true, "bond_per_record": 0.1, "min_bond": "1"}'
    words = ("tx", "datanets", "create", "proverbs", '["text"]', policy, "--from", "me")
    done = run(*words, "--yes", "--json", "--wait", "in_block")
    assert done.status == 0, done.err
    number = run("query", "datanets", "names", "proverbs").told
    assert {"datanet": number, "name": "0x" + b"proverbs".hex()}.items() <= next(
        e["fields"] for e in done.told["submitted"]["events"] if e["name"] == "Created"
    ).items()
    shown = run("query", "Datanets.Datanets", number).told
    assert shown["policy"] == {
        "open": True,
        "bond_per_record": "0.1 OPEN",
        "min_bond": "1 OPEN",
    }
    owner = run("query", "datanets", "datanets", number, "--json").told["owner"]
    held = run("account", "balance", owner, "--json").told
    assert held["heldFor"] == {"DatanetDeposit": str(10 * UNIT)}
    assert int(held["transferable"]) == int(held["free"]) - UNIT // 1000
    entries = run("query", "datanets", "datanets", "--json").told
    assert [entry["keys"] for entry in entries] == [[number]]
    again = run(*words, "--dry-run", "--json")
    assert (again.status, again.told["preview"]["error"]["name"]) == (1, "NameTaken")


def test_a_signed_extrinsic_is_made_here_and_sent_there(run: Run) -> None:
    words = ("tx", "transfer", "//Bob", "1", "--from", "me", "--sign-only", "--json")
    signed = run(*words, "--mortal", "256").told
    shown = run("tx", "decode", signed["extrinsic"], "--json").told
    assert (shown["hash"], shown["era"]) == (signed["hash"], "mortal, 256 blocks")
    before = free(run, BOB)
    sent = run("tx", "submit", signed["extrinsic"], "--yes", "--json", "--wait", "in_block")
    assert sent.status == 0, sent.err
    assert sent.told["submitted"]["extrinsicHash"] == signed["hash"]
    assert free(run, BOB) == before + UNIT
    again = run("tx", "submit", signed["extrinsic"], "--yes", "--json")
    assert (again.status, again.told["preview"]["outcome"]) == (3, "refused")
    assert "Stale" in again.err


def test_what_is_signed_only_can_be_piped_into_submit(run: Run) -> None:
    signed = run("tx", "transfer", "//Bob", "1", "--from", "me", "--sign-only")
    assert signed.out.startswith("0x")
    before = free(run, BOB)
    sent = run("tx", "submit", "-", "--yes", "--wait", "in_block", typed=signed.out)
    assert sent.status == 0, sent.err
    assert free(run, BOB) == before + UNIT


def test_who_stops_waiting_is_told_what_may_have_been_sent(run: Run, url: str) -> None:
    nonce = run("account", "balance", "//Eve", "--json").told["nonce"] + 5
    words = ["tx", "transfer", "//Bob", "1", "--from", "//Eve", "--nonce", str(nonce), "--yes"]
    with subprocess.Popen(
        [PROGRAM, *words, "--node", url], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as sending:
        assert sending.stderr is not None
        first = sending.stderr.readline()
        assert first.startswith(b"future: "), first
        sending.send_signal(signal.SIGINT)
        told = sending.stderr.read().decode()
        assert sending.wait(MOST_SECONDS) == 130, told
    assert "may have been sent" in told
    assert f"nonce {nonce} is used" in told
    assert "Traceback" not in told


INTERRUPTED = """
import os, signal, sys
from wsproto import WSConnection
from node.cli.main import main

receive = WSConnection.receive_data

def interrupt(connection, data):
    if data and b'"future"' in data:
        os.kill(os.getpid(), signal.SIGINT)
    receive(connection, data)

WSConnection.receive_data = interrupt
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("ahead", range(6, 11))
def test_who_stops_while_a_message_arrives_is_heard(run: Run, url: str, ahead: int) -> None:
    nonce = run("account", "balance", "//Eve", "--json").told["nonce"] + ahead
    words = ["tx", "transfer", "//Bob", "1", "--from", "//Eve", "--nonce", str(nonce), "--yes"]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *words, "--node", url],
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 130, done.stderr
    assert "may have been sent" in done.stderr


def test_a_nonce_that_is_ahead_waits_for_those_before(run: Run) -> None:
    nonce = run("account", "balance", "me", "--json").told["nonce"]
    words = ("tx", "transfer", "//Bob", "1", "--from", "me", "--immortal")
    done = run(*words, "--nonce", nonce + 1, "--dry-run", "--json")
    assert (done.status, done.told["preview"]["outcome"]) == (0, "waits")


def test_a_batch_of_nested_calls_moves_all_or_nothing(run: Run) -> None:
    before = free(run, BOB)
    one = {"pallet": "Balances", "call": "transfer_keep_alive", "args": {"dest": BOB, "value": 1}}
    more = one | {"args": {"dest": "//Bob", "value": "100000"}}
    words = ("tx", "utility", "batch-all", "--from", "me", "--yes", "--wait", "in_block", "--calls")
    failed = run(*words, json.dumps([one, more]))
    assert failed.status == 1
    assert "Token.FundsUnavailable" in failed.err
    assert free(run, BOB) == before
    assert run(*words, json.dumps([one, one])).status == 0
    assert free(run, BOB) == before + 2 * UNIT
