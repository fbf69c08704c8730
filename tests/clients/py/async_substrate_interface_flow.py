"""The flow of a user of the unmodified async-substrate-interface: what it saw, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import sr25519
from async_substrate_interface import AsyncSubstrateInterface
from async_substrate_interface.errors import SubstrateRequestException
from scalecodec.utils.ss58 import ss58_encode

UNIT = 10**18
DEVELOPMENT = bytes.fromhex("fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e")
"""The seed of the public development phrase."""

FACTS: dict[str, Any] = {}
"""Where the settled batch is, and what calls of our pallets need."""


@dataclass(frozen=True)
class Key:
    """A signer: the client brings a protocol, its user the key."""

    pair: tuple[bytes, bytes]
    crypto_type: int = 1
    ss58_format: int = 42

    @classmethod
    def named(cls, name: str) -> Key:
        """Derive a development key by one hard junction."""
        code = (bytes((len(name) << 2,)) + name.encode()).ljust(32, b"\x00")
        pair = sr25519.pair_from_seed(DEVELOPMENT)
        _, public, secret = sr25519.hard_derive_keypair((code, *pair), b"")
        return cls((public, secret))

    @property
    def public_key(self) -> bytes:
        return self.pair[0]

    @property
    def ss58_address(self) -> str:
        return str(ss58_encode(self.public_key, self.ss58_format))

    def sign(self, data: Any) -> bytes:
        return bytes(sr25519.sign(self.pair, bytes(data)))


ALICE, BOB, FERDIE = Key.named("Alice"), Key.named("Bob"), Key.named("Ferdie")


async def connects(chain: AsyncSubstrateInterface) -> Any:
    runtime = await chain.init_runtime()
    return {
        "chain": chain.chain,
        "genesis": await chain.get_block_hash(0),
        "properties": await chain.properties,
        "metadata": 15 if runtime.metadata_v15 else 14,
        "pallets": [module["name"] for module in await chain.get_metadata_modules()],
    }


async def reads_an_account(chain: AsyncSubstrateInterface) -> Any:
    account = (await chain.query("System", "Account", [ALICE.ss58_address])).value
    return {
        "address": ALICE.ss58_address,
        "free": account["data"]["free"],
        "nonce": account["nonce"],
        "next": await chain.get_account_next_index(ALICE.ss58_address, use_cache=False),
    }


async def estimates_a_fee(chain: AsyncSubstrateInterface) -> Any:
    call = await transfer(chain, "transfer_keep_alive", BOB.ss58_address, UNIT)
    return await chain.get_payment_info(call, ALICE)


async def transfers(chain: AsyncSubstrateInterface) -> Any:
    fresh = ss58_encode(time.time_ns().to_bytes(32, "big"), 42)
    call = await transfer(chain, "transfer_allow_death", fresh, 3 * UNIT)
    receipt = await submit(chain, call, ALICE)
    account = (await chain.query("System", "Account", [fresh])).value
    identifier = await receipt.get_extrinsic_identifier()
    found = await chain.retrieve_extrinsic_by_identifier(identifier)
    return await outcome(receipt) | {
        "finalized": receipt.finalized,
        "fee": await receipt.total_fee_amount,
        "weight": await receipt.weight,
        "received": account["data"]["free"],
        "found": await found.is_success,
    }


async def decodes_failures(chain: AsyncSubstrateInterface) -> Any:
    poor = await transfer(chain, "transfer_keep_alive", BOB.ss58_address, 10**30)
    remark = await chain.compose_call("System", "remark", {"remark": "0x00"})
    sudo = await chain.compose_call("Sudo", "sudo", {"call": remark})
    transferred = await submit(chain, poor, ALICE)
    return {
        "token": await outcome(transferred)
        | {"last": (await transferred.triggered_events)[-1]["attributes"]},
        "pallet": await outcome(await submit(chain, sudo, BOB)),
    }


async def is_told_why_a_transaction_is_refused(chain: AsyncSubstrateInterface) -> Any:
    call = await chain.compose_call("System", "remark", {"remark": "0x00"})
    extrinsic = await chain.create_signed_extrinsic(call, ALICE, nonce=0)
    # The client would count on from the nonce it was given.
    chain.clear_nonce_cache_for_account(ALICE.ss58_address)
    try:
        await chain.submit_extrinsic(extrinsic)
    except SubstrateRequestException as refusal:
        return str(refusal)
    return None


async def follows_heads(chain: AsyncSubstrateInterface) -> Any:
    async def follow(*, finalized_only: bool) -> list[int]:
        numbers: list[int] = []

        async def told(block: Any) -> Any:
            numbers.append(block["header"]["number"])
            return True if len(numbers) == 3 else None

        await chain.subscribe_block_headers(told, finalized_only=finalized_only)
        return numbers

    return {
        "best": await follow(finalized_only=False),
        "finalized": await follow(finalized_only=True),
    }


async def reads_an_old_block(chain: AsyncSubstrateInterface) -> Any:
    block_hash = await chain.get_block_hash(1)
    block = await chain.get_block(block_hash)
    calls = [extrinsic.value["call"] for extrinsic in block["extrinsics"]]
    return {
        "number": block["header"]["number"],
        "calls": [f"{call['call_module']}.{call['call_function']}" for call in calls],
        "state": (await chain.query("System", "Number", block_hash=block_hash)).value,
        "events": [named(event) for event in await chain.get_events(block_hash)],
    }


async def pages_through_maps(chain: AsyncSubstrateInterface) -> Any:
    datanet = FACTS["datanet"]
    accounts = await chain.query_map("System", "Account", page_size=3)
    at_once = await chain.query_map("System", "Account", fully_exhaust=True)
    inner = await chain.query_map("Datanets", "Contributors", [datanet], page_size=1)
    outer = await chain.query_map("Datanets", "Contributors", page_size=1)
    return {
        "accounts": [key async for key, _ in accounts],
        "at_once": [key for key, _ in at_once.records],
        "inner": [[key, part["records"]] async for key, part in inner],
        "outer": [key async for key, _ in outer],
    }


async def calls_the_runtime(chain: AsyncSubstrateInterface) -> Any:
    version = await chain.runtime_call("Core", "version")
    nonce = await chain.runtime_call("AccountNonceApi", "account_nonce", [ALICE.ss58_address])
    fee = await chain.runtime_call("TransactionPaymentApi", "query_length_to_fee", [100])
    block = await chain.get_block_runtime_info(await chain.get_chain_head())
    return {
        "version": version,
        "told": {"spec_name": block["specName"], "spec_version": block["specVersion"]},
        "nonce": nonce,
        "next": await chain.get_account_next_index(ALICE.ss58_address, use_cache=False),
        "length_fee": fee,
    }


async def proves_storage(chain: AsyncSubstrateInterface) -> Any:
    key = await chain.create_storage_key("Sudo", "Key")
    head = await chain.get_chain_finalised_head()
    told = await chain.rpc_request("state_getReadProof", [[key.to_hex()], head])
    header = await chain.get_block_header(head)
    nodes = [bytes.fromhex(node.removeprefix("0x")) for node in told["result"]["proof"]]
    return {
        "at": told["result"]["at"],
        "head": head,
        "root": header["header"]["stateRoot"],
        "hashes": ["0x" + blake2b(node, digest_size=32).hexdigest() for node in nodes],
        "holds_the_key": any(ALICE.public_key in node for node in nodes),
    }


async def reads_every_pallet(chain: AsyncSubstrateInterface) -> Any:
    values = {}
    for function in await chain.get_metadata_storage_functions():
        pallet, item = function["module_id"], function["storage_name"]
        storage = await chain.get_metadata_storage_function(pallet, item)
        if not item.startswith(":") and not storage.get_params_type_string():
            found = await chain.query(pallet, item)
            values[f"{pallet}.{item}"] = str(found.value)[:120]
    return values


async def reads_a_settlement(chain: AsyncSubstrateInterface) -> Any:
    return [
        {"name": event["event_id"], "values": event["attributes"]}
        for event in await chain.get_events(FACTS["block"])
        if event["module_id"] == "Inference"
    ]


async def reads_the_attribution(chain: AsyncSubstrateInterface) -> Any:
    batch = FACTS["batch"]
    return {
        "datanet": (await chain.query("Datanets", "Datanets", [FACTS["datanet"]])).value,
        "model": (await chain.query("Models", "Models", [FACTS["model"]])).value,
        "session": (await chain.query("Inference", "Sessions", [FACTS["session"]])).value,
        "batch": (await chain.query("Inference", "Batches", [batch])).value,
        "duty": (await chain.query("Attribution", "Duties", [batch])).value,
    }


async def reads_constants_and_errors(chain: AsyncSubstrateInterface) -> Any:
    error = await chain.get_metadata_error("Datanets", "NameTaken")
    return {
        "deposit": (await chain.get_constant("Datanets", "CreationDeposit")).value,
        "error": " ".join(error.docs),
    }


async def contributes_to_a_datanet(chain: AsyncSubstrateInterface) -> Any:
    name = f"asynchronous {time.time_ns()}"
    created = await submit(chain, await create(chain, name), FERDIE)
    datanet = (await chain.query("Datanets", "Names", [name])).value
    declared = FACTS["records"] | {"datanet": datanet, "bond": UNIT}
    call = await chain.compose_call("Datanets", "submit_batch", declared)
    submitted = await submit(chain, call, FERDIE)
    again = await submit(chain, await create(chain, FACTS["name"]), FERDIE)
    return {
        "name": name,
        "created": await outcome(created),
        "datanet": (await chain.query("Datanets", "Datanets", [datanet])).value,
        "submitted": await outcome(submitted),
        "batch": (await chain.query("Datanets", "Batches", [datanet, 0])).value,
        "again": await outcome(again),
    }


async def stakes_on_a_model(chain: AsyncSubstrateInterface) -> Any:
    arguments = {"model": FACTS["model"], "amount": 2 * UNIT}
    call = await chain.compose_call("Models", "back", arguments)
    before = await staked(chain)
    receipt = await submit(chain, call, FERDIE)
    return await outcome(receipt) | {"added": await staked(chain) - before}


async def opens_a_session(chain: AsyncSubstrateInterface) -> Any:
    arguments = {
        "model": FACTS["model"],
        "executor": FACTS["executor"],
        "voucher_key": BOB.ss58_address,
        "escrow": 20 * UNIT,
        "max_fee": UNIT,
        "ttl": 1000,
    }
    call = await chain.compose_call("Inference", "open_session", arguments)
    receipt = await submit(chain, call, FERDIE)
    (opened,) = [
        event["attributes"]
        for event in await receipt.triggered_events
        if event["event_id"] == "SessionOpened"
    ]
    session = (await chain.query("Inference", "Sessions", [opened["session"]])).value
    return await outcome(receipt) | {"session": session}


async def create(chain: AsyncSubstrateInterface, name: str) -> Any:
    policy = {"open": True, "bond_per_record": UNIT // 10, "min_bond": UNIT}
    arguments = {"name": name, "schema": ["title", "text"], "policy": policy}
    return await chain.compose_call("Datanets", "create", arguments)


async def staked(chain: AsyncSubstrateInterface) -> int:
    model = (await chain.query("Models", "Models", [FACTS["model"]])).value
    backed = {backer["account"]: backer["amount"] for backer in model["backers"]}
    return int(backed.get(FERDIE.ss58_address, 0))


async def transfer(chain: AsyncSubstrateInterface, name: str, target: str, value: int) -> Any:
    return await chain.compose_call("Balances", name, {"dest": target, "value": value})


async def submit(chain: AsyncSubstrateInterface, call: Any, signer: Key) -> Any:
    extrinsic = await chain.create_signed_extrinsic(call, signer, era={"period": 64})
    return await chain.submit_extrinsic(extrinsic, wait_for_finalization=True)


async def outcome(receipt: Any) -> dict[str, Any]:
    return {
        "success": await receipt.is_success,
        "error": await receipt.error_message,
        "events": [named(event) for event in await receipt.triggered_events],
    }


def named(event: Any) -> str:
    return f"{event['module_id']}.{event['event_id']}"


FLOWS = (
    connects,
    reads_an_account,
    estimates_a_fee,
    transfers,
    decodes_failures,
    is_told_why_a_transaction_is_refused,
    follows_heads,
    reads_an_old_block,
    pages_through_maps,
    calls_the_runtime,
    proves_storage,
    reads_every_pallet,
    reads_a_settlement,
    reads_the_attribution,
    reads_constants_and_errors,
    contributes_to_a_datanet,
    stakes_on_a_model,
    opens_a_session,
)


async def main(url: str) -> None:
    async with AsyncSubstrateInterface(url, ss58_format=42) as chain:
        print(json.dumps({run.__name__: await run(chain) for run in FLOWS}))


if __name__ == "__main__":
    FACTS |= json.loads(sys.argv[2])
    asyncio.run(main(sys.argv[1]))
