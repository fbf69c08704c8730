"""The plan of a local network: identities, command lines, options that contradict what is kept."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import pytest
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID

from genesis.spec import ChainSpec
from node.cli import localnet
from node.errors import NodeError
from node.localnet.plan import Ports, members, peer_id
from node.localnet.running import STARTED, Network


def planned(*options: str) -> Network:
    parser = argparse.ArgumentParser()
    localnet.add_parser(parser.add_subparsers())
    return localnet.planned(parser.parse_args(["localnet", *options]))


@pytest.mark.parametrize("seed", [bytes(32), bytes(range(32)), b"\xff" * 32])
def test_a_peer_id_is_the_one_that_libp2p_gives(seed: bytes) -> None:
    assert peer_id(seed) == str(ID.from_pubkey(create_new_key_pair(seed).public_key))


def test_every_process_has_ports_and_a_folder_of_its_own(tmp_path: Path) -> None:
    found = members(tmp_path, 7, Ports())
    assert [member.name for member in found[:3]] == ["alice", "bob", "charlie"]
    assert found[6].name == "validator-6"
    used = [(m.ports.rpc, m.ports.peers, m.ports.prometheus, m.ports.workers) for m in found]
    assert len(set(itertools.chain(*used))) == 4 * 7
    assert len({member.folder for member in found}) == 7


def test_the_first_node_is_everybodys_bootnode_under_the_identity_it_will_have(
    tmp_path: Path,
) -> None:
    network = planned("--base-path", str(tmp_path), "--validators", "3", "--port", "31000")
    first, *others = [watched.child.command for watched in network.children()]
    key = next(tmp_path.glob("alice/chains/*/network/key")).read_bytes()
    address = f"/ip4/127.0.0.1/tcp/31000/p2p/{peer_id(key)}"
    assert "--bootnodes" not in first
    assert all(command[command.index("--bootnodes") + 1] == address for command in others)


def test_a_log_of_signatures_is_made_only_until_a_block_is_final(tmp_path: Path) -> None:
    network = planned("--base-path", str(tmp_path), "--validators", "2")
    assert all("--init-log" in watched.child.command for watched in network.children())
    (tmp_path / "bob" / STARTED).parent.mkdir(exist_ok=True)
    (tmp_path / "bob" / STARTED).touch()
    alice, bob = (watched.child.command for watched in network.children())
    assert "--init-log" in alice
    assert "--init-log" not in bob


def test_workers_belong_to_the_first_validators(tmp_path: Path) -> None:
    network = planned("--base-path", str(tmp_path), "--validators", "3", "--workers", "2")
    workers = [one.child for one in network.children() if not one.is_node]
    assert [worker.name for worker in workers] == ["alice-worker", "bob-worker"]
    stashes = [w.command[w.command.index("--validator-uri") + 1] for w in workers]
    assert stashes == ["//Alice//stash", "//Bob//stash"]


def test_a_kept_network_is_taken_up_again_whole(tmp_path: Path) -> None:
    first = planned(
        "--base-path", str(tmp_path), "--validators", "5", "--block-interval", "700",
        "--delta", "90", "--epoch-length", "33",
    )  # fmt: skip
    again = planned("--base-path", str(tmp_path))
    assert again.spec.genesis_entries() == first.spec.genesis_entries()
    assert again.spec.consensus == first.spec.consensus
    assert len(again.members) == 5


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--validators", "4"), "has --validators 2, not 4"),
        (("--block-interval", "500"), "has --block-interval 1000, not 500"),
        (("--delta", "1"), "has --delta 250, not 1"),
        (("--epoch-length", "5"), "has --epoch-length 60, not 5"),
        (("--workers", "3"), "2 workers at most"),
        (("--rpc-port", "65535"), "end above 65535"),
    ],
)
def test_options_that_contradict_the_kept_network_are_refused(
    tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    planned("--base-path", str(tmp_path), "--validators", "2")
    with pytest.raises(NodeError, match=told):
        planned("--base-path", str(tmp_path), *options)
    assert localnet.validators_of(ChainSpec.load(tmp_path / "chain.json")) == 2


def test_fresh_begins_anew_but_deletes_nothing_else_than_a_local_network(tmp_path: Path) -> None:
    base, foreign = tmp_path / "net", tmp_path / "home"
    planned("--base-path", str(base), "--validators", "2")
    (base / "alice").mkdir(exist_ok=True)
    assert len(planned("--base-path", str(base), "--fresh", "--validators", "3").members) == 3
    assert not (base / "alice").exists()
    foreign.mkdir()
    (foreign / "letter").write_text("dear")
    with pytest.raises(NodeError, match="nothing was deleted"):
        planned("--base-path", str(foreign), "--fresh")
    assert (foreign / "letter").read_text() == "dear"
