from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.clients.conftest import HERE, Node, flow, node_program, running_node

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

OPEN = 10**18


@dataclass(frozen=True)
class Pair:
    """A validator that keeps keys, and a node that follows it."""

    validator: Node
    follower: Node


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    password = folder / "password"
    password.write_text("of a test")
    listen = ("--listen-addr", "/ip4/127.0.0.1/tcp/0")
    data = ("--base-path", str(folder / "data"), "--password-filename", str(password))
    dev = ("--dev", "--state-pruning", "archive")
    with running_node(folder / "validator", *dev, *data, *listen) as validator:
        (address,) = validator.call("system_localListenAddresses")
        options = ("--chain", "dev", "--tmp", "--bootnodes", address, *listen)
        with running_node(folder / "follower", *options) as follower:
            yield Pair(validator, follower)


@pytest.fixture(scope="module")
def seen(pair: Pair, javascript: Any) -> dict[str, Any]:
    """Make every call once; each test looks at a part of what the client saw."""
    script = str(HERE / "js" / "every_rpc.mjs")
    (address,) = pair.follower.call("system_localListenAddresses")
    told = {"peer": {"address": address, "id": pair.follower.call("system_localPeerId")}}
    return flow([node_program(), script, pair.validator.websocket, json.dumps(told)], javascript)


def test_every_call_that_the_client_knows_and_the_node_lists_was_made(seen: dict[str, Any]) -> None:
    told = seen["wasAskedEverything"]
    assert told["left"] == []
    assert told["count"] >= 60


def test_it_knows_the_node(seen: dict[str, Any], pair: Pair) -> None:
    told, node = seen["knowsTheNode"], pair.validator
    for member, method in (("name", "name"), ("version", "version"), ("id", "localPeerId")):
        assert told[member] == node.call(f"system_{method}")
    assert (told["chain"], told["type"]) == ("OpenLedger Development", "Development")
    assert told["roles"] == ["Authority"]
    assert told["properties"]["ss58Format"] == 42
    assert told["properties"]["tokenDecimals"] == [18]
    assert told["properties"]["tokenSymbol"] == ["OPEN"]
    assert told["addresses"] == node.call("system_localListenAddresses")
    assert told["health"] == {"peers": 1, "isSyncing": False, "shouldHavePeers": False}
    assert told["methods"] == node.call("rpc_methods")["methods"]


def test_it_knows_and_reserves_the_nodes_peers(seen: dict[str, Any], pair: Pair) -> None:
    told = seen["knowsItsPeers"]
    ours, theirs = (node.call("system_localPeerId") for node in (pair.validator, pair.follower))
    assert (told["other"]["id"], told["other"]["roles"]) == (theirs, "FULL")
    assert told["other"]["best"] == told["hash"]
    assert told["state"]["id"] == ours
    assert [peer for peer, _ in told["state"]["peers"]] == [theirs]
    assert told["state"]["peers"][0][1].startswith("openledger/")
    assert told["before"] <= told["sync"]["currentBlock"] <= told["after"]
    assert told["sync"]["highestBlock"] >= told["sync"]["currentBlock"]
    assert (told["reserved"], told["left"]) == ([theirs], [])


def test_it_changes_the_log(seen: dict[str, Any]) -> None:
    told = seen["changesTheLog"]
    assert (told["added"], told["reset"]) == (None, None)
    assert told["wrong"]["code"] == -32602


def test_it_reads_a_block(seen: dict[str, Any]) -> None:
    told = seen["readsBlocks"]
    assert told["hashes"] == [told["wanted"]] * 3
    assert told["calls"] == ["timestamp.set", "balances.transferKeepAlive"]
    assert told["finalized"] >= told["number"]
    assert told["unknown"]["message"] == "Unable to retrieve header and parent from supplied hash"


def test_it_follows_heads_in_order_without_gaps(seen: dict[str, Any]) -> None:
    for numbers in (*seen["followsHeads"], *seen["derivesBlocks"]["heads"], seen["watchesStorage"]):
        assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_every_way_to_read_a_value_agrees(seen: dict[str, Any]) -> None:
    told = seen["readsStorage"]
    assert len(set(told["numbers"])) == 1
    assert told["hashes"][0] == told["hashes"][1]
    assert (told["size"], told["nothing"]) == (4, True)
    assert told["free"][0] == told["free"][1]
    assert told["range"]["blocks"] == told["range"]["wanted"]
    assert int(told["range"]["received"]) == 2 * OPEN


def test_every_way_to_list_keys_agrees(seen: dict[str, Any]) -> None:
    told = seen["listsKeys"]
    assert told["all"] == told["accounts"] == sorted(set(told["all"]))
    assert len(told["all"]) > 5
    assert told["paged"] == told["all"][:4]
    assert told["pairs"] == told["wanted"]


def test_proofs_lead_to_the_state_root(seen: dict[str, Any]) -> None:
    told = seen["provesStorage"]
    assert told["seen"] == [told["wanted"]] * 2


def test_version_and_metadata_agree_wherever_they_are_read(seen: dict[str, Any]) -> None:
    told = seen["readsTheRules"]
    assert told["versions"] == [told["versions"][0]] * 3
    assert told["versions"][0][:2] == told["constant"]
    assert told["metadata"] == 14
    assert told["pallets"] == told["newest"]


def test_a_blocks_trace_tells_what_the_state_says_after_it(seen: dict[str, Any]) -> None:
    told = seen["tracesABlock"]
    assert told["hashes"] == told["wanted"]
    assert told["written"] == told["values"]
    assert told["spans"].count("apply_extrinsic") == 2


def test_there_are_no_child_tries(seen: dict[str, Any]) -> None:
    told = seen["findsNoChildTries"]
    assert (told["keys"], told["page"], told["entries"]) == ([], [], [True, True])
    assert told["value"] and told["hash"] and told["size"]
    assert told["wrong"]["code"] == 4003
    assert "Client error: Invalid child storage key" in told["wrong"]["message"]


def test_the_fee_that_was_told_before_is_the_fee_that_was_paid(seen: dict[str, Any]) -> None:
    told = seen["tellsFees"]
    assert told["raw"] == told["info"]
    assert told["raw"]["partialFee"] == told["details"] == told["paid"]
    assert told["unread"].startswith("createType(RuntimeDispatchInfoV1):: Struct: failed on weight")


def test_a_dry_run_tells_success_failure_and_refusal(seen: dict[str, Any]) -> None:
    told = seen["triesWithoutDoing"]
    # The first of the token errors, by the client's own name for it.
    assert (told["done"], told["poor"]) == (True, {"token": "NoFunds"})
    assert told["future"] == {"invalid": {"future": None}}
    assert told["nonce"][0] == told["nonce"][1]


def test_the_pool_is_filled_emptied_and_watched(seen: dict[str, Any]) -> None:
    told = seen["fillsThePool"]
    assert [told["hash"]] == told["waiting"] == told["removed"] == [told["wanted"]]
    assert told["left"] == []
    assert told["statuses"] == ["Ready", "InBlock", "Finalized"]
    assert told["nonces"][1] == told["nonces"][0] + 1


@pytest.mark.parametrize(
    ("refused", "text"),
    [
        ("again", "1013: Transaction Already Imported: "),
        ("banned", "1012: Transaction is temporarily banned"),
        ("garbage", "1010: Invalid Transaction: Call: Transaction call is not expected"),
        ("stale", "1010: Invalid Transaction: Stale: Transaction is outdated"),
        ("poor", "1010: Invalid Transaction: Payment: Inability to pay some fees"),
    ],
)
def test_refusals_have_the_words_that_programs_look_for(
    seen: dict[str, Any], refused: str, text: str
) -> None:
    assert seen["fillsThePool"][refused]["message"].startswith(text)


def test_keys_are_put_in_made_and_found(seen: dict[str, Any]) -> None:
    told = seen["keepsKeys"]
    assert (told["before"], told["after"]) == (False, True)
    assert (told["rotated"], told["foreign"]) == (True, False)
    assert told["length"] == len("0x") + 64
    assert told["wrong"]["code"] == 1040


def test_notes_are_kept_and_forgotten(seen: dict[str, Any]) -> None:
    told = seen["keepsNotes"]
    assert (told["before"], told["kept"], told["after"]) == (None, "0x010203", None)
    assert told["local"]["message"].startswith("5001: This storage kind is not available yet")


def test_it_derives_accounts(seen: dict[str, Any]) -> None:
    told = seen["derivesAccounts"]
    address, free, nonce = told["wanted"]
    assert told["account"] == told["all"] == told["wanted"]
    assert (told["locked"], told["transferable"], told["info"]) == ("0", free, address)
    assert told["signing"][0] == nonce
    assert told["signing"][1] > 64
    assert told["signing"][2]
    assert told["sudo"] == [True, False]


def test_it_derives_blocks_with_their_events(seen: dict[str, Any]) -> None:
    told = seen["derivesBlocks"]
    assert told["hashes"] == [told["wanted"]] * 3
    assert (told["fails"], told["pays"], told["success"]) == (None, "Yes", True)
    assert "balances.Transfer" in told["events"]
    assert told["events"][-1] == "system.ExtrinsicSuccess"
    # The events of the other extrinsic, the time, belong to no signed one.
    assert told["count"] == len(told["events"]) + 1
    best, finalized, lag = told["numbers"]
    assert best >= finalized > 0
    assert lag <= 2


def test_it_derives_sessions(seen: dict[str, Any]) -> None:
    told = seen["derivesSessions"]
    assert told["derived"] == [told["current"]] * 3
    assert len(told["validators"]) == 1
