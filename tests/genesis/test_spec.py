"""Chain specifications: what is wrong is named, and raw gives the same chain as plain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genesis.accounts import ALICE_CONSENSUS, DEVELOPMENT_ACCOUNTS
from genesis.presets import ENDOWMENT, chain_spec
from genesis.spec import ChainSpec, InvalidChainSpec
from node.client.signing import from_uri
from runtime.construct import Runtime
from runtime.executive import genesis_header
from runtime.state.overlay import Overlay
from runtime.state.store import MemoryState
from runtime.state.trie import build


def genesis_hash(spec: ChainSpec) -> bytes:
    return genesis_header(build(spec.genesis_entries()).root).hash()


@pytest.mark.parametrize("name", ["dev", "local"])
def test_raw_plain_and_file_give_one_genesis(name: str, tmp_path: Path) -> None:
    spec = chain_spec(name)
    file = tmp_path / "spec.json"
    file.write_text(spec.to_raw().to_json())
    loaded = chain_spec(str(file))
    assert loaded == spec.to_raw()
    assert genesis_hash(loaded) == genesis_hash(spec)
    assert ChainSpec.from_json(spec.to_json()) == spec


def test_chains_with_the_same_accounts_are_different_chains() -> None:
    assert genesis_hash(chain_spec("dev")) != genesis_hash(chain_spec("local"))


def test_the_development_accounts_derive_from_their_uris() -> None:
    for known in DEVELOPMENT_ACCOUNTS:
        assert from_uri(known.uri).account_id == known.account
    assert from_uri("//Alice", "ed25519").public == ALICE_CONSENSUS


def test_the_development_accounts_are_endowed_and_alice_validates() -> None:
    runtime = Runtime(Overlay(MemoryState(chain_spec("dev").genesis_entries())))
    for known in DEVELOPMENT_ACCOUNTS:
        assert runtime.system.account[known.account].data.free == ENDOWMENT == 10**24
    (validator,) = runtime.session.validators.get()
    assert validator.consensus_key == ALICE_CONSENSUS


def test_properties_are_what_wallets_read() -> None:
    text = json.loads(chain_spec("dev").to_json())
    assert text["properties"] == {"ss58Format": 42, "tokenDecimals": 18, "tokenSymbol": "OPEN"}
    assert (text["id"], text["chainType"], text["bootNodes"]) == ("dev", "Development", [])


GOOD: dict[str, Any] = {"name": "x", "id": "x", "genesis": {"raw": {"top": {"0x00": "0x01"}}}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": "No Good"}, "id: "),
        ({"genesis": {}}, "either `runtime` or `raw`"),
        ({"genesis": {"raw": {"top": {}}, "runtime": {}}}, "either `runtime` or `raw`"),
        ({"genesis": {"raw": {"top": {"0xZZ": "0x"}}}}, "genesis.raw.top"),
        ({"genesis": {"raw": {"top": {"0x0": "0x"}}}}, "genesis.raw.top"),
        ({"nonsense": 1}, "nonsense: "),
        ({"chainType": "Fun"}, "chainType: "),
        ({"properties": {"ss58Format": -1}}, "properties.ss58Format: "),
        ({"consensus": {"blockIntervalMs": 10}}, "consensus.blockIntervalMs: "),
        ({"consensus": {"engine": "babe"}}, "consensus.engine: "),
    ],
)
def test_a_bad_specification_is_refused_naming_the_field(change: dict[str, Any], told: str) -> None:
    assert ChainSpec.from_json(json.dumps(GOOD)).id == "x"
    with pytest.raises(InvalidChainSpec, match=told.replace(".", r"\.")):
        ChainSpec.from_json(json.dumps(GOOD | change))


def test_bad_pallet_settings_are_refused() -> None:
    for runtime in (
        {"nope": {}},
        {"balances": {"balances": [["5Nonsense", "1"]]}},
        {"balances": {"balances": [["5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"]]}},
        {"balances": 7},
    ):
        spec = ChainSpec.from_json(json.dumps(GOOD | {"genesis": {"runtime": runtime}}))
        with pytest.raises(InvalidChainSpec, match=r"genesis\.runtime of chain x"):
            spec.genesis_entries()


def test_an_unknown_chain_and_an_unreadable_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidChainSpec, match="dev, local"):
        chain_spec("mainnet")
    (tmp_path / "spec.json").write_text("{")
    with pytest.raises(InvalidChainSpec, match="not JSON"):
        chain_spec(str(tmp_path / "spec.json"))
    with pytest.raises(InvalidChainSpec, match="cannot be read"):
        chain_spec(str(tmp_path))
