from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import HERE, Node, flow, node_program
from tests.clients.own_calls import facts_for
from tests.clients.settled_chain import Settled

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
FERDIE = "5CiPPseXPECbkjWCa6MnjNokrgYjMqmKndv2rSnekmSK2DjL"
BOB = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
EVE = "5HGjWAeFDfFCWPsjFQdVV2Msvz2XtMktvgocEZcCj68kUMaw"
OPEN = 10**18


@pytest.fixture(scope="module", params=["v2", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def seen(node: Node, settled: Settled, javascript: Path, mode: str) -> dict[str, Any]:
    """Run the whole flow once in each mode; each test looks at a part of what the client saw."""
    script = str(HERE / "js" / "dedot.mjs")
    facts = facts_for(settled, f"dedot {mode}")
    return flow([node_program(), script, node.websocket, facts, mode], javascript)


def test_each_mode_speaks_its_own_api(seen: dict[str, Any], mode: str) -> None:
    assert seen["connects"]["version"] == mode
    spoken = set(seen["spoke"])
    newer = {method for method in spoken if "_v1_" in method}
    if mode == "legacy":
        assert not newer
        assert {"chain_subscribeNewHeads", "author_submitAndWatchExtrinsic"} <= spoken
    else:
        assert {
            "chainHead_v1_follow",
            "chainHead_v1_storage",
            "chainHead_v1_call",
            "chainHead_v1_body",
            "chainHead_v1_stopOperation",
            "chainHead_v1_unfollow",
            "chainHead_v1_unpin",
            "transaction_v1_broadcast",
            "transaction_v1_stop",
            "archive_v1_header",
            "archive_v1_storage",
            "archive_v1_call",
            "chainSpec_v1_genesisHash",
        } <= newer
        assert spoken - newer == {"rpc_methods", "openledger_blob_put"}


def test_it_connects_and_knows_the_chain(seen: dict[str, Any], node: Node) -> None:
    told = seen["connects"]
    assert (told["chain"], told["spec"]) == ("OpenLedger Development", "openledger")
    assert told["genesis"] == node.call("chain_getBlockHash", 0)
    assert told["properties"] == {"ss58Format": 42, "tokenDecimals": 18, "tokenSymbol": "OPEN"}
    assert (told["metadata"], told["ss58"]) == ("V16", 42)
    assert {"System", "Balances", "Datanets", "Models", "Inference"} <= set(told["pallets"])
    assert {"Core", "Metadata", "AccountNonceApi", "TransactionPaymentApi"} <= set(told["apis"])


def test_it_reads_an_account(seen: dict[str, Any]) -> None:
    told = seen["readsAnAccount"]
    assert told["address"] == ALICE
    assert int(told["free"]) > 10**20


def test_both_ways_to_ask_for_a_fee_agree(seen: dict[str, Any]) -> None:
    told = seen["estimatesAFee"]
    assert int(told["fee"]) == int(told["detailed"]) > 0
    assert told["class"] == "Normal"


@pytest.mark.parametrize("scheme", ["sr25519", "ed25519", "ecdsa"])
def test_a_transfer_is_watched_to_finality(seen: dict[str, Any], mode: str, scheme: str) -> None:
    told = seen["transfersWithEveryScheme"][scheme]
    assert told["error"] is None
    assert int(told["received"]) == 3 * OPEN
    sent = ["Validated", "Broadcasting"] if mode == "v2" else ["Validated"]
    # A block that is final at once ends the client's search for it in the best chain.
    included = [status for status in told["statuses"] if status != "BestChainBlockIncluded"]
    assert included == [*sent, "Finalized"]
    assert "Balances.Transfer" in told["events"]
    assert told["events"][-1] == "System.ExtrinsicSuccess"


def test_a_failing_transfer_is_decoded(seen: dict[str, Any]) -> None:
    told = seen["decodesAFailure"]["token"]
    assert told["error"] == {"pallet": "Token", "name": "FundsUnavailable"}
    assert told["events"][-1] == "System.ExtrinsicFailed"


def test_a_pallets_own_error_is_decoded_to_pallet_name_and_text(seen: dict[str, Any]) -> None:
    error = seen["decodesAFailure"]["pallet"]["error"]
    assert (error["pallet"], error["name"]) == ("Sudo", "RequireSudo")
    assert error["docs"]


def test_a_refused_transaction_says_why(seen: dict[str, Any], mode: str) -> None:
    told = seen["isToldWhyATransactionIsRefused"]
    if mode == "v2":
        assert told["kind"] == "InvalidTxError"
        assert told["data"]["err"] == {"type": "Invalid", "value": {"type": "Stale"}}
    else:
        assert told["message"] == "1010: Invalid Transaction"
        assert told["data"].startswith("Stale")


@pytest.mark.parametrize("kind", ["best", "finalized"])
def test_heads_arrive_in_order_without_gaps(seen: dict[str, Any], kind: str) -> None:
    numbers = seen["followsHeads"][kind]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


def test_watched_storage_is_told_as_blocks_come(seen: dict[str, Any], mode: str) -> None:
    numbers = seen["watchesStorage"]
    assert numbers[0] < numbers[1] < numbers[2]
    # The newer client misses blocks that come while it reads; the older one is told of all.
    assert mode == "v2" or numbers == list(range(numbers[0], numbers[0] + 3))


def test_an_old_block_is_read_with_its_state(seen: dict[str, Any], node: Node) -> None:
    told = seen["readsAnOldBlock"]
    assert told["requested"] == told["recomputed"] == node.call("chain_getBlockHash", 1)
    assert told["parent"] == node.call("chain_getBlockHash", 0)
    assert (told["number"], told["stateNumber"], told["nonce"]) == (1, 1, 0)
    assert (told["call"], told["version"]) == ("Timestamp.Set", 4)
    assert told["events"][-1] == "System.ExtrinsicSuccess"


def test_entries_of_maps_and_double_maps_are_complete(seen: dict[str, Any]) -> None:
    told = seen["readsEntriesOfMaps"]
    accounts = told["accounts"]
    assert len(set(accounts)) == len(accounts) >= 10
    assert {ALICE, BOB, FERDIE} <= set(accounts)
    assert told["same"]
    assert [int(found["records"]) for found in told["contributors"]] == [3, 3]


def test_a_map_is_paged_without_gaps_or_repeats(seen: dict[str, Any], mode: str) -> None:
    told = seen["readsEntriesOfMaps"]
    # The client pages in its older mode alone.
    paged = [account for page in told["pages"] for account in page]
    assert paged == (told["accounts"] if mode == "legacy" else [])
    assert all(len(page) == 4 for page in told["pages"][:-1])


def test_the_runtime_is_called(seen: dict[str, Any], node: Node) -> None:
    told = seen["callsTheRuntime"]
    version = node.call("state_getRuntimeVersion")
    assert told["spec"] == version["specVersion"]
    assert told["transaction"] == version["transactionVersion"]
    assert told["nonce"] == told["stored"] > 0
    assert int(told["lengthFee"]) > 0


def test_runtime_apis_of_our_own_are_called(seen: dict[str, Any]) -> None:
    told = seen["callsRuntimeApisOfOurOwn"]
    assert (told["model"], told["duty"], told["why"]) == ("manual-writer", "Closed", "Paid")
    assert [cluster["weight"] for cluster in told["clusters"]] == [900_000, 100_000]
    assert told["none"] is None


def test_more_questions_than_are_answered_at_once_are_all_answered(seen: dict[str, Any]) -> None:
    assert seen["asksForManyAtOnce"] == {"asked": 300, "empty": 300}


def test_the_state_root_of_a_header_is_that_of_its_state(
    seen: dict[str, Any], node: Node, mode: str
) -> None:
    told = seen["checksTheStateRoot"]
    root, found = told["now"]
    assert root == found
    if mode == "v2":
        root, found = told["then"]
        assert root == found != told["now"][0]
        assert told["genesis"] == node.call("chain_getBlockHash", 0)
        assert told["height"] > 1


def test_the_events_of_a_settlement_are_decoded_and_sum_to_the_fee(
    seen: dict[str, Any], settled: Settled
) -> None:
    told = seen["readsASettlement"]
    paid = told["paid"]
    found = [(part["role"], part.get("account"), part["amount"]) for part in paid]
    assert found == [(part.role, part.account, part.amount) for part in settled.paid]
    assert {part["batch"] for part in paid} == {str(settled.batch)}
    (done,) = told["settled"]
    assert {name: int(value) for name, value in done.items()} == {
        "batch": settled.batch,
        "session": settled.session,
        "compute": settled.compute,
        "premium": settled.premium,
    }
    assert sum(int(part["amount"]) for part in paid) == settled.compute + settled.premium


def test_storage_of_our_pallets_is_decoded(seen: dict[str, Any], settled: Settled) -> None:
    told = seen["readsOurStorage"]
    assert (told["datanet"]["name"], told["datanet"]["schema"]) == ("manuals", ["title", "text"])
    assert int(told["datanet"]["deposit"]) == int(told["deposit"]) == 10 * OPEN
    assert [bytes.fromhex(found[2:]) for found in told["version"]["licences"]] == [b"CC0-1.0"]
    assert (told["model"]["name"], told["model"]["stage"]) == ("manual-writer", "Launched")
    assert told["batch"]["state"] == "Settled"
    clusters = told["batch"]["summary"]["clusters"]
    assert [cluster["weight"] for cluster in clusters] == [900_000, 100_000]
    assert (told["duty"]["selfAttested"], told["duty"]["stage"]) == (True, "Closed")
    session = told["session"]
    spent = int(session["escrow"]) - int(session["held"])
    assert spent == int(session["settledTotal"]) == settled.compute + settled.premium
    assert told["error"] == "Another Datanet has this name. Choose another."


def test_it_contributes_to_a_datanet_of_its_own(seen: dict[str, Any]) -> None:
    told = seen["contributesToADatanet"]
    for step in ("created", "submitted", "accepted"):
        assert told[step]["error"] is None, told[step]
    assert "Datanets.BatchSubmitted" in told["submitted"]["events"]
    assert told["uploaded"]["complete"]
    published = ["Datanets.BatchAccepted", "Utility.ItemCompleted", "Datanets.VersionPublished"]
    assert published == told["accepted"]["events"][1:4]
    assert (told["stored"]["name"], told["stored"]["owner"]) == (told["name"], FERDIE)
    assert (told["stored"]["records"], told["stored"]["versions"]) == ("2", 1)
    assert told["batch"]["status"] == "Accepted"
    assert int(told["contributor"]["bonded"]) == OPEN


def test_an_error_of_our_pallets_is_decoded_to_pallet_name_and_text(seen: dict[str, Any]) -> None:
    again = seen["contributesToADatanet"]["again"]
    assert again["events"][-1] == "System.ExtrinsicFailed"
    assert again["error"] == {
        "pallet": "Datanets",
        "name": "NameTaken",
        "docs": "Another Datanet has this name. Choose another.",
    }


def test_it_stakes_on_models_and_opens_a_session(seen: dict[str, Any], settled: Settled) -> None:
    told = seen["stakesAndOpensASession"]
    for step, event in {
        "proposed": "Models.Proposed",
        "backed": "Models.Backed",
        "opened": "Inference.SessionOpened",
    }.items():
        assert told[step]["error"] is None, told[step]
        assert event in told[step]["events"]
    proposed = told["proposed"]["stored"]
    assert (proposed["owner"], int(proposed["stake"])) == (FERDIE, 10 * OPEN)
    backers = {
        backer["account"]: int(backer["amount"]) for backer in told["backed"]["stored"]["backers"]
    }
    assert backers[BOB] >= OPEN
    opened = told["opened"]["stored"]
    assert (opened["customer"], opened["model"]) == (EVE, settled.model)
    assert (int(opened["held"]), opened["state"]) == (5 * OPEN, "Open")
