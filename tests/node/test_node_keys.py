"""What the operator does to a running node's keys: made, put in, looked up, proven."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from nacl.signing import VerifyKey

from consensus.session_key import key_bytes
from node import node_keys
from node.client.signing import from_uri
from node.keystore import Keystore, KeystoreError, KeystoreReason, Stretching
from node.node_keys import NodeKeys, NodeKeysReason, NodeKeysRefusal
from node.paths import ChainPaths

PASSWORD = "a password"
GENESIS, ACCOUNT = bytes(32), b"\x07" * 32


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretch passwords little: a second each would be long here."""
    monkeypatch.setattr(node_keys, "Keystore", partial(Keystore, stretching=Stretching.INSECURE))


@pytest.fixture
def paths(tmp_path: Path) -> ChainPaths:
    return ChainPaths(tmp_path / "chain")


def stored(folder: Path) -> list[tuple[str, bytes]]:
    with Keystore(folder, PASSWORD) as keystore:
        return [(key.purpose, key.public) for key in keystore.list()]


def test_a_node_without_a_key_gets_its_first_one_in_place(paths: ChainPaths) -> None:
    public = NodeKeys(paths, PASSWORD).rotate()
    assert stored(paths.keystore) == [("consensus", public)]
    with Keystore(paths.keystore, PASSWORD) as keystore:
        assert keystore.load("consensus").public == public


def test_the_key_in_use_is_never_replaced(paths: ChainPaths) -> None:
    keys = NodeKeys(paths, PASSWORD)
    first = keys.rotate()
    second = keys.rotate()
    assert first != second
    assert stored(paths.keystore) == [("consensus", first)]
    assert stored(paths.keystore_next) == [("consensus", second)]
    with pytest.raises(NodeKeysRefusal, match=f"0x{second.hex()}") as refusal:
        keys.rotate()
    assert refusal.value.reason is NodeKeysReason.WAITING


def test_the_waiting_key_can_be_moved_into_place(paths: ChainPaths) -> None:
    keys = NodeKeys(paths, PASSWORD)
    keys.rotate()
    second = keys.rotate()
    name = "consensus.key.json"
    (paths.keystore_next / name).replace(paths.keystore / name)
    with Keystore(paths.keystore, PASSWORD) as keystore:
        assert keystore.load("consensus").public == second


def test_a_development_key_counts_as_in_use(paths: ChainPaths) -> None:
    alice = from_uri("//Alice", "ed25519").public
    keys = NodeKeys(paths, PASSWORD, alice)
    made = keys.rotate()
    assert stored(paths.keystore_next) == [("consensus", made)]
    assert keys.has(alice, "smpx")
    assert keys.has_session_keys(alice)


def test_without_the_password_nothing_is_made(paths: ChainPaths) -> None:
    keys = NodeKeys(paths, None)
    for act in (keys.rotate, lambda: keys.insert("worker", "//W", from_uri("//W").public)):
        with pytest.raises(NodeKeysRefusal, match="--password-filename") as refusal:
            act()
        assert refusal.value.reason is NodeKeysReason.NO_PASSWORD
    assert not paths.keystore.exists()
    assert not keys.has(bytes(32), "consensus")


def test_a_secret_is_put_in_only_for_its_own_public_key(paths: ChainPaths) -> None:
    keys = NodeKeys(paths, PASSWORD)
    public = from_uri("//Worker").public
    with pytest.raises(NodeKeysRefusal) as refusal:
        keys.insert("worker", "//Worker", bytes(32))
    assert refusal.value.reason is NodeKeysReason.OTHER_PUBLIC
    keys.insert("worker", "//Worker", public)
    assert keys.has(public, "worker")
    assert not keys.has(public, "account")
    with pytest.raises(KeystoreError) as taken:
        keys.insert("worker", "//Worker", public)
    assert taken.value.reason is KeystoreReason.EXISTS
    with pytest.raises(NodeKeysRefusal) as unknown:
        keys.insert("babe", "//Worker", public)
    assert unknown.value.reason is NodeKeysReason.UNKNOWN_TYPE


def test_a_proof_is_one_that_the_chain_takes(paths: ChainPaths) -> None:
    keys = NodeKeys(paths, PASSWORD)
    keys.rotate()
    public = keys.rotate()
    proof = keys.prove(public, GENESIS, ACCOUNT)
    VerifyKey(public).verify(key_bytes(GENESIS, ACCOUNT), proof)
    with pytest.raises(NodeKeysRefusal) as refusal:
        keys.prove(bytes(32), GENESIS, ACCOUNT)
    assert refusal.value.reason is NodeKeysReason.NOT_OURS
