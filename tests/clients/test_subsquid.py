"""An unmodified indexer reads the main job, nested calls and failures, from the node alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from node.client.outcome import Included
from node.client.rpc import NodeClient
from node.client.signing import KeyPair, from_uri
from runtime.construct import decode_call, encode_call
from runtime.primitives.keys import ss58_decode
from runtime.primitives.types import Id
from tests.clients.conftest import HERE, Node, node_program, npm_project
from tests.clients.settled_chain import Settled

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

OPEN = 10**18
ALICE, BOB, CHARLIE, DAVE = (from_uri(f"//{name}") for name in ("Alice", "Bob", "Charlie", "Dave"))
FUNDS = {"__kind": "Token", "value": {"__kind": "FundsUnavailable"}}


@dataclass(frozen=True)
class Made:
    """Transactions by name, and the block after the last of them."""

    included: dict[str, Included]
    last: int


@pytest.fixture(scope="module")
def made(node: Node, settled: Settled) -> Made:
    """Make calls inside calls, of which some fail, and calls that fail by themselves."""
    return trio.run(_make, node.websocket)


async def _make(url: str) -> Made:
    fine, too_much = transfer(OPEN), transfer(10**30)
    wanted = {
        "batch": (BOB, nested("batch", fine, too_much, fine)),
        "force_batch": (CHARLIE, nested("force_batch", fine, too_much, fine)),
        "batch_all": (DAVE, nested("batch_all", fine, nested("batch", fine))),
        "sudo": (ALICE, by_the_chain()),
    }
    failing = {
        "transfer": (BOB, too_much),
        "batch_all that fails": (CHARLIE, nested("batch_all", fine, too_much)),
        "sudo that fails": (DAVE, by_the_chain()),
    }
    included: dict[str, Included] = {}
    async with NodeClient.connect(url) as client:

        async def send(name: str, signer: KeyPair, call: bytes) -> None:
            signed = await client.sign(call, signer)
            included[name] = await client.send(signed, "finalized", lambda *_: None)

        for calls in (wanted, failing):
            async with trio.open_nursery() as nursery:
                for name, (signer, call) in calls.items():
                    nursery.start_soon(send, name, signer, call)
        head = await client.header(await client.finalized_head())
    assert head is not None
    return Made(included, head.number)


def transfer(value: int) -> bytes:
    dest = Id(from_uri("//Ferdie").account_id)
    return encode_call("Balances", "transfer_keep_alive", dest=dest, value=value)


def by_the_chain() -> bytes:
    """Return a call by which the chain itself gives a new account some money."""
    who = Id(from_uri("//Nobody//subsquid").account_id)
    inner = encode_call("Balances", "force_set_balance", who=who, new_free=OPEN)
    return encode_call("Sudo", "sudo", call=decode_call(inner))


def nested(name: str, *calls: bytes) -> bytes:
    return encode_call("Utility", name, calls=tuple(decode_call(call) for call in calls))


@pytest.fixture(scope="module")
def folder() -> Path:
    return npm_project("subsquid")


def run(folder: Path, node: Node, *blocks: int) -> list[dict[str, Any]]:
    """Index the blocks from one to another, or a few of the newest from one on."""
    script = str(HERE / "subsquid" / "indexer.mjs")
    command = [node_program(), script, node.websocket, *map(str, blocks)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines() if '"number"' in line]


@pytest.fixture(scope="module")
def indexed(folder: Path, node: Node, made: Made) -> list[dict[str, Any]]:
    return run(folder, node, 0, made.last)


def test_all_blocks_are_indexed_in_order(indexed: list[dict[str, Any]], made: Made) -> None:
    assert [block["number"] for block in indexed] == list(range(made.last + 1))
    for parent, block in pairwise(indexed):
        assert block["parent"] == parent["hash"]
        assert block["time"] > parent["time"]
        assert block["calls"][0]["name"] == "Timestamp.set"


def test_the_events_of_a_settlement_are_decoded_and_sum_to_the_fee(
    indexed: list[dict[str, Any]], settled: Settled
) -> None:
    block = indexed[settled.number]
    assert block["hash"] == settled.block
    events = [event for event in block["events"] if event["name"].startswith("Inference.")]
    assert {event["phase"] for event in events} == {"Initialization"}
    paid = [event["args"] for event in events if event["name"] == "Inference.Paid"]
    told = [(p["role"]["__kind"], p.get("account"), p.get("datanet"), p["amount"]) for p in paid]
    assert told == [(p.role, hexadecimal(p.account), p.datanet, p.amount) for p in settled.paid]
    (last,) = [event["args"] for event in events if event["name"] == "Inference.Settled"]
    sums = [settled.batch, settled.session, settled.compute, settled.premium]
    assert list(last.values()) == [str(number) for number in sums]
    fee = settled.compute + settled.premium
    assert sum(int(part["amount"]) for part in paid) == fee


def test_the_calls_of_the_main_job_are_decoded(
    indexed: list[dict[str, Any]], settled: Settled
) -> None:
    calls = [call for block in indexed[: settled.number] for call in block["calls"]]
    (proposed,) = [call for call in calls if call["name"] == "Models.propose"]
    assert bytes.fromhex(proposed["args"]["name"][2:]) == b"manual-writer"
    (claimed,) = [call for call in calls if call["name"] == "Inference.submit_receipts"]
    assert int(claimed["args"]["batch"]["compute"]) == settled.compute
    assert claimed["origin"]["__kind"] == "Signed"


def test_fees_tips_and_signers_are_those_of_the_chain(indexed: list[dict[str, Any]]) -> None:
    signed = 0
    for block in indexed:
        for index, extrinsic in enumerate(block["extrinsics"]):
            fees = [
                event["args"]
                for event in block["events"]
                if event["name"] == "TransactionPayment.TransactionFeePaid"
                and event["extrinsic"] == index
            ]
            for paid in fees:
                signed += 1
                assert paid["who"] == extrinsic["signer"]
                assert paid["actualFee"] == extrinsic["fee"]
                assert paid["tip"] == extrinsic["tip"]
    assert signed > 10


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("batch", [([], True), ([0], True), ([1], False)]),
        ("force_batch", [([], True), ([0], True), ([1], False), ([2], True)]),
        ("batch_all", [([], True), ([0], True), ([1], True), ([1, 0], True)]),
        ("sudo", [([], True), ([0], True)]),
        ("transfer", [([], False)]),
        ("batch_all that fails", [([], False)]),
        ("sudo that fails", [([], False)]),
    ],
)
def test_calls_inside_calls_have_their_outcomes(
    indexed: list[dict[str, Any]], made: Made, name: str, calls: Sequence[tuple[list[int], bool]]
) -> None:
    block, index = place(indexed, made.included[name])
    found = [call for call in block["calls"] if call["extrinsic"] == index]
    assert sorted((call["path"], call["success"]) for call in found) == calls
    assert block["extrinsics"][index]["success"] is calls[0][1]


def test_a_failed_call_inside_a_batch_has_its_error(
    indexed: list[dict[str, Any]], made: Made
) -> None:
    for name in ("batch", "force_batch"):
        block, index = place(indexed, made.included[name])
        found = [call for call in block["calls"] if call["extrinsic"] == index]
        assert [call.get("error") for call in found if not call["success"]] == [FUNDS]
    block, index = place(indexed, made.included["transfer"])
    assert block["extrinsics"][index]["error"] == FUNDS


def test_events_belong_to_the_call_that_deposited_them(
    indexed: list[dict[str, Any]], made: Made
) -> None:
    block, index = place(indexed, made.included["force_batch"])
    moved = [
        (event["call"], event["path"])
        for event in block["events"]
        if event["name"] == "Balances.Transfer" and event["extrinsic"] == index
    ]
    assert moved == [("Balances.transfer_keep_alive", [0]), ("Balances.transfer_keep_alive", [2])]
    block, index = place(indexed, made.included["sudo"])
    (inner,) = [c for c in block["calls"] if c["extrinsic"] == index and c["path"] == [0]]
    assert inner["name"] == "Balances.force_set_balance"
    assert inner["origin"] == {"__kind": "Root"}


def test_new_blocks_are_indexed_as_they_come(folder: Path, node: Node, made: Made) -> None:
    blocks = run(folder, node, made.last)
    assert [b["number"] for b in blocks] == list(range(made.last, made.last + len(blocks)))
    assert len(blocks) >= 5
    assert blocks[-1]["isHead"]


def place(indexed: list[dict[str, Any]], included: Included) -> tuple[dict[str, Any], int]:
    """Find a transaction by the hash that the indexer computed."""
    wanted = "0x" + included.extrinsic_hash.hex()
    for block in indexed:
        for index, extrinsic in enumerate(block["extrinsics"]):
            if extrinsic["hash"] == wanted:
                assert included.block_hash is not None
                assert block["hash"] == "0x" + included.block_hash.hex()
                return block, index
    raise AssertionError(f"no block has the extrinsic {wanted}")


def hexadecimal(address: str | None) -> str | None:
    return None if address is None else "0x" + ss58_decode(address)[0].hex()
