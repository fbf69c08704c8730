from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest
import trio

from node.client.errors import CallError, DispatchError, NeedsWebSocket, Refused, Unreachable
from node.client.rpc import NodeClient
from node.client.signing import from_uri
from node.service import RunningNode
from runtime.construct import encode_call
from runtime.primitives.types import Id

UNIT = 10**18
ALICE, BOB = from_uri("//Alice"), from_uri("//Bob")


def transfer(to: bytes, value: int) -> bytes:
    return encode_call("Balances", "transfer_keep_alive", dest=Id(to), value=value)


async def free(client: NodeClient, account: bytes) -> int:
    info = await client.storage("System", "Account", account)
    return int(info.data.free)


async def test_storage_is_decoded_and_absent_entries_read_as_defaults(client: NodeClient) -> None:
    assert await free(client, ALICE.account_id) == 1_000_000 * UNIT
    assert await free(client, b"\1" * 32) == 0
    assert await client.storage("Datanets", "Datanets", 7) is None


async def test_a_map_is_read_whole_at_one_block(client: NodeClient) -> None:
    found = {keys[0]: info async for keys, info in client.storage_items("System", "Account")}
    assert found[ALICE.account_id].data.free > 0
    assert len(found) >= 10


@pytest.mark.parametrize("scheme", ["sr25519", "ed25519", "ecdsa"])
async def test_a_transfer_moves_money_and_reports_its_events(
    client: NodeClient, scheme: Any
) -> None:
    signer = from_uri("//Alice//client", scheme)
    await client.submit(transfer(signer.account_id, 10 * UNIT), ALICE)
    target = from_uri("//nobody//yet").account_id
    done = await client.submit(transfer(target, UNIT), signer)
    assert done.event("Balances", "Transfer").amount == UNIT
    assert await client.storage("System", "Account", target, at=done.block_hash)
    assert await free(client, target) == UNIT


async def test_a_failing_call_raises_the_pallets_error_and_its_text(client: NodeClient) -> None:
    call = encode_call("Sudo", "sudo", call=encode_call_of_remark())
    with pytest.raises(DispatchError) as caught:
        await client.submit(call, BOB)
    assert (caught.value.pallet, caught.value.error) == ("Sudo", "RequireSudo")
    assert "sudo key" in caught.value.text


async def test_a_failing_transfer_raises_the_token_error(client: NodeClient) -> None:
    with pytest.raises(DispatchError) as caught:
        await client.submit(transfer(ALICE.account_id, 10**30), BOB)
    assert (caught.value.pallet, caught.value.error) == ("Token", "FundsUnavailable")


def encode_call_of_remark() -> Any:
    from runtime.construct import decode_call

    return decode_call(encode_call("System", "remark", remark=b"hi"))


async def test_a_refused_transaction_raises_the_reason(client: NodeClient) -> None:
    with pytest.raises(Refused) as caught:
        await client.submit(transfer(BOB.account_id, UNIT), from_uri("//Nobody//With//Nothing"))
    assert caught.value.reason == "Payment"


async def test_many_transactions_of_one_account_get_consecutive_nonces(client: NodeClient) -> None:
    async with trio.open_nursery() as nursery:
        for value in range(1, 9):
            nursery.start_soon(client.submit, transfer(BOB.account_id, value * UNIT), ALICE)
    assert (await client.storage("System", "Account", ALICE.account_id)).nonce == 8


async def test_a_nonce_used_elsewhere_is_noticed(client: NodeClient, node: RunningNode) -> None:
    await client.submit(transfer(BOB.account_id, UNIT), ALICE)
    host, port = node.rpc_address
    async with NodeClient.connect(f"ws://{host}:{port}") as other:
        await other.submit(transfer(BOB.account_id, UNIT), ALICE)
    await client.submit(transfer(BOB.account_id, UNIT), ALICE)
    assert (await client.storage("System", "Account", ALICE.account_id)).nonce == 3


async def test_the_fee_that_was_asked_for_is_the_fee_that_is_paid(client: NodeClient) -> None:
    call = transfer(BOB.account_id, UNIT)
    begun = (await client.best()).number
    fee = await client.fee(call, ALICE)
    done = await client.submit(call, ALICE)
    assert done.block_hash is not None
    block = await client.header(done.block_hash)
    assert block is not None
    paid = done.event("TransactionPayment", "TransactionFeePaid").actual_fee
    # The price of weight moves by 0.004 % at most with every block.
    assert abs(paid - fee) * 25_000 <= fee * (block.number - begun)


async def test_a_dry_run_takes_nothing(client: NodeClient) -> None:
    assert (await client.dry_run(transfer(BOB.account_id, UNIT), ALICE))[0] == 0
    assert (await client.dry_run(transfer(BOB.account_id, 1), from_uri("//Poor")))[0] == 1
    assert (await client.storage("System", "Account", ALICE.account_id)).nonce == 0


async def test_finalised_blocks_come_in_order_from_any_start(client: NodeClient) -> None:
    numbers = []
    async with aclosing(client.finalized_blocks(start=1)) as blocks:
        async for block in blocks:
            numbers.append(block.header.number)
            assert block.header.hash() == await client.block_hash(block.header.number)
            assert block.events[-1].name == "ExtrinsicSuccess"
            if len(numbers) == 6:
                break
    assert numbers == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("client", ["ws"], indirect=True)
async def test_a_subscription_is_an_async_iterator(client: NodeClient) -> None:
    async with await client.subscribe("chain_subscribeNewHeads") as heads:
        seen = [int((await anext(heads))["number"], 16) for _ in range(3)]
    assert seen == list(range(seen[0], seen[0] + 3))


@pytest.mark.parametrize("client", ["http"], indirect=True)
async def test_a_subscription_over_http_says_what_to_do(client: NodeClient) -> None:
    with pytest.raises(NeedsWebSocket, match="ws://"):
        await client.subscribe("chain_subscribeNewHeads")


async def test_the_nodes_errors_keep_their_code(client: NodeClient) -> None:
    with pytest.raises(CallError) as caught:
        await client.request("state_getStorage", "0x00", "0x" + "77" * 32)
    assert caught.value.code == 4003
    assert "UnknownBlock" in caught.value.message


async def test_no_node_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.client.transport.CONNECT_SECONDS", 0.3)
    for scheme in ("ws", "http"):
        with pytest.raises(Unreachable, match="is it running"):
            async with NodeClient.connect(f"{scheme}://127.0.0.1:1"):
                pass


async def test_another_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="ws://"):
        async with NodeClient.connect("ftp://127.0.0.1"):
            pass
