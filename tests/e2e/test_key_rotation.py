"""The only validator of a chain replaces its consensus key while the chain goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from genesis.presets import local_network
from genesis.validators import validator_suri
from node.client.signing import from_uri
from node.paths import ChainPaths
from runtime.primitives.digest import find_next_epoch
from runtime.primitives.header import DigestItem
from runtime.primitives.keys import ss58_encode
from runtime.primitives.scale import decode
from tests.clients.conftest import Node, running_node

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PROGRAM = str(Path(sys.executable).with_name("openledger"))
EPOCH = 12
STASH = f"{validator_suri(0)}//stash"


def height(node: Node) -> int:
    return int(node.call("chain_getHeader", node.call("chain_getFinalizedHead"))["number"], 16)


def reach(node: Node, number: int) -> None:
    deadline = time.monotonic() + 180
    while height(node) < number:
        assert time.monotonic() < deadline, f"the chain stands at {height(node)}"
        time.sleep(0.1)


def announced(node: Node, epoch: int) -> list[bytes]:
    """Read the keys of an epoch's set off the header that announces it."""
    header = node.call("chain_getHeader", node.call("chain_getBlockHash", epoch * EPOCH))
    items = tuple(decode(DigestItem, bytes.fromhex(log[2:])) for log in header["digest"]["logs"])
    found = find_next_epoch(items)
    assert found is not None
    return [authority.public for authority in found.authorities]


def test_a_lone_validator_changes_its_key_while_it_runs(tmp_path: Path) -> None:
    spec = local_network(1, block_interval_ms=250, delta_ms=100, epoch_length=EPOCH)
    chain, password = tmp_path / "chain.json", tmp_path / "password"
    chain.write_text(spec.to_json())
    password.write_text("horse staple\n")
    base = ["--chain", str(chain), "--base-path", str(tmp_path / "node")]
    secret = ["--password-filename", str(password)]
    insert = [PROGRAM, "key", "insert", *base, *secret, "--suri", validator_suri(0)]
    subprocess.run(insert, check=True, timeout=240, capture_output=True)
    options = [*base, *secret, "--validator", "--no-network"]
    account = ss58_encode(from_uri(STASH).account_id)
    with running_node(tmp_path / "log", *options, "--init-log") as node:
        made = node.call("author_rotateKeysWithOwner", account)
        call = [PROGRAM, "tx", "session", "set-keys", made["keys"], made["proof"]]
        send = [*call, "--from", STASH, "--node", node.websocket, "--yes"]
        done = subprocess.run(send, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        acts = height(node) // EPOCH + 3
        reach(node, (acts + 1) * EPOCH + 2)
        assert announced(node, acts) == [bytes.fromhex(made["keys"][2:])]
        last = height(node)
    assert "signing with a new key from now on" in (tmp_path / "log").read_text()
    with running_node(tmp_path / "again", *options) as node:
        reach(node, last + EPOCH + 2)
    paths = ChainPaths.of(tmp_path / "node", spec.id)
    (paths.keystore_next / "consensus.key.json").replace(paths.keystore / "consensus.key.json")
    with running_node(tmp_path / "moved", *options) as node:
        reach(node, last + 2 * EPOCH + 4)
