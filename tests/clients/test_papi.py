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
STATUSES = ["signed", "broadcasted", "txBestBlocksState true", "finalized"]


@pytest.fixture(scope="module", params=["own", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def seen(node: Node, settled: Settled, javascript: Path, mode: str) -> dict[str, Any]:
    """Run the whole flow once in each mode; each test looks at a part of what the client saw."""
    script = str(HERE / "js" / "papi.mjs")
    facts = facts_for(settled, f"polkadot-api {mode}")
    return flow([node_program(), script, node.websocket, facts, mode], javascript)


def test_each_mode_speaks_its_own_api(seen: dict[str, Any], mode: str) -> None:
    spoken = set(seen["spoke"])
    newer = {method for method in spoken if "_v1_" in method}
    if mode == "legacy":
        assert not newer
        assert {"chain_subscribeAllHeads", "author_submitExtrinsic", "state_getStorage"} <= spoken
    else:
        assert {
            "chainHead_v1_follow",
            "chainHead_v1_storage",
            "chainHead_v1_call",
            "chainHead_v1_body",
            "chainHead_v1_unpin",
            "transaction_v1_broadcast",
            "archive_v1_header",
            "archive_v1_body",
            "archive_v1_storage",
            "archive_v1_call",
            "chainSpec_v1_genesisHash",
        } <= newer
        assert spoken - newer == {"rpc_methods", "openledger_blob_put", "state_getReadProof"}


def test_it_connects_and_knows_the_chain(seen: dict[str, Any], node: Node, mode: str) -> None:
    told = seen["connects"]
    # The client's older mode takes the name of the program for the name of the chain.
    called = {"own": "OpenLedger Development", "legacy": node.call("system_name")}[mode]
    assert told["chain"] == called
    assert told["genesis"] == node.call("chain_getBlockHash", 0)
    assert told["properties"] == {"ss58Format": 42, "tokenDecimals": 18, "tokenSymbol": "OPEN"}
    assert told["spec"] == "openledger"
    assert told["metadata"] == "v16"
    assert {"System", "Balances", "Datanets", "Models", "Inference"} <= set(told["pallets"])
    assert {"Core", "Metadata", "AccountNonceApi", "TransactionPaymentApi"} <= set(told["apis"])


def test_it_reads_an_account(seen: dict[str, Any]) -> None:
    told = seen["readsAnAccount"]
    assert told["address"] == ALICE
    assert int(told["free"]) > 10**20
    assert int(told["best"]) > 10**20


def test_both_ways_to_ask_for_a_fee_agree(seen: dict[str, Any]) -> None:
    told = seen["estimatesAFee"]
    parts = told["details"]["inclusion_fee"]
    assert int(told["fee"]) == sum(map(int, parts.values())) > 0
    assert set(parts) == {"base_fee", "len_fee", "adjusted_weight_fee"}
    assert told["unsigned"] == told["fee"]
    assert told["class"] == "Normal"


@pytest.mark.parametrize("scheme", ["sr25519", "ed25519", "ecdsa"])
def test_a_transfer_is_watched_to_finality(seen: dict[str, Any], scheme: str) -> None:
    told = seen["transfersWithEveryScheme"][scheme]
    assert (told["ok"], told["error"]) == (True, None)
    assert int(told["received"]) == 3 * OPEN
    assert told["statuses"] == STATUSES
    assert "Balances.Transfer" in told["events"]
    assert told["events"][-1] == "System.ExtrinsicSuccess"


def test_a_failing_transfer_is_decoded(seen: dict[str, Any]) -> None:
    told = seen["decodesAFailure"]["token"]
    assert told["ok"] is False
    assert told["error"] == {"type": "Token", "value": {"type": "FundsUnavailable"}}
    assert told["events"][-1] == "System.ExtrinsicFailed"


def test_a_pallets_own_error_is_decoded_to_pallet_and_name(seen: dict[str, Any]) -> None:
    told = seen["decodesAFailure"]["pallet"]
    assert module_error(told) == ("Sudo", "RequireSudo")


def test_a_transaction_is_refused_before_it_is_sent(seen: dict[str, Any]) -> None:
    told = seen["isToldWhyATransactionIsRefused"]
    assert told["kind"] == "InvalidTxError"
    assert told["error"]["value"] == {"type": "Stale"}


@pytest.mark.parametrize("kind", ["best", "finalized", "all"])
def test_heads_arrive_in_order_without_gaps(seen: dict[str, Any], kind: str) -> None:
    numbers = seen["followsHeads"][kind]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


@pytest.mark.parametrize("kind", ["best", "finalized"])
def test_watched_storage_is_told_as_it_is_in_each_block(seen: dict[str, Any], kind: str) -> None:
    told = seen["watchesStorage"][kind]
    # The client goes on with the newest block, and leaves out those that came while it read.
    numbers = [int(text.partition(" in ")[0]) for text in told]
    assert told == [f"{number} in {number}" for number in numbers]
    assert numbers[0] < numbers[1] < numbers[2]


def test_an_old_block_is_read_with_its_state(seen: dict[str, Any], node: Node) -> None:
    told = seen["readsAnOldBlock"]
    assert told["requested"] == told["recomputed"] == node.call("chain_getBlockHash", 1)
    assert told["parent"] == node.call("chain_getBlockHash", 0)
    assert (told["number"], told["stateNumber"], told["extrinsics"]) == (1, 1, 1)
    assert (told["call"], told["version"]) == ("Timestamp.set", 4)
    assert told["events"][-1] == "System.ExtrinsicSuccess"


def test_entries_of_maps_and_double_maps_are_complete(seen: dict[str, Any]) -> None:
    told = seen["readsEntriesOfMaps"]
    accounts = told["accounts"]
    assert len(set(accounts)) == len(accounts) >= 10
    assert {ALICE, BOB, FERDIE} <= set(accounts)
    assert told["same"]
    assert [int(found["records"]) for found in told["contributors"]] == [3, 3]
    assert {found["datanet"] for found in told["contributors"]} == {0}
    assert 0 in told["datanets"]


def test_a_map_of_an_old_block_is_paged_by_archive(seen: dict[str, Any], mode: str) -> None:
    told = seen["pagesThroughAMapOfAnOldBlock"]
    assert sorted(set(told["all"])) == told["all"]
    assert len(told["all"]) >= 10
    assert told["whole"]
    # The client's older mode leaves the start of the page out of the question.
    assert told["after"] == (told["all"][3:] if mode == "own" else told["all"])


def test_the_runtime_is_called_now_and_at_an_old_block(seen: dict[str, Any], node: Node) -> None:
    told = seen["callsTheRuntime"]
    version = node.call("state_getRuntimeVersion")
    assert told["spec"] == version["specVersion"]
    assert told["transaction"] == version["transactionVersion"]
    assert told["nonce"] == told["stored"] > 0
    assert told["atFirst"] == 0
    assert int(told["lengthFee"]) > 0


def test_runtime_apis_of_our_own_are_called(seen: dict[str, Any]) -> None:
    told = seen["callsRuntimeApisOfOurOwn"]
    assert (told["model"], told["duty"]) == ("manual-writer", {"type": "Closed"})
    assert [cluster["weight"] for cluster in told["clusters"]] == [900_000, 100_000]
    assert told["why"] == {"type": "Paid"}
    assert told["none"] is None


def test_more_questions_than_are_answered_at_once_are_all_answered(seen: dict[str, Any]) -> None:
    told = seen["asksForManyAtOnce"]
    assert (told["asked"], told["absent"]) == (301, 300)
    assert int.from_bytes(bytes.fromhex(told["last"][2:]), "little") > 0


def test_the_clients_own_verifier_accepts_our_proofs_and_refuses_spoilt_ones(
    seen: dict[str, Any],
) -> None:
    told = seen["checksProofsItself"]
    assert told["sameBlock"]
    assert told["proven"] == told["root"]
    assert told["provenValues"] == told["values"]
    assert all(told["values"])
    assert not told["spoilt"]


def test_merkle_values_are_those_of_the_proven_nodes(seen: dict[str, Any]) -> None:
    told = seen["checksMerkleValuesItself"]
    assert told["ofAll"] == told["proven"] == told["root"]
    assert told["ofPallet"] == told["provenOfPallet"] != told["root"]
    assert told["ofNothing"] is None


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
    assert told["version"]["licences"] == ["CC0-1.0"]
    assert (told["model"]["name"], told["model"]["stage"]) == (
        "manual-writer",
        {"type": "Launched"},
    )
    assert told["model"]["artifact"]["layout"] == [4, 4]
    assert told["batch"]["state"] == {"type": "Settled"}
    clusters = told["batch"]["summary"]["clusters"]
    assert [cluster["weight"] for cluster in clusters] == [900_000, 100_000]
    assert (told["duty"]["self_attested"], told["duty"]["stage"]) == (True, {"type": "Closed"})
    session = told["session"]
    spent = int(session["escrow"]) - int(session["held"])
    assert spent == int(session["settled_total"]) == settled.compute + settled.premium


def test_it_contributes_to_a_datanet_of_its_own(seen: dict[str, Any]) -> None:
    told = seen["contributesToADatanet"]
    for step in ("created", "submitted", "accepted"):
        assert told[step]["ok"], told[step]
    assert "Datanets.BatchSubmitted" in told["submitted"]["events"]
    assert told["uploaded"]["complete"]
    published = ["Datanets.BatchAccepted", "Utility.ItemCompleted", "Datanets.VersionPublished"]
    assert published == told["accepted"]["events"][1:4]
    assert (told["stored"]["name"], told["stored"]["owner"]) == (told["name"], FERDIE)
    assert (told["stored"]["records"], told["stored"]["versions"]) == ("2", 1)
    assert (told["batch"]["contributor"], told["batch"]["status"]) == (
        FERDIE,
        {"type": "Accepted"},
    )
    assert int(told["contributor"]["bonded"]) == OPEN


def test_an_error_of_our_pallets_is_decoded(seen: dict[str, Any]) -> None:
    assert module_error(seen["contributesToADatanet"]["again"]) == ("Datanets", "NameTaken")


def test_it_stakes_on_models_and_opens_a_session(seen: dict[str, Any], settled: Settled) -> None:
    told = seen["stakesAndOpensASession"]
    for step, event in {
        "proposed": "Models.Proposed",
        "backed": "Models.Backed",
        "opened": "Inference.SessionOpened",
    }.items():
        assert told[step]["ok"], told[step]
        assert event in told[step]["events"]
    proposed = told["proposed"]["stored"]
    assert (proposed["owner"], int(proposed["stake"])) == (FERDIE, 10 * OPEN)
    backers = {backer["account"]: int(backer["amount"]) for backer in stored_backers(told)}
    assert backers[BOB] >= OPEN
    opened = told["opened"]["stored"]
    assert (opened["customer"], opened["model"]) == (EVE, settled.model)
    assert (int(opened["held"]), opened["state"]) == (5 * OPEN, {"type": "Open"})


def module_error(told: dict[str, Any]) -> tuple[str, str]:
    """Return pallet and name of the error with which a transaction failed."""
    assert told["ok"] is False
    assert told["events"][-1] == "System.ExtrinsicFailed"
    assert told["error"]["type"] == "Module"
    pallet = told["error"]["value"]
    return pallet["type"], pallet["value"]["type"]


def stored_backers(told: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told["backed"]["stored"]["backers"]
    return found
