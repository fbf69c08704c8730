from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from dev_chain import next_claim

from genesis.presets import development
from node.application import BestState
from node.chain import Chain
from node.client.errors import CallError
from node.client.rpc import NodeClient
from node.client.signing import sign_extrinsic
from node.native_runtime import NativeRuntime
from node.pool import Pool
from node.rpc.backend import Backend, NodeFacts
from node.rpc.methods.explorer_arguments import params_of
from node.rpc.methods.explorer_blocks import BLOCK_ID, BlockPages
from node.rpc.params import MalformedError, to_hex
from node.service import NodeConfig, RunningNode, run_node
from node.storage.pruning import Pruning
from runtime.apis.paging import PageSize
from runtime.construct import Runtime, encode_call
from runtime.frame.pallet import pascal
from runtime.primitives.digest import pre_digest_item
from runtime.primitives.extrinsic import Extensions, Immortal
from runtime.primitives.hashing import blake2_256
from runtime.primitives.keys import ss58_encode
from runtime.primitives.scale import U32, U64
from runtime.primitives.types import AccountId
from runtime.state.overlay import Overlay
from tests.clients.main_job import BOB, CHARLIE, DAVE, EVE, FERDIE, VALIDATOR, WORKER
from tests.node.rpc.described_node import NOWHERE, Described, address, described
from tests.node.running_node import config
from tests.patience import PATIENCE

__all__ = ["config", "described"]


def test_a_settled_batch_shows_every_part_of_its_fee(described: Described) -> None:
    report = described.result("openledger_attribution", 0)
    assert report["settlement"]["block"] == described.settled
    shown = [(p["role"], p["account"], p["amount"]) for p in report["settlement"]["payments"]]
    assert shown == [
        (
            pascal(paid["role"].name),
            None if paid["account"] is None else ss58_encode(paid["account"]),
            str(paid["amount"]),
        )
        for paid in described.paid
    ]
    fee = int(report["batch"]["compute"]) + int(report["batch"]["premium"])
    assert sum(int(amount) for *_, amount in shown) == fee
    assert described.result("openledger_attribution", 9) is None


def test_each_account_is_told_why_it_was_paid_or_not(described: Described) -> None:
    def told(who: Any) -> Any:
        return described.result("openledger_whyNotPaid", 0, address(who))

    assert (told(BOB)["reason"], [c["record"] for c in told(BOB)["clusters"]]) == ("Paid", ["1"])
    assert (told(DAVE)["reason"], told(DAVE)["otherRoles"]) == ("NoRecords", ["Owner"])
    assert (told(FERDIE)["reason"], told(FERDIE)["otherRoles"]) == ("NoRecords", [])
    assert told(FERDIE)["text"].startswith("No record of the account was accepted")


def test_a_failed_extrinsic_names_pallet_error_and_what_it_means(described: Described) -> None:
    found = described.result("openledger_extrinsic", described.failed)
    extrinsic = found["extrinsic"]
    assert extrinsic["call"] == {
        "pallet": "Datanets",
        "call": "publish_version",
        "args": {"datanet": 0},
    }
    assert (extrinsic["success"], extrinsic["signer"]) == (False, address(FERDIE))
    assert extrinsic["error"]["pallet"] == "Datanets"
    assert extrinsic["error"]["name"] == "NotOwner"
    assert extrinsic["error"]["text"].startswith("Only the Datanet's owner")
    assert int(extrinsic["fee"]) > 0
    assert found["finalized"]
    assert extrinsic["events"][-1]["name"] == "ExtrinsicFailed"
    assert described.result("openledger_extrinsic", NOWHERE) is None


def test_a_block_shows_author_time_and_outcome_of_all_that_it_holds(described: Described) -> None:
    block = described.result("openledger_block", described.settled)
    assert (block["hash"], block["author"]) == (described.settled, address(VALIDATOR))
    clock = block["extrinsics"][0]
    assert (clock["call"]["pallet"], clock["signer"], clock["fee"]) == ("Timestamp", None, "0")
    assert clock["call"]["args"] == {"now": block["time"]}
    assert "Settled" in [event["name"] for event in block["events"]]
    by_number = described.result("openledger_block", 1)
    assert by_number["parentHash"] == described.result("openledger_block", 0)["hash"]
    assert described.result("openledger_block", NOWHERE) is None
    assert described.result("openledger_block", 10**9) is None


def test_events_of_a_block_are_those_of_its_page(described: Described) -> None:
    events = described.result("openledger_events", described.settled)
    block = described.result("openledger_block", described.settled)
    own = [
        {k: e[k] for k in ("pallet", "name", "fields")} for e in events if e["extrinsic"] is None
    ]
    assert own == block["events"]
    assert len(events) == len(own) + sum(len(x["events"]) for x in block["extrinsics"])
    assert described.result("openledger_events", NOWHERE) is None


def test_the_genesis_block_has_no_author_and_no_time(described: Described) -> None:
    genesis = described.result("openledger_block", 0)
    assert (genesis["author"], genesis["time"], genesis["claim"]) == (None, None, None)
    assert (genesis["extrinsics"], genesis["events"]) == ([], [])


def test_calls_and_extrinsics_are_decoded_for_who_signs_them(described: Described) -> None:
    call, extrinsic, refused = (a for a in described.asked if a.method == "openledger_decode")
    remark = {"pallet": "System", "call": "remark", "args": {"remark": "0x" + b"hello".hex()}}
    assert call.answer["result"] == {"kind": "Call", "extrinsic": None, "call": remark}
    shown = extrinsic.answer["result"]["extrinsic"]
    assert (shown["signer"], shown["nonce"], shown["era"]) == (
        address(EVE),
        1,
        {"type": "Immortal"},
    )
    assert (shown["index"], shown["success"], shown["events"]) == (None, None, None)
    assert refused.answer["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("manu", {("Datanet", "0"), ("Model", "0")}),
        ("nothing like it", set()),
        ("", set()),
    ],
)
def test_a_part_of_a_name_finds_datanets_and_models(
    described: Described, query: str, expected: set[tuple[str, str]]
) -> None:
    hits = described.result("openledger_search", query)
    assert {(hit["kind"], hit["id"]) for hit in hits} == expected


def test_numbers_hashes_and_addresses_are_recognised(described: Described) -> None:
    def kinds(query: str) -> dict[str, str]:
        return {hit["kind"]: hit["id"] for hit in described.result("openledger_search", query)}

    assert kinds("0").keys() == {"Block", "Datanet", "Model", "Session", "ReceiptBatch"}
    assert kinds(described.settled) == {"Block": described.settled}
    assert kinds(described.failed) == {"Extrinsic": described.failed}
    assert kinds(address(BOB)) == {"Account": address(BOB)}
    assert kinds(address(WORKER)) == {"Account": address(WORKER), "Worker": address(WORKER)}


def test_pages_hold_what_the_main_job_made(described: Described) -> None:
    datanet = described.result("openledger_datanet", 0)
    assert datanet == described.result("openledger_datanet", "0")
    assert (datanet["name"], datanet["records"], datanet["schema"]) == (
        "manuals",
        "6",
        ["title", "text"],
    )
    assert described.result("openledger_datanetNamed", "manuals") == datanet
    contributors = {c["account"]: c["records"] for c in datanet["contributors"]["contributors"]}
    assert contributors == {address(BOB): "3", address(CHARLIE): "3"}
    assert [model["name"] for model in datanet["models"]] == ["manual-writer"]
    session = described.result("openledger_session", 0)
    assert (session["customer"], session["modelName"]) == (address(EVE), "manual-writer")
    assert described.result("openledger_session", "7") is None


def test_the_status_is_told_with_every_new_head(described: Described) -> None:
    status = described.result("openledger_chainStatus")
    assert status["chain"] == "OpenLedger Development"
    assert status["overview"]["number"] == status["best"]["number"]
    told = [r for name, r in described.told if name == "openledger_subscribeStatus"]
    assert told
    for one in told:
        assert one.keys() == status.keys()
        assert one["best"]["number"] >= status["best"]["number"]


def test_a_page_that_is_too_long_is_refused(described: Described) -> None:
    refused = [a.answer for a in described.asked if a.params == [None, 101]]
    assert [answer["error"]["code"] for answer in refused] == [-32602]
    assert "1 to 100" in refused[0]["error"]["data"]


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (U32, 1 << 32),
        (U32, "4294967296"),
        (U64, "18446744073709551616"),
        (U64, "-1"),
        (U64, str(1 << 64)),
        (U64, "9" * 5000),
        (U64, "１"),
        (U32, 1.5),
        (U32, True),
        (PageSize, 0),
        (PageSize, "7"),
        (AccountId, "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694t"),
        (str, 7),
    ],
)
def test_a_wrong_argument_is_refused(type_: Any, value: Any) -> None:
    (param,) = params_of({"start": type_})
    with pytest.raises(MalformedError):
        param.decode(value)


def test_a_block_is_named_by_hash_number_hex_or_decimal_text() -> None:
    assert [BLOCK_ID.decode(given) for given in (96, "96", "0x60")] == [96] * 3
    assert BLOCK_ID.decode("0x" + "60" * 32) == b"\x60" * 32
    for wrong in ("96-1", -1, 1 << 32, "0x60" * 16):
        with pytest.raises(MalformedError):
            BLOCK_ID.decode(wrong)


def test_numbers_are_taken_as_numbers_hex_or_decimal_text() -> None:
    (param,) = params_of({"start": U64 | None})
    assert param.optional
    assert [param.decode(v) for v in (7, "0x7", "7", str(2**64 - 1))] == [7, 7, 7, 2**64 - 1]


async def test_a_block_whose_state_is_pruned_keeps_what_its_body_tells(
    config: NodeConfig, nursery: trio.Nursery
) -> None:
    node: RunningNode = await nursery.start(run_node, replace(config, pruning=Pruning(window=3)))
    with trio.fail_after(PATIENCE):
        while node.chain.kept.states < 2:
            await trio.sleep(0.05)
    host, port = node.rpc_address
    async with NodeClient.connect(f"ws://{host}:{port}") as client:
        block = await client.request("openledger_block", 1)
        (clock,) = block["extrinsics"]
        assert (block["author"], block["events"]) == (None, None)
        assert (clock["success"], clock["fee"], clock["events"]) == (None, None, None)
        assert clock["call"]["args"] == {"now": block["time"]}
        with pytest.raises(CallError, match="State already discarded"):
            await client.request("openledger_events", 1)
        with pytest.raises(CallError, match="State already discarded"):
            await client.request("openledger_datanets", None, None, block["hash"])


async def test_an_extrinsic_is_found_in_the_pool_and_in_a_block_that_is_not_final(
    tmp_path: Path,
) -> None:
    runtime = NativeRuntime()
    chain = Chain.open(tmp_path, development(), runtime)
    pool = Pool(BestState(chain, runtime))
    facts = NodeFacts("Development", "Development", "test", "0", {})
    pages = BlockPages(Backend(chain, pool, runtime, facts))
    raw = sign_extrinsic(
        encode_call("System", "remark", remark=b""),
        EVE,
        Extensions(Immortal(), 0, 0),
        spec_version=1,
        transaction_version=1,
        genesis_hash=chain.genesis_hash,
        birth_hash=chain.genesis_hash,
    )
    try:
        found = pages.extrinsic(pool.submit(raw), raw)
        assert found is not None
        assert (found["block"], found["extrinsic"]["success"]) == (None, None)
        genesis = chain.header(chain.genesis_hash)
        assert genesis is not None
        claim = next_claim(Runtime(Overlay(chain.best_state())), genesis)
        built = await chain.build(
            chain.genesis_hash,
            timestamp=1000,
            digest=(pre_digest_item(claim),),
            candidates=[raw],
            full=lambda: False,
        )
        made = await chain.execute(built.block)
        chain.set_best(made.hash)
        found = pages.extrinsic(blake2_256(raw), None)
        assert found is not None
        assert (found["block"], found["finalized"]) == (to_hex(made.hash), False)
        assert (found["extrinsic"]["index"], found["extrinsic"]["success"]) == (1, True)
    finally:
        pool.close()
        chain.close()
