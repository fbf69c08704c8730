from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import HERE, Node, flow
from tests.clients.own_calls import declared, facts_for
from tests.clients.settled_chain import Settled

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BOB = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
FERDIE = "5CiPPseXPECbkjWCa6MnjNokrgYjMqmKndv2rSnekmSK2DjL"
ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
RECORDS = "what Python clients contribute"


@pytest.fixture(scope="module")
def seen(node: Node, settled: Settled, python_client: Path) -> dict[str, Any]:
    """Run the whole flow once; each test looks at a part of what the client saw."""
    script = str(HERE / "py" / "substrate_interface.py")
    facts = facts_for(settled, RECORDS)
    return flow([str(python_client), script, node.websocket, facts], HERE)


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


def test_the_events_of_a_settlement_are_decoded_and_sum_to_the_fee(
    seen: dict[str, Any], settled: Settled
) -> None:
    events = seen["reads_a_settlement"]
    paid = [event["values"] for event in events if event["name"] == "Paid"]
    told = [(part["role"], part["account"], str(part["amount"])) for part in paid]
    assert told == [(part.role, part.account, part.amount) for part in settled.paid]
    assert {part["batch"] for part in paid} == {settled.batch}
    assert sum(part["amount"] for part in paid) == settled.compute + settled.premium
    (last,) = [event["values"] for event in events if event["name"] == "Settled"]
    assert last == {
        "batch": settled.batch,
        "session": settled.session,
        "compute": settled.compute,
        "premium": settled.premium,
    }


def test_storage_of_our_pallets_is_decoded(seen: dict[str, Any], settled: Settled) -> None:
    told = seen["reads_our_storage"]
    assert (told["datanet"]["name"], told["datanet"]["schema"]) == ("manuals", ["title", "text"])
    assert told["version"]["licences"] == ["CC0-1.0"]
    assert [records for _, records in told["contributors"]] == [3, 3]
    assert (told["model"]["name"], told["model"]["stage"]) == ("manual-writer", "Launched")
    assert told["model"]["artifact"]["layout"] == [4, 4]
    assert told["batch"]["state"] == "Settled"
    weights = [cluster["weight"] for cluster in told["batch"]["summary"]["clusters"]]
    assert weights == [900_000, 100_000]
    assert (told["duty"]["self_attested"], told["duty"]["stage"]) == (True, "Closed")
    session = told["session"]
    spent = session["escrow"] - session["held"]
    assert spent == session["settled_total"] == settled.compute + settled.premium


def test_constants_and_errors_of_our_pallets_have_their_texts(seen: dict[str, Any]) -> None:
    told = seen["reads_constants_and_errors"]
    assert told["deposit"] == 10 * 10**18
    assert told["error"] == "Another Datanet has this name. Choose another."


def test_it_calls_our_pallets_and_is_told_their_errors(seen: dict[str, Any]) -> None:
    told = seen["calls_our_pallets"]
    assert told["success"]
    assert "Datanets.Created" in told["events"]
    assert (told["stored"]["name"], told["stored"]["owner"]) == (told["name"], FERDIE)
    assert told["submitted"]
    batch = told["batch"]
    assert batch["sub_root"] == "0x" + declared(RECORDS).sub_root.hex()
    assert (batch["contributor"], batch["count"], batch["status"]) == (FERDIE, 2, "Pending")
    assert told["again"]["success"] is False
    error = told["again"]["error"]
    assert (error["type"], error["name"]) == ("Module", "NameTaken")
    assert error["docs"] == ["Another Datanet has this name. Choose another."]


def test_a_stake_on_a_model_is_counted_to_its_backer(seen: dict[str, Any]) -> None:
    told = seen["stakes_on_a_model"]
    assert told["success"]
    assert "Models.Backed" in told["events"]
    assert told["added"] == 2 * 10**18


def test_a_session_is_opened(seen: dict[str, Any], settled: Settled) -> None:
    told = seen["opens_a_session"]
    assert told["success"]
    session = told["session"]
    assert (session["customer"], session["voucher_key"]) == (FERDIE, BOB)
    assert (session["model"], session["state"]) == (settled.model, "Open")
    assert session["escrow"] == session["held"] == 20 * 10**18
