"""What a chain holds before and after bad input, and how an extrinsic of a stranger is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from node.client.errors import CallError
from node.client.rpc import NodeClient
from node.client.signing import KeyPair, sign_extrinsic
from runtime.construct import PALLETS, Runtime, storage_key
from runtime.frame.currency import TREASURY
from runtime.frame.pallet import storage_items
from runtime.pallets.transaction_payment.pallet import AUTHOR_PERCENT, BURN_PERCENT
from runtime.primitives.extrinsic import Extensions, Immortal
from runtime.primitives.hashing import twox128
from runtime.state.overlay import Overlay
from runtime.state.store import MemoryState
from tests.clients.main_job import VALIDATOR, at_height, height

INVALID = 1010
ISSUANCE = storage_key("Balances", "TotalIssuance")
KEY_OWNER = storage_key("Session", "KeyOwner")
PASSING = (
    *(twox128(name) for name in (b"System", b"Timestamp")),
    storage_key("Session", "Author"),
    storage_key("Session", "Mix"),
    storage_key("Session", "Mixes"),
    storage_key("Session", "CurrentIndex"),
    storage_key("Session", "EpochStart"),
    storage_key("Session", "Seed"),
    storage_key("Session", "Activity"),
    storage_key("Session", "HistoricalSets"),
    storage_key("TransactionPayment", "NextFeeMultiplier"),
    storage_key("Attribution", "OldestAgenda"),
    storage_key("Inference", "OldestDeadline"),
)
"""What every block or every end of an epoch changes, an empty one too."""


@dataclass(frozen=True)
class World:
    """A whole state, proven by its root, with its block's number."""

    number: int
    entries: dict[bytes, bytes]

    @property
    def runtime(self) -> Runtime:
        return Runtime(Overlay(MemoryState(self.entries)))

    def lasting(self) -> dict[bytes, bytes]:
        """Return what changes only when somebody changes it; accounts are not among it."""
        found = {k: v for k, v in self.entries.items() if not k.startswith(PASSING)}
        for key in found:
            if key.startswith(KEY_OWNER):  # the end of an epoch changes what follows the owner
                found[key] = found[key][:32]
        del found[ISSUANCE]
        return found

    def accounts(self) -> dict[bytes, Any]:
        return dict(self.runtime.system.account.items())


async def world(client: NodeClient) -> World:
    """Read the state of the last finalised block, all of it, and check it."""
    head = await client.finalized_head()
    header = await client.header(head)
    assert header is not None
    at = "0x" + head.hex()
    entries: dict[bytes, bytes] = {}
    last = None
    while keys := await client.request("state_getKeysPaged", "0x", 1000, last, at):
        (page,) = await client.request("state_queryStorageAt", keys, at)
        entries |= {_bytes(key): _bytes(value) for key, value in page["changes"]}
        last = keys[-1]
    assert MemoryState(entries).root == header.state_root, "the state read is not the block's"
    found = World(header.number, entries)
    found.runtime.check_invariants()
    return found


@asynccontextmanager
async def unharmed(client: NodeClient) -> AsyncIterator[None]:
    """Check that what happens inside costs fees, and changes nothing else but their nonces."""
    before = await world(client)
    yield
    best = await client.best()
    await at_height(client, best.number + 1)
    after = await world(client)
    differing = changed(before.lasting(), after.lasting())
    assert not differing, f"bad input changed {', '.join(differing)}"
    paid: dict[bytes, list[int]] = {}
    for number in range(before.number + 1, after.number + 1):
        block = await client.block_hash(number)
        assert block is not None
        for record in await client.events(block):
            if record.name == "TransactionFeePaid":
                paid.setdefault(record.event.who, []).append(record.event.actual_fee)
    _check_fees(before, after, paid)


def _check_fees(before: World, after: World, paid: dict[bytes, list[int]]) -> None:
    fees = [fee for fees in paid.values() for fee in fees]
    burned = sum(fee * BURN_PERCENT // 100 for fee in fees)
    author = sum(fee * AUTHOR_PERCENT // 100 for fee in fees)
    issuance = before.runtime.balances.total_issuance.get()
    left = after.runtime.balances.total_issuance.get()
    assert left == issuance - burned, f"the issuance fell by {issuance - left}, not {burned}"
    gained = {VALIDATOR.account_id: author, TREASURY: sum(fees) - author - burned}
    accounts = after.accounts()
    assert accounts.keys() == before.accounts().keys(), "accounts came or went"
    for who, was in before.accounts().items():
        now = accounts[who]
        due = gained.get(who, 0) - sum(paid.get(who, ()))
        assert (now.data.free - was.data.free, now.nonce - was.nonce) == (
            due,
            len(paid.get(who, ())),
        ), f"account 0x{who.hex()}: the fee alone may change it"
        assert now.data.reserved == was.data.reserved, f"0x{who.hex()}: holds changed"


def changed(before: dict[bytes, bytes], after: dict[bytes, bytes]) -> list[str]:
    """Name the storage items that differ."""
    keys = before.keys() | after.keys()
    return sorted({_item(key) for key in keys if before.get(key) != after.get(key)})


def _item(key: bytes) -> str:
    for pallet in PALLETS:
        for item in storage_items(pallet).values():
            if key.startswith(item.key()):
                return f"{pallet.NAME}.{item.name}"
    return "0x" + key.hex()


def signed(
    client: NodeClient,
    call: bytes,
    signer: KeyPair,
    nonce: int,
    *,
    era: Any = None,
    tip: int = 0,
    **facts: Any,
) -> bytes:
    """Sign a call as it should be, but for the facts that are given."""
    known = {
        "spec_version": client.spec_version,
        "transaction_version": client.transaction_version,
        "genesis_hash": client.genesis_hash,
        "birth_hash": client.genesis_hash,
    }
    return sign_extrinsic(call, signer, Extensions(era or Immortal(), nonce, tip), **known | facts)


async def refused(client: NodeClient, extrinsic: bytes) -> CallError:
    """Submit an extrinsic that must not get in; returns the error."""
    with pytest.raises(CallError) as caught:
        await client.request("author_submitExtrinsic", "0x" + extrinsic.hex())
    return caught.value


async def reason(client: NodeClient, extrinsic: bytes) -> str:
    """Submit an extrinsic that the state must not admit; returns the reason's name.

    A duty's reason is the pallet's error, as `Inference.VoucherRefused`.
    """
    error = await refused(client, extrinsic)
    assert error.code == INVALID, error
    name, _, detail = str(error.data).partition(": ")
    if name != "Custom":
        return name
    return detail.partition(": ")[0]


async def goes_on(client: NodeClient) -> None:
    """Check that blocks are made and finalised."""
    await at_height(client, await height(client) + 2)


def pieces(data: bytes, count: int) -> Iterator[bytes]:
    """Cut the data at about `count` places, the first and the last byte among them."""
    step = max(1, len(data) // count)
    for cut in {*range(0, len(data), step), 1, len(data) - 1}:
        yield data[:cut]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
