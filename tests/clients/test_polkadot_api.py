from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import HERE, Node, flow, node_program
from tests.clients.settled_chain import Settled

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FERDIE = "5CiPPseXPECbkjWCa6MnjNokrgYjMqmKndv2rSnekmSK2DjL"
ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@pytest.fixture(scope="module")
def seen(node: Node, settled: Settled, javascript: Path) -> dict[str, Any]:
    """Run the whole flow once; each test looks at a part of what the client saw."""
    script = str(HERE / "js" / "polkadot_api.mjs")
    return flow([node_program(), script, node.websocket, settled.facts()], javascript)


def test_it_connects_and_knows_the_chain(seen: dict[str, Any], node: Node) -> None:
    told = seen["connects"]
    assert told["chain"] == "OpenLedger Development"
    assert told["genesis"] == node.call("chain_getBlockHash", 0)
    assert (told["ss58"], told["decimals"], told["symbols"]) == (42, [18], ["OPEN"])
    assert {"System", "Balances", "Datanets", "Models", "Inference"} <= set(told["pallets"])


def test_it_reads_an_account(seen: dict[str, Any]) -> None:
    told = seen["readsAnAccount"]
    assert told["address"] == ALICE
    assert int(told["free"]) > 10**20


def test_both_ways_to_ask_for_a_fee_agree(seen: dict[str, Any]) -> None:
    told = seen["estimatesAFee"]
    assert int(told["fee"]) > 0
    assert told["fee"] == told["detailed"]
    assert told["class"] == "Normal"


@pytest.mark.parametrize("scheme", ["sr25519", "ed25519", "ecdsa"])
def test_a_transfer_is_watched_to_finality(seen: dict[str, Any], scheme: str) -> None:
    told = seen["transfersWithEveryScheme"][scheme]
    assert told["error"] is None
    assert int(told["received"]) == 3 * 10**18
    assert told["statuses"][0] == "Ready"
    assert told["statuses"][-1] == "Finalized"
    assert "balances.Transfer" in told["events"]
    assert told["events"][-1] == "system.ExtrinsicSuccess"


def test_a_failing_transfer_is_decoded(seen: dict[str, Any]) -> None:
    told = seen["decodesAFailure"]["token"]
    assert told["error"]["section"] == "Token"
    assert "FundsUnavailable" in told["error"]["name"]
    assert told["events"][-1] == "system.ExtrinsicFailed"


def test_a_pallets_own_error_is_decoded_to_pallet_name_and_text(seen: dict[str, Any]) -> None:
    error = seen["decodesAFailure"]["pallet"]["error"]
    assert (error["section"], error["name"]) == ("sudo", "RequireSudo")
    assert error["docs"]


def test_a_refused_transaction_says_why(seen: dict[str, Any]) -> None:
    told = seen["isToldWhyATransactionIsRefused"]
    assert told["code"] == 1010
    assert told["error"].startswith("1010: Invalid Transaction: Stale")


@pytest.mark.parametrize("kind", ["best", "finalized", "all"])
def test_heads_arrive_in_order_without_gaps(seen: dict[str, Any], kind: str) -> None:
    numbers = seen["followsHeads"][kind]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_an_old_block_is_read_with_its_state(seen: dict[str, Any]) -> None:
    told = seen["readsAnOldBlock"]
    assert told["requested"] == told["recomputed"]
    assert (told["number"], told["stateNumber"]) == (1, 1)
    assert told["calls"] == ["timestamp.set"]
    assert told["events"][-1] == "system.ExtrinsicSuccess"
    assert told["engine"] == "SMPX"


def test_a_map_is_paged_without_gaps_or_repeats(seen: dict[str, Any]) -> None:
    told = seen["pagesThroughAMap"]
    assert told["first"] + told["second"] == told["all"][:6]
    assert len(set(told["all"])) == len(told["all"]) >= 10
    assert ALICE in told["all"]


def test_watched_storage_is_told_at_every_block(seen: dict[str, Any]) -> None:
    numbers = seen["watchesStorage"]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_storage_is_proven(seen: dict[str, Any]) -> None:
    told = seen["provesStorage"]
    assert told["at"] == told["head"]
    assert told["nodes"] > 0


def test_every_plain_item_of_every_pallet_is_read(seen: dict[str, Any]) -> None:
    values = seen["readsEveryPallet"]
    for item in ("timestamp.now", "balances.totalIssuance", "sudo.key", "datanets.nextDatanet"):
        assert item in values


def test_the_events_of_a_settlement_are_decoded_and_sum_to_the_fee(
    seen: dict[str, Any], settled: Settled
) -> None:
    events = seen["readsASettlement"]
    paid = [event for event in events if event["name"] == "Paid"]
    assert all(e["fields"] == ["batch", "role", "account", "datanet", "amount"] for e in paid)
    told = [(role, account, amount) for _, role, account, _, amount in values(paid)]
    assert told == [(part.role, part.account, part.amount) for part in settled.paid]
    assert {batch for batch, *_ in values(paid)} == {str(settled.batch)}
    fee = settled.compute + settled.premium
    assert sum(int(amount) for *_, amount in values(paid)) == fee
    assert {"Executor", "Committee", "Contributor", "Owner"} <= {
        role for _, role, *_ in values(paid)
    }
    (last,) = [event for event in events if event["name"] == "Settled"]
    assert last["fields"] == ["batch", "session", "compute", "premium"]
    sums = [settled.batch, settled.session, settled.compute, settled.premium]
    assert last["values"] == [str(number) for number in sums]


def test_storage_of_our_pallets_is_decoded(seen: dict[str, Any], settled: Settled) -> None:
    told = seen["readsOurStorage"]
    assert (told["datanet"]["name"], told["datanet"]["schema"]) == ("manuals", ["title", "text"])
    assert told["version"]["licences"] == ["CC0-1.0"]
    assert [found["records"] for found in told["contributors"]] == [3, 3]
    assert (told["model"]["name"], told["model"]["stage"]) == ("manual-writer", "Launched")
    assert told["model"]["artifact"]["layout"] == ["4", "4"]
    assert told["batch"]["state"] == "Settled"
    weights = [cluster["weight"] for cluster in told["batch"]["summary"]["clusters"]]
    assert weights == ["900,000", "100,000"]
    assert (told["duty"]["selfAttested"], told["duty"]["stage"]) == (True, "Closed")
    session = told["session"]
    spent = number(session["escrow"]) - number(session["held"])
    assert spent == number(session["settledTotal"]) == settled.compute + settled.premium


def test_constants_and_errors_of_our_pallets_have_their_texts(seen: dict[str, Any]) -> None:
    told = seen["readsConstantsAndErrors"]
    assert int(told["deposit"]) == 10 * 10**18
    assert told["docs"] == "Held while a Datanet exists."
    assert told["error"] == "Another Datanet has this name. Choose another."


def test_it_calls_our_pallets_and_is_told_their_errors(seen: dict[str, Any]) -> None:
    told = seen["callsOurPallets"]
    assert told["error"] is None
    assert "datanets.Created" in told["events"]
    assert (told["stored"]["name"], told["stored"]["owner"]) == (told["name"], FERDIE)
    error = told["again"]["error"]
    assert (error["section"], error["name"]) == ("datanets", "NameTaken")
    assert error["docs"] == "Another Datanet has this name. Choose another."
    assert told["again"]["events"][-1] == "system.ExtrinsicFailed"


def values(events: list[dict[str, Any]]) -> list[list[Any]]:
    return [event["values"] for event in events]


def number(text: str) -> int:
    return int(text.replace(",", ""))
