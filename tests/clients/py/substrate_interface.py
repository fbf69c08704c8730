"""The flow of a Python user with the unmodified substrate-interface: what it saw, as JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from substrateinterface import Keypair, KeypairType, SubstrateInterface
from substrateinterface.exceptions import SubstrateRequestException

UNIT = 10**18
# The client derives paths for sr25519 only, and knows ecdsa for 20-byte Ethereum accounts only.
SCHEMES = {
    "sr25519": KeypairType.SR25519,
    "ed25519": KeypairType.ED25519,
}
FACTS: dict[str, Any] = {}
"""Where the settled batch is, and what calls of our pallets need."""


def connects(chain: SubstrateInterface) -> Any:
    return {
        "chain": chain.chain,
        "genesis": chain.get_block_hash(0),
        "spec": chain.runtime_version,
        "ss58": chain.ss58_format,
        "symbol": chain.token_symbol,
        "decimals": chain.token_decimals,
        "pallets": [module["name"] for module in chain.get_metadata_modules()],
    }


def reads_an_account(chain: SubstrateInterface) -> Any:
    alice = Keypair.create_from_uri("//Alice")
    value = chain.query("System", "Account", [alice.ss58_address]).value
    return {
        "address": alice.ss58_address,
        "free": value["data"]["free"],
        "nonce": value["nonce"],
        "next": chain.get_account_nonce(alice.ss58_address),
    }


def estimates_a_fee(chain: SubstrateInterface) -> Any:
    alice = Keypair.create_from_uri("//Alice")
    bob = Keypair.create_from_uri("//Bob")
    call = transfer(chain, "transfer_keep_alive", bob.ss58_address, UNIT)
    return chain.get_payment_info(call=call, keypair=alice)


def transfers_with_every_scheme(chain: SubstrateInterface) -> Any:
    sudo = Keypair.create_from_uri("//Alice")
    results = {}
    for name, scheme in SCHEMES.items():
        signer = Keypair.create_from_seed("0x" + "51" * 32, crypto_type=scheme)
        fresh = time.time_ns().to_bytes(32, "big").hex()
        target = Keypair.create_from_seed(f"0x{fresh}", crypto_type=scheme)
        fund = transfer(chain, "transfer_keep_alive", signer.ss58_address, 100 * UNIT)
        assert submit(chain, fund, sudo).is_success
        call = transfer(chain, "transfer_allow_death", target.ss58_address, 3 * UNIT)
        receipt = submit(chain, call, signer)
        account = chain.query("System", "Account", [target.ss58_address]).value
        results[name] = {
            "success": receipt.is_success,
            "finalized": receipt.finalized,
            "fee": receipt.total_fee_amount,
            "received": account["data"]["free"],
            "events": names(receipt),
        }
    return results


def decodes_a_failure(chain: SubstrateInterface) -> Any:
    bob = Keypair.create_from_uri("//Bob")
    remark = chain.compose_call("System", "remark", {"remark": "0x00"})
    receipt = submit(chain, chain.compose_call("Sudo", "sudo", {"call": remark}), bob)
    return {"success": receipt.is_success, "error": receipt.error_message}


def is_told_why_a_transaction_is_refused(chain: SubstrateInterface) -> Any:
    alice = Keypair.create_from_uri("//Alice")
    call = chain.compose_call("System", "remark", {"remark": "0x00"})
    extrinsic = chain.create_signed_extrinsic(call=call, keypair=alice, nonce=0)
    try:
        chain.submit_extrinsic(extrinsic)
    except SubstrateRequestException as refusal:
        return refusal.args[0]
    return None


def follows_heads(chain: SubstrateInterface) -> Any:
    def follow(*, finalized_only: bool) -> list[int]:
        numbers: list[int] = []

        def told(header: Any, update: int, subscription: str) -> Any:
            numbers.append(header["header"]["number"])
            return True if len(numbers) == 3 else None

        chain.subscribe_block_headers(told, finalized_only=finalized_only)
        return numbers

    return {"best": follow(finalized_only=False), "finalized": follow(finalized_only=True)}


def reads_an_old_block(chain: SubstrateInterface) -> Any:
    block_hash = chain.get_block_hash(1)
    block = chain.get_block(block_hash)
    calls = [x.value["call"] for x in block["extrinsics"]]
    return {
        "number": block["header"]["number"],
        "calls": [f"{c['call_module']}.{c['call_function']}" for c in calls],
        "state": chain.query("System", "Number", block_hash=block_hash).value,
        "events": [
            f"{e.value['module_id']}.{e.value['event_id']}" for e in chain.get_events(block_hash)
        ],
    }


def pages_through_a_map(chain: SubstrateInterface) -> Any:
    found = chain.query_map("System", "Account", page_size=3)
    return [account.value for account, _ in found]


def reads_every_pallet(chain: SubstrateInterface) -> Any:
    values = {}
    for function in chain.get_metadata_storage_functions():
        if not function["storage_name"].startswith(":"):
            name = f"{function['module_id']}.{function['storage_name']}"
            metadata = chain.get_metadata_storage_function(
                function["module_id"], function["storage_name"]
            )
            if metadata.value["type"].get("Plain") is not None:
                found = chain.query(function["module_id"], function["storage_name"])
                values[name] = str(found.value)[:120]
    return values


def reads_a_settlement(chain: SubstrateInterface) -> Any:
    found = [event.value for event in chain.get_events(FACTS["block"])]
    return [
        {"name": event["event_id"], "values": event["attributes"]}
        for event in found
        if event["module_id"] == "Inference"
    ]


def reads_our_storage(chain: SubstrateInterface) -> Any:
    datanet, batch = FACTS["datanet"], FACTS["batch"]
    contributors = chain.query_map("Datanets", "Contributors", [datanet])
    return {
        "datanet": chain.query("Datanets", "Datanets", [datanet]).value,
        "version": chain.query("Datanets", "Versions", [datanet, 0]).value,
        "model": chain.query("Models", "Models", [FACTS["model"]]).value,
        "session": chain.query("Inference", "Sessions", [FACTS["session"]]).value,
        "batch": chain.query("Inference", "Batches", [batch]).value,
        "duty": chain.query("Attribution", "Duties", [batch]).value,
        "contributors": [[who.value, found.value["records"]] for who, found in contributors],
    }


def reads_constants_and_errors(chain: SubstrateInterface) -> Any:
    error = chain.get_metadata_error("Datanets", "NameTaken")
    return {
        "deposit": chain.get_constant("Datanets", "CreationDeposit").value,
        "error": " ".join(error.docs),
    }


def calls_our_pallets(chain: SubstrateInterface) -> Any:
    def create(name: str) -> Any:
        policy = {"open": True, "bond_per_record": UNIT // 10, "min_bond": UNIT}
        arguments = {"name": name, "schema": ["title", "text"], "policy": policy}
        return chain.compose_call("Datanets", "create", arguments)

    ferdie = Keypair.create_from_uri("//Ferdie")
    name = f"python {time.time_ns()}"
    created = submit(chain, create(name), ferdie)
    datanet = chain.query("Datanets", "Names", [name]).value
    declared = FACTS["records"] | {"datanet": datanet, "bond": UNIT}
    submitted = submit(chain, chain.compose_call("Datanets", "submit_batch", declared), ferdie)
    again = submit(chain, create(FACTS["name"]), ferdie)
    return {
        "name": name,
        "success": created.is_success,
        "events": names(created),
        "submitted": submitted.is_success,
        "batch": chain.query("Datanets", "Batches", [datanet, 0]).value,
        "stored": chain.query("Datanets", "Datanets", [datanet]).value,
        "again": {"success": again.is_success, "error": again.error_message},
    }


def stakes_on_a_model(chain: SubstrateInterface) -> Any:
    def staked() -> int:
        backers = chain.query("Models", "Models", [FACTS["model"]]).value["backers"]
        amounts = {backer["account"]: backer["amount"] for backer in backers}
        return int(amounts.get(ferdie.ss58_address, 0))

    ferdie = Keypair.create_from_uri("//Ferdie")
    before = staked()
    arguments = {"model": FACTS["model"], "amount": 2 * UNIT}
    receipt = submit(chain, chain.compose_call("Models", "back", arguments), ferdie)
    return {
        "success": receipt.is_success,
        "events": names(receipt),
        "added": staked() - before,
    }


def opens_a_session(chain: SubstrateInterface) -> Any:
    arguments = {
        "model": FACTS["model"],
        "executor": FACTS["executor"],
        "voucher_key": Keypair.create_from_uri("//Bob").ss58_address,
        "escrow": 20 * UNIT,
        "max_fee": UNIT,
        "ttl": 1000,
    }
    call = chain.compose_call("Inference", "open_session", arguments)
    receipt = submit(chain, call, Keypair.create_from_uri("//Ferdie"))
    (opened,) = [e for e in receipt.triggered_events if e.value["event_id"] == "SessionOpened"]
    session = opened.value["attributes"]["session"]
    return {
        "success": receipt.is_success,
        "session": chain.query("Inference", "Sessions", [session]).value,
    }


def transfer(chain: SubstrateInterface, name: str, target: str, value: int) -> Any:
    return chain.compose_call("Balances", name, {"dest": target, "value": value})


def submit(chain: SubstrateInterface, call: Any, signer: Keypair) -> Any:
    extrinsic = chain.create_signed_extrinsic(call=call, keypair=signer, era={"period": 64})
    return chain.submit_extrinsic(extrinsic, wait_for_finalization=True)


def names(receipt: Any) -> list[str]:
    return [f"{e.value['module_id']}.{e.value['event_id']}" for e in receipt.triggered_events]


FLOWS = (
    connects,
    reads_an_account,
    estimates_a_fee,
    transfers_with_every_scheme,
    decodes_a_failure,
    is_told_why_a_transaction_is_refused,
    follows_heads,
    reads_an_old_block,
    pages_through_a_map,
    reads_every_pallet,
    reads_a_settlement,
    reads_our_storage,
    reads_constants_and_errors,
    calls_our_pallets,
    stakes_on_a_model,
    opens_a_session,
)

if __name__ == "__main__":
    FACTS |= json.loads(sys.argv[2])
    with SubstrateInterface(url=sys.argv[1]) as connection:
        print(json.dumps({run.__name__: run(connection) for run in FLOWS}))
