from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import HERE, Node, flow

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@pytest.fixture(scope="module")
def seen(node: Node, python_client: Path) -> dict[str, Any]:
    """Run the whole flow once; each test looks at a part of what the client saw."""
    script = str(HERE / "py" / "substrate_interface.py")
    return flow([str(python_client), script, node.websocket], HERE)


def test_it_connects_and_knows_the_chain(seen: dict[str, Any], node: Node) -> None:
    told = seen["connects"]
    assert told["chain"] == "OpenLedger Development"
    assert told["genesis"] == node.call("chain_getBlockHash", 0)
    assert (told["ss58"], told["symbol"], told["decimals"]) == (42, "OPEN", 18)
    assert {"System", "Balances", "Datanets", "Models", "Inference"} <= set(told["pallets"])


def test_it_reads_an_account_and_its_next_nonce(seen: dict[str, Any]) -> None:
    told = seen["reads_an_account"]
    assert told["address"] == ALICE
    assert told["free"] > 10**20
    assert told["next"] == told["nonce"]


def test_it_estimates_a_fee(seen: dict[str, Any]) -> None:
    told = seen["estimates_a_fee"]
    assert told["partialFee"] > 0
    assert told["class"] == "Normal"


@pytest.mark.parametrize("scheme", ["sr25519", "ed25519"])
def test_a_transfer_is_watched_to_finality(seen: dict[str, Any], scheme: str) -> None:
    told = seen["transfers_with_every_scheme"][scheme]
    assert told["success"]
    assert told["finalized"]
    assert told["received"] == 3 * 10**18
    assert told["fee"] > 0
    assert told["events"][-1] == "System.ExtrinsicSuccess"


def test_a_pallets_own_error_is_decoded_to_name_and_text(seen: dict[str, Any]) -> None:
    told = seen["decodes_a_failure"]
    assert told["success"] is False
    assert (told["error"]["type"], told["error"]["name"]) == ("Module", "RequireSudo")
    assert told["error"]["docs"]


def test_a_refused_transaction_says_why(seen: dict[str, Any]) -> None:
    told = seen["is_told_why_a_transaction_is_refused"]
    assert (told["code"], told["message"]) == (1010, "Invalid Transaction")
    assert told["data"].startswith("Stale")


@pytest.mark.parametrize("kind", ["best", "finalized"])
def test_heads_arrive_in_order_without_gaps(seen: dict[str, Any], kind: str) -> None:
    numbers = seen["follows_heads"][kind]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_an_old_block_is_read_with_its_state(seen: dict[str, Any]) -> None:
    told = seen["reads_an_old_block"]
    assert (told["number"], told["state"]) == (1, 1)
    assert told["calls"] == ["Timestamp.set"]
    assert told["events"][-1] == "System.ExtrinsicSuccess"


def test_a_map_is_paged_without_repeats(seen: dict[str, Any]) -> None:
    accounts = seen["pages_through_a_map"]
    assert ALICE in accounts
    assert len(set(accounts)) == len(accounts) >= 10


def test_every_plain_item_of_every_pallet_is_read(seen: dict[str, Any]) -> None:
    values = seen["reads_every_pallet"]
    for item in ("Timestamp.Now", "Balances.TotalIssuance", "Sudo.Key", "Datanets.NextDatanet"):
        assert item in values
