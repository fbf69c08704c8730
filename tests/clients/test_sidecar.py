from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.client.signing import from_uri, sign_extrinsic
from runtime.construct import encode_call
from runtime.pallets.datanets.types import Policy
from runtime.primitives.extrinsic import Extensions, mortal
from runtime.primitives.keys import ss58_encode
from runtime.primitives.types import Id
from tests.clients.conftest import Node
from tests.clients.rest_service import Sent, Sidecar, running_sidecar
from tests.clients.settled_chain import Settled

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

OPEN = 10**18
ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
SIGNER, TARGET = from_uri("//Ferdie"), from_uri("//Bob")
MAIN_JOB = {
    "datanets": {"create", "submitBatch", "accept", "publishVersion"},
    "models": {"propose", "back", "submitArtifact", "launch"},
    "inference": {"registerWorker", "openSession", "submitReceipts"},
    "attribution": {"commit", "reveal", "publish"},
}


@pytest.fixture(scope="module")
def sidecar(
    node: Node, sidecar_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sidecar]:
    log = tmp_path_factory.mktemp("sidecar") / "log"
    with running_sidecar(sidecar_folder, node, log) as running:
        yield running


@pytest.fixture(scope="module")
def failed(sidecar: Sidecar) -> tuple[Any, Any]:
    """Submit a transfer of more than there is; returns its block and itself."""
    return sidecar.finalized_with(submit(sidecar, transfer(10**30)))


def test_the_node_routes_describe_the_node(sidecar: Sidecar, node: Node) -> None:
    version = sidecar.get("/node/version")
    assert version["chain"] == "OpenLedger Development"
    assert version["clientVersion"] == node.call("system_version")
    assert version["clientImplName"] == node.call("state_getRuntimeVersion")["implName"]
    network = sidecar.get("/node/network")
    assert (network["numPeers"], network["isSyncing"]) == ("0", False)
    assert network["localPeerId"] == node.call("system_localPeerId")


def test_a_waiting_transaction_is_shown_in_the_pool(sidecar: Sidecar) -> None:
    assert sidecar.get("/node/transaction-pool").keys() == {"pool"}
    remark = encode_call("System", "remark", remark=b"waiting")
    later = submit(sidecar, remark, next_nonce(sidecar) + 1)  # no block takes it before the other
    waiting = [one["hash"] for one in sidecar.get("/node/transaction-pool")["pool"]]
    assert waiting == [later.hash]
    sidecar.finalized_with(submit(sidecar, remark))
    sidecar.finalized_with(later)
    assert sidecar.get("/node/transaction-pool") == {"pool": []}


def test_the_runtime_routes_describe_the_runtime(sidecar: Sidecar, node: Node) -> None:
    spec, version = sidecar.get("/runtime/spec"), node.call("state_getRuntimeVersion")
    assert spec["specName"] == version["specName"]
    assert int(spec["specVersion"]) == version["specVersion"]
    assert int(spec["transactionVersion"]) == version["transactionVersion"]
    assert spec["chainType"] == {"development": None}
    properties = spec["properties"]
    assert (properties["ss58Format"], properties["tokenDecimals"]) == ("42", ["18"])
    assert properties["tokenSymbol"] == ["OPEN"]
    code = sidecar.get("/runtime/code")["code"]
    assert code == node.call("state_getStorage", "0x" + b":code".hex())


def test_the_metadata_is_told_decoded_and_as_it_is(sidecar: Sidecar, node: Node) -> None:
    ((version, metadata),) = sidecar.get("/runtime/metadata")["metadata"].items()
    assert version == "v14"
    names = {pallet["name"] for pallet in metadata["pallets"]}
    assert {"System", "Balances", "Datanets", "Models", "Inference", "Attribution"} <= names
    material = sidecar.get("/transaction/material?metadata=scale")
    assert material["metadata"] == node.call("state_getMetadata")
    assert material["genesisHash"] == node.call("chain_getBlockHash", 0)


def test_an_old_block_is_read_in_every_form(sidecar: Sidecar, node: Node) -> None:
    block_hash = node.call("chain_getBlockHash", 1)
    told = node.call("chain_getBlock", block_hash)["block"]
    block = sidecar.get("/blocks/1")
    assert (block["number"], block["hash"], block["finalized"]) == ("1", block_hash, True)
    assert block["stateRoot"] == told["header"]["stateRoot"]
    (stamp,) = block["extrinsics"]
    assert stamp["method"] == {"pallet": "timestamp", "method": "set"}
    assert stamp["success"]
    assert [event["method"]["method"] for event in stamp["events"]] == ["ExtrinsicSuccess"]
    # Its cache would leave out `finalized` once the block's parts were asked for.
    assert sidecar.get(f"/blocks/{block_hash}") == block
    assert sidecar.get("/blocks/1/extrinsics/0")["extrinsics"] == stamp
    assert sidecar.get("/blocks/1/extrinsics-raw")["extrinsics"] == told["extrinsics"]
    header = sidecar.get("/blocks/1/header")
    assert header["parentHash"] == told["header"]["parentHash"]


def test_a_range_of_blocks_is_a_chain(sidecar: Sidecar) -> None:
    blocks = sidecar.get("/blocks?range=1-4")
    assert [block["number"] for block in blocks] == ["1", "2", "3", "4"]
    hashes = [block["hash"] for block in blocks]
    assert [block["parentHash"] for block in blocks[1:]] == hashes[:-1]


def test_the_head_moves_on(sidecar: Sidecar) -> None:
    head = sidecar.get("/blocks/head")
    assert head["finalized"]
    sent = submit(sidecar, encode_call("System", "remark", remark=b"later"))
    block, _ = sidecar.finalized_with(sent)
    assert int(block["number"]) > int(head["number"])


def test_a_balance_is_told_with_its_nonce(sidecar: Sidecar, node: Node) -> None:
    told = sidecar.get(f"/accounts/{ss58_encode(SIGNER.account_id)}/balance-info")
    assert (told["tokenSymbol"], told["locks"]) == ("OPEN", [])
    assert int(told["free"]) > 10**20
    assert int(told["nonce"]) == node.call("account_nextIndex", ss58_encode(SIGNER.account_id))


def test_addresses_are_checked(sidecar: Sidecar) -> None:
    told = sidecar.get(f"/accounts/{ALICE}/validate")
    assert (told["isValid"], told["ss58Prefix"]) == (True, "42")
    assert bytes.fromhex(told["accountId"][2:]) == from_uri("//Alice").account_id
    refused = sidecar.ask(f"/accounts/{ALICE[:-1]}X/balance-info")
    assert refused.status == 400
    assert refused.body["message"] == "Invalid decoded address checksum"


@pytest.mark.parametrize("pallet", ["System", "Balances", "Datanets", "Models", "Inference"])
@pytest.mark.parametrize("kind", ["consts", "storage", "events", "dispatchables", "errors"])
def test_every_part_of_a_pallet_is_listed_with_its_docs(
    sidecar: Sidecar, pallet: str, kind: str
) -> None:
    told = sidecar.get(f"/pallets/{pallet}/{kind}")
    assert told["pallet"] == pallet[0].lower() + pallet[1:]
    assert told["items"]
    assert all("".join(item["docs"]).strip() for item in told["items"] if "docs" in item)


def test_items_of_our_pallets_are_read_one_by_one(sidecar: Sidecar, settled: Settled) -> None:
    constant = sidecar.get("/pallets/Datanets/consts/CreationDeposit?metadata=true")["metadata"]
    assert int.from_bytes(bytes.fromhex(constant["value"][2:]), "little") == 10 * OPEN
    error = sidecar.get("/pallets/Datanets/errors/NameTaken?metadata=true")["metadata"]
    assert error["docs"] == ["Another Datanet has this name. Choose another."]
    event = sidecar.get("/pallets/Inference/events/Settled?metadata=true")["metadata"]
    assert [field["name"] for field in event["fields"]] == [
        "batch",
        "session",
        "compute",
        "premium",
    ]
    call = sidecar.get("/pallets/Models/dispatchables/back?metadata=true")["metadata"]
    assert [field["name"] for field in call["fields"]] == ["model", "amount"]
    stored = sidecar.get(f"/pallets/Inference/storage/Batches?keys[]={settled.batch}")["value"]
    assert stored["state"] == "Settled"
    weights = [cluster["weight"] for cluster in stored["summary"]["clusters"]]
    assert weights == ["900000", "100000"]


def test_the_calls_of_the_main_job_are_decoded(sidecar: Sidecar, settled: Settled) -> None:
    blocks = sidecar.get(f"/blocks?range=1-{settled.number}")
    calls = [call for block in blocks for call in block["extrinsics"]]
    for pallet, methods in MAIN_JOB.items():
        made = [call for call in calls if call["method"]["pallet"] == pallet]
        assert methods <= {call["method"]["method"] for call in made}
    (proposed,) = [call for call in calls if call["method"]["method"] == "propose"]
    assert bytes.fromhex(proposed["args"]["name"][2:]) == b"manual-writer"
    (claimed,) = [call for call in calls if call["method"]["method"] == "submitReceipts"]
    assert int(claimed["args"]["batch"]["compute"]) == settled.compute
    assert int(claimed["args"]["batch"]["premium"]) == settled.premium


def test_the_events_of_a_settlement_are_decoded_and_sum_to_the_fee(
    sidecar: Sidecar, settled: Settled
) -> None:
    block = sidecar.get(f"/blocks/{settled.block}")
    events = [
        (event["method"]["method"], event["data"])
        for event in block["onInitialize"]["events"]
        if event["method"]["pallet"] == "inference"
    ]
    paid = [data for name, data in events if name == "Paid"]
    told = [(role, account, amount) for _, role, account, _, amount in paid]
    assert told == [(part.role, part.account, part.amount) for part in settled.paid]
    assert sum(int(data[-1]) for data in paid) == settled.compute + settled.premium
    (last,) = [data for name, data in events if name == "Settled"]
    sums = [settled.batch, settled.session, settled.compute, settled.premium]
    assert last == [str(number) for number in sums]


def test_a_transfer_signed_by_our_client_is_submitted(sidecar: Sidecar) -> None:
    extrinsic, head = signed(sidecar, transfer(3 * OPEN)), sidecar.head()
    due = sidecar.ask("/transaction/fee-estimate", {"tx": extrinsic})
    sent = sidecar.ask("/transaction", {"tx": extrinsic})
    assert (due.status, sent.status) == (200, 200)
    assert due.body["class"] == "Normal"
    _, found = sidecar.finalized_with(Sent(sent.body["hash"], head))
    assert found["success"]
    assert found["args"]["value"] == str(3 * OPEN)
    assert found["signature"]["signer"] == {"id": ss58_encode(SIGNER.account_id)}
    assert "mortalEra" in found["era"]
    (fee,) = events_of(found, "transactionPayment", "TransactionFeePaid")
    assert 0 < int(fee[1]) <= 2 * int(due.body["partialFee"])


def test_a_failing_transfer_is_shown_in_its_block(failed: tuple[Any, Any]) -> None:
    _, found = failed
    assert found["method"] == {"pallet": "balances", "method": "transferKeepAlive"}
    assert (found["success"], found["paysFee"]) == (False, True)
    ((error, info),) = events_of(found, "system", "ExtrinsicFailed")
    assert error == {"token": "FundsUnavailable"}
    assert info["class"] == "Normal"
    assert not events_of(found, "balances", "Transfer")


def test_a_failing_call_of_our_pallet_is_shown_by_pallet_and_error(
    sidecar: Sidecar, settled: Settled
) -> None:
    taken = encode_call(
        "Datanets",
        "create",
        name=settled.name.encode(),
        schema=(b"title", b"text"),
        policy=Policy(True, OPEN // 10, OPEN),
    )
    _, found = sidecar.finalized_with(submit(sidecar, taken))
    assert found["success"] is False
    ((error, _),) = events_of(found, "system", "ExtrinsicFailed")
    pallet = sidecar.get("/pallets/Datanets/errors/NameTaken?metadata=true")
    index = int(pallet["metadata"]["index"]).to_bytes(4, "little")
    assert error == {"module": {"index": pallet["palletIndex"], "error": "0x" + index.hex()}}


def test_a_refused_transaction_says_why(sidecar: Sidecar) -> None:
    stale = sidecar.ask("/transaction", {"tx": signed(sidecar, transfer(OPEN), nonce=0)})
    assert stale.status == 400
    assert stale.body["cause"].startswith("1010: Invalid Transaction: Stale")


def test_a_dry_run_tells_the_outcome_and_changes_nothing(sidecar: Sidecar) -> None:
    address = ss58_encode(SIGNER.account_id)
    before = sidecar.get(f"/accounts/{address}/balance-info")
    outcomes = [dry_run(sidecar, transfer(amount)) for amount in (OPEN, 10**30)]
    assert [outcome["resultType"] for outcome in outcomes] == ["DispatchOutcome"] * 2
    assert outcomes[0]["result"] == {"ok": []}
    # The first of the token errors, by the name that the service's library has for it.
    assert outcomes[1]["result"] == {"err": {"token": "NoFunds"}}
    after = sidecar.get(f"/accounts/{address}/balance-info")
    assert (after["free"], after["nonce"]) == (before["free"], before["nonce"])


def test_a_dry_run_tells_why_no_block_would_take_a_transaction(sidecar: Sidecar) -> None:
    refused = dry_run(sidecar, transfer(OPEN), nonce=0)
    assert refused["resultType"] == "TransactionValidityError"
    assert refused["result"] == {"stale": None}
    assert refused["validityErrorType"] == "InvalidTransaction"


def transfer(amount: int) -> bytes:
    return encode_call("Balances", "transfer_keep_alive", dest=Id(TARGET.account_id), value=amount)


def submit(sidecar: Sidecar, call: bytes, nonce: int | None = None) -> Sent:
    extrinsic, head = signed(sidecar, call, nonce), sidecar.head()
    sent = sidecar.ask("/transaction", {"tx": extrinsic})
    assert sent.status == 200, sent.body
    return Sent(sent.body["hash"], head)


def next_nonce(sidecar: Sidecar) -> int:
    told = sidecar.get(f"/accounts/{ss58_encode(SIGNER.account_id)}/balance-info")
    return int(told["nonce"])


def dry_run(sidecar: Sidecar, call: bytes, nonce: int | None = None) -> Any:
    told = sidecar.ask("/transaction/dry-run", {"tx": signed(sidecar, call, nonce)})
    assert told.status == 200, told.body
    return told.body["dryRunResult"]


def signed(sidecar: Sidecar, call: bytes, nonce: int | None = None) -> str:
    """Sign a call by nothing but what the service tells."""
    material = sidecar.get("/transaction/material")
    height = int(material["at"]["height"])
    era = mortal(64, height)
    if nonce is None:
        nonce = next_nonce(sidecar)
    extrinsic = sign_extrinsic(
        call,
        SIGNER,
        Extensions(era, nonce, 0),
        spec_version=int(material["specVersion"]),
        transaction_version=int(material["txVersion"]),
        genesis_hash=bytes.fromhex(material["genesisHash"][2:]),
        birth_hash=bytes.fromhex(sidecar.get(f"/blocks/{era.birth(height)}")["hash"][2:]),
    )
    return "0x" + extrinsic.hex()


def events_of(extrinsic: Any, pallet: str, method: str) -> list[Any]:
    wanted = {"pallet": pallet, "method": method}
    return [event["data"] for event in extrinsic["events"] if event["method"] == wanted]
