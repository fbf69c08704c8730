"""What wallets do without the node: digests of the metadata, calls decoded, offline signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import HERE, Node, flow, node_program

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def seen(node: Node, javascript: Path) -> dict[str, Any]:
    script = str(HERE / "js" / "offline.mjs")
    return flow([node_program(), script, node.websocket], javascript)


def test_two_libraries_compute_one_digest_of_both_versions_of_the_metadata(
    seen: dict[str, Any],
) -> None:
    told = seen["digestsTheMetadata"]
    digests = [told[version][library] for version in ("15", "16") for library in ("papi", "dedot")]
    assert len(digests[0]) == len("0x") + 64
    assert digests == [digests[0]] * 4


@pytest.mark.parametrize("version", ["15", "16"])
def test_two_libraries_write_one_proof_of_a_transactions_types(
    seen: dict[str, Any], version: str
) -> None:
    papi, dedot = seen["digestsTheMetadata"][version]["proofs"]
    assert len(papi) > 1000
    assert papi == dedot


def test_a_wallet_decodes_a_call_by_the_definition_of_the_chain(
    seen: dict[str, Any], node: Node
) -> None:
    told = seen["decodesCallsByADefinition"]
    definition = told["definition"]
    assert definition["genesisHash"] == node.call("chain_getBlockHash", 0)
    assert definition["specVersion"] == node.call("state_getRuntimeVersion")["specVersion"]
    shown = (definition["ss58Format"], definition["tokenDecimals"], definition["tokenSymbol"])
    assert shown == (42, 18, "OPEN")
    # No types beside the metadata's own are needed, and a wallet keeps the calls alone.
    assert definition["types"] == {}
    assert 0 < definition["metaCalls"] < told["full"]
    assert told["call"] == "balances.transferKeepAlive"
    assert told["args"]["dest"] == {"Id": told["to"]}
    assert told["same"]


def test_what_a_wallet_signed_offline_is_carried_by_a_block(seen: dict[str, Any]) -> None:
    told = seen["signsWhatItOnlyRead"]
    assert told["hash"] == told["own"]
    assert told["signer"] == told["wanted"]
    assert (told["call"], told["version"]) == ("balances.transferKeepAlive", 4)
    assert told["mortal"]
