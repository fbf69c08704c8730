"""The codec of another ecosystem's tools reads our metadata, and values by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime import executive
from runtime.frame.metadata_schema import decode_metadata
from runtime.primitives.keys import ss58_encode
from tests.clients.conftest import HERE, Node, flow
from tests.clients.settled_chain import Settled

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ACCOUNTS = "0x26aa394eea5630e07c48ae0c9558cef7b99d880ec681799c0cf30e8886371da9"


@pytest.fixture(scope="module")
def seen(node: Node, settled: Settled, async_python_client: Path) -> dict[str, Any]:
    (key,) = node.call("state_getKeysPaged", ACCOUNTS, 1, None, settled.block)
    script = str(HERE / "py" / "bt_decode_flow.py")
    command = [str(async_python_client), script, node.http, settled.block, key]
    return flow(command, HERE) | {"key": key}


def test_it_reads_the_metadata(seen: dict[str, Any]) -> None:
    described: Any = decode_metadata(executive.metadata(15) or b"")
    assert seen["pallets"] == [pallet.name for pallet in described.pallets]
    assert seen["apis"] == [api.name for api in described.apis]
    assert seen["types"] == len(described.types)


def test_it_decodes_the_events_of_a_settlement(seen: dict[str, Any], settled: Settled) -> None:
    ours = [event["Inference"][0] for event in seen["events"] if "Inference" in event]
    paid = [event["Paid"] for event in ours if "Paid" in event]
    told = [(*p["role"], address(p["account"]), p["datanet"], str(p["amount"])) for p in paid]
    assert told == [(p.role, p.account, p.datanet, p.amount) for p in settled.paid]
    (last,) = [event["Settled"] for event in ours if "Settled" in event]
    sums = [settled.batch, settled.session, settled.compute, settled.premium]
    assert list(last.values()) == sums


def test_it_decodes_an_account(seen: dict[str, Any], node: Node, settled: Settled) -> None:
    data = bytes.fromhex(node.call("state_getStorage", seen["key"], settled.block)[2:])
    told = seen["account"]
    assert told["nonce"] == int.from_bytes(data[:4], "little")
    assert told["providers"] == int.from_bytes(data[8:12], "little") > 0
    assert told["data"]["free"] == int.from_bytes(data[16:32], "little")


def address(account: Any) -> str | None:
    return None if account is None else ss58_encode(bytes(account[0]))
