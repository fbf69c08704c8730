"""Chain specifications: what is wrong is named, and raw gives the same chain as plain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genesis.accounts import ALICE_CONSENSUS, DEVELOPMENT_ACCOUNTS
from genesis.presets import ENDOWMENT, chain_spec, local_network
from genesis.spec import ChainSpec, ChainType, InvalidChainSpec
from genesis.validators import MOST_VALIDATORS, development_validator, validator_suri
from node.client.signing import from_uri
from runtime.construct import Runtime
from runtime.executive import current_epoch, genesis_header
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
    (validator,) = runtime.session.members.get()
    assert validator.consensus_key == ALICE_CONSENSUS


def test_the_numbered_validators_derive_from_their_uris() -> None:
    suris = [validator_suri(index) for index in range(MOST_VALIDATORS)]
    names = ("Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie", "Validator//6")
    assert suris[:7] == [f"//{name}" for name in names]
    assert len({*suris}) == MOST_VALIDATORS
    for index, suri in enumerate(suris):
        found = development_validator(index)
        assert (found.uri, found.stash_uri) == (suri, f"{suri}//stash")
        assert from_uri(suri, "ed25519").public == found.consensus_key
        assert from_uri(found.stash_uri).account_id == found.stash
    for index in (-1, MOST_VALIDATORS):
        with pytest.raises(ValueError, match="0 to 99"):
            validator_suri(index)


@pytest.mark.parametrize("count", [1, 4, 6, 7, 100])
def test_a_local_network_seats_and_endows_its_validators(count: int) -> None:
    spec = local_network(count, block_interval_ms=200, delta_ms=50, epoch_length=7)
    assert (spec.id, spec.chain_type) == ("localnet", ChainType.LOCAL)
    pace = (spec.consensus.engine, spec.consensus.block_interval_ms, spec.consensus.delta_ms)
    assert pace == ("open-simplex", 200, 50)
    assert ChainSpec.from_json(spec.to_json()) == spec
    state = MemoryState(spec.genesis_entries())
    runtime = Runtime(Overlay(state))
    runtime.check_invariants()
    wanted = [development_validator(index) for index in range(count)]
    seated = runtime.session.members.get()
    assert [(v.account, v.consensus_key) for v in seated] == [
        (w.stash, w.consensus_key) for w in wanted
    ]
    for one in wanted:
        assert runtime.system.account[one.stash].data.free == ENDOWMENT
    assert runtime.session.epoch_length.get() == 7
    epoch = current_epoch(state)
    assert (epoch.epoch, epoch.seed) == (0, bytes(32))
    assert [a.public for a in epoch.authorities] == [w.consensus_key for w in wanted]
    assert {a.weight for a in epoch.authorities} == {10**14}


def test_a_local_network_that_cannot_be_is_refused() -> None:
    for count in (0, 101):
        with pytest.raises(InvalidChainSpec, match="1 to 100"):
            local_network(count)
    with pytest.raises(InvalidChainSpec, match="one block or more"):
        local_network(4, epoch_length=0)
    with pytest.raises(InvalidChainSpec, match="block_interval_ms"):
        local_network(4, block_interval_ms=99)
    with pytest.raises(InvalidChainSpec, match="delta_ms"):
        local_network(4, delta_ms=0)


def test_presets_have_their_pace() -> None:
    paces = {}
    for name in ("dev", "local"):
        spec = chain_spec(name)
        session = Runtime(Overlay(MemoryState(spec.genesis_entries()))).session
        consensus = spec.consensus
        paces[name] = (consensus.block_interval_ms, consensus.delta_ms, session.epoch_length.get())
    assert paces == {"dev": (1000, 250, 60), "local": (2000, 500, 60)}


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
        ({"consensus": {"blockIntervalMs": 99}}, "consensus.blockIntervalMs: "),
        ({"consensus": {"deltaMs": 0}}, "consensus.deltaMs: "),
        ({"consensus": {"engine": "solo"}}, "consensus.engine: "),
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
