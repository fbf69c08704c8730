from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import HERE, Node, flow
from tests.clients.own_calls import declared, facts_for
from tests.clients.settled_chain import Settled

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
BOB = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
FERDIE = "5CiPPseXPECbkjWCa6MnjNokrgYjMqmKndv2rSnekmSK2DjL"
RECORDS = "what asynchronous clients contribute"


@pytest.fixture(scope="module")
def seen(node: Node, settled: Settled, async_python_client: Path) -> dict[str, Any]:
    """Run the whole flow once; each test looks at a part of what the client saw."""
    script = str(HERE / "py" / "async_substrate_interface_flow.py")
    facts = facts_for(settled, RECORDS)
    return flow([str(async_python_client), script, node.websocket, facts], HERE)


def test_it_connects_and_knows_the_chain(seen: dict[str, Any], node: Node) -> None:
    told = seen["connects"]
    assert told["chain"] == "OpenLedger Development"
    assert told["genesis"] == node.call("chain_getBlockHash", 0)
    assert told["properties"] == {"ss58Format": 42, "tokenSymbol": "OPEN", "tokenDecimals": 18}
    assert {"System", "Balances", "Datanets", "Models", "Inference"} <= set(told["pallets"])


def test_it_takes_the_metadata_that_tells_the_runtime_calls(seen: dict[str, Any]) -> None:
    assert seen["connects"]["metadata"] == 15


def test_it_reads_an_account_and_its_next_nonce(seen: dict[str, Any]) -> None:
    told = seen["reads_an_account"]
    assert told["address"] == ALICE
    assert told["free"] > 10**20
    assert told["next"] == told["nonce"]


def test_it_estimates_a_fee(seen: dict[str, Any]) -> None:
    told = seen["estimates_a_fee"]
    assert told["partial_fee"] > 0
    assert told["class"] == "Normal"
    assert told["weight"]["ref_time"] > 0


def test_a_transfer_is_watched_to_finality(seen: dict[str, Any]) -> None:
    told = seen["transfers"]
    assert told["success"]
    assert told["found"]
    assert told["finalized"]
    assert told["received"] == 3 * 10**18
    assert told["fee"] > 0
    assert told["weight"]["ref_time"] > 0
    assert "Balances.Transfer" in told["events"]
    assert told["events"][-1] == "System.ExtrinsicSuccess"


def test_a_failing_transfer_is_decoded(seen: dict[str, Any]) -> None:
    told = seen["decodes_failures"]["token"]
    assert told["success"] is False
    assert (told["error"]["name"], told["error"]["docs"]) == ("Token", "FundsUnavailable")
    assert told["events"][-1] == "System.ExtrinsicFailed"
    assert told["last"]["dispatch_error"] == {"Token": "FundsUnavailable"}


def test_a_pallets_own_error_is_decoded_to_name_and_text(seen: dict[str, Any]) -> None:
    told = seen["decodes_failures"]["pallet"]
    assert told["success"] is False
    assert (told["error"]["type"], told["error"]["name"]) == ("Module", "RequireSudo")
    assert told["error"]["docs"]


def test_a_refused_transaction_is_refused(seen: dict[str, Any]) -> None:
    assert seen["is_told_why_a_transaction_is_refused"] == "Invalid Transaction"


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
    accounts = seen["pages_through_maps"]["accounts"]
    assert ALICE in accounts
    assert len(set(accounts)) == len(accounts) >= 10
    assert seen["pages_through_maps"]["at_once"] == accounts


def test_a_double_map_is_paged_below_its_first_key_and_whole(
    seen: dict[str, Any], settled: Settled
) -> None:
    told = seen["pages_through_maps"]
    assert [records for _, records in told["inner"]] == [3, 3]
    contributors = {(settled.datanet, account) for account, _ in told["inner"]}
    whole = [tuple(key) for key in told["outer"]]
    assert contributors <= set(whole)
    assert len(contributors) == 2
    assert len(set(whole)) == len(whole)


def test_the_runtime_is_called_by_what_its_metadata_says(seen: dict[str, Any]) -> None:
    told = seen["calls_the_runtime"]
    assert told["version"].items() >= told["told"].items()
    assert told["nonce"] == told["next"] > 0
    assert told["length_fee"] > 0


def test_a_read_proof_leads_from_the_state_root_to_the_value(seen: dict[str, Any]) -> None:
    told = seen["proves_storage"]
    assert told["at"] == told["head"]
    assert told["root"] in told["hashes"]
    assert told["holds_the_key"]


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


def test_the_attribution_of_a_settled_batch_is_read(seen: dict[str, Any], settled: Settled) -> None:
    told = seen["reads_the_attribution"]
    assert (told["datanet"]["name"], told["datanet"]["schema"]) == ("manuals", ["title", "text"])
    assert (told["model"]["name"], told["model"]["stage"]) == ("manual-writer", "Launched")
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


def test_a_datanet_is_created_and_contributed_to(seen: dict[str, Any]) -> None:
    told = seen["contributes_to_a_datanet"]
    assert told["created"]["success"]
    assert "Datanets.Created" in told["created"]["events"]
    assert (told["datanet"]["name"], told["datanet"]["owner"]) == (told["name"], FERDIE)
    assert told["submitted"]["success"]
    assert "Datanets.BatchSubmitted" in told["submitted"]["events"]
    batch, meant = told["batch"], declared(RECORDS)
    assert batch["sub_root"] == "0x" + meant.sub_root.hex()
    assert (batch["contributor"], batch["count"], batch["status"]) == (FERDIE, 2, "Pending")
    assert (batch["bond"], batch["licence"]) == (10**18, "CC0-1.0")


def test_the_error_of_our_own_pallet_is_told_by_name_and_text(seen: dict[str, Any]) -> None:
    told = seen["contributes_to_a_datanet"]["again"]
    assert told["success"] is False
    assert (told["error"]["type"], told["error"]["name"]) == ("Module", "NameTaken")
    assert told["error"]["docs"] == ["Another Datanet has this name. Choose another."]


def test_a_stake_on_a_model_is_counted_to_its_backer(seen: dict[str, Any]) -> None:
    told = seen["stakes_on_a_model"]
    assert told["success"]
    assert "Models.Backed" in told["events"]
    assert told["added"] == 2 * 10**18


def test_a_session_is_opened(seen: dict[str, Any], settled: Settled) -> None:
    told = seen["opens_a_session"]
    assert told["success"]
    assert "Inference.SessionOpened" in told["events"]
    session = told["session"]
    assert (session["customer"], session["voucher_key"]) == (FERDIE, BOB)
    assert (session["model"], session["state"]) == (settled.model, "Open")
    assert session["escrow"] == session["held"] == 20 * 10**18
