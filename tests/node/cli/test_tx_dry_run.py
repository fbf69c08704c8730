"""What is told of a transaction by nodes that can try it, and by nodes that cannot."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from node.cli.tx_dry_run import preview
from node.cli.tx_show import preview_facts, preview_lines
from node.client.errors import CallError
from node.client.rpc import NodeClient
from node.client.signing import from_uri
from node.service import RunningNode
from runtime.construct import encode_call
from runtime.primitives.types import Id
from tests.node.running_node import config, node
from tests.patience import PATIENCE

__all__ = ["config", "node"]

ALICE = from_uri("//Alice")


class Older(NodeClient):
    """A client of a node from before it could try transactions."""

    async def request(self, method: str, *params: Any) -> Any:
        if method == "openledger_dryRun":
            raise CallError(method, -32601, "Method not found")
        return await super().request(method, *params)


def transfer(amount: int) -> bytes:
    bob = Id(from_uri("//Bob").account_id)
    return encode_call("Balances", "transfer_keep_alive", dest=bob, value=amount)


async def test_an_older_node_tells_the_fee_and_that_the_outcome_is_unknown(
    node: RunningNode,
) -> None:
    with trio.fail_after(PATIENCE):
        async with Older.connect(f"ws://127.0.0.1:{node.rpc_address[1]}") as client:
            signed = await client.sign(transfer(10**30), ALICE, tip=5)
            begun = (await client.best()).number
            expected = await preview(client, signed.data)
            fee = await client.fee(transfer(10**30), ALICE, tip=5)
            blocks = (await client.best()).number - begun
    assert expected.outcome == "unknown"
    # The price of weight moves by 0.004 % at most with every block.
    assert abs(expected.fee - fee) * 25_000 <= fee * blocks
    assert expected.weight.ref_time > 0
    assert preview_facts(expected)["outcome"] == "unknown"
    assert any("cannot try" in line for line in preview_lines(expected))


async def test_other_errors_of_the_node_are_not_hidden(node: RunningNode) -> None:
    with trio.fail_after(PATIENCE):
        async with NodeClient.connect(f"ws://127.0.0.1:{node.rpc_address[1]}") as client:
            signed = await client.sign(transfer(1), ALICE)
            assert (await preview(client, signed.data)).outcome == "success"
            with pytest.raises(CallError):
                await client.request("openledger_dryRun", "nonsense", None)
