"""A development chain on which the main job was done, for clients to read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pytest
import trio

from node.client.rpc import NodeClient
from runtime.frame.pallet import pascal
from runtime.primitives.keys import ss58_encode
from tests.clients.main_job import NAME, answer, open_market, settle

if TYPE_CHECKING:
    from tests.clients.conftest import Node


@dataclass(frozen=True)
class Paid:
    """A part of the fee."""

    role: str
    account: str | None
    datanet: int | None
    amount: str


@dataclass(frozen=True)
class Settled:
    """What was settled, in the words that clients print."""

    block: str
    number: int
    name: str
    datanet: int
    model: int
    session: int
    batch: int
    compute: int
    premium: int
    paid: tuple[Paid, ...]

    def facts(self) -> str:
        """Return what a client's script has to know, as JSON."""
        told = asdict(self)
        names = ("block", "name", "datanet", "model", "session", "batch")
        return json.dumps({name: told[name] for name in names})


@pytest.fixture(scope="session")
def settled(node: Node) -> Settled:
    """Do the main job on the running node, from a Datanet's creation to a settled fee."""
    return trio.run(_main_job, node.websocket)


async def _main_job(url: str) -> Settled:
    async with NodeClient.connect(url) as client:
        market = await open_market(client)
        entries = [answer(market, 1), answer(market, 2)]
        done = await settle(client, market, entries)
        header = done.block.header
        return Settled(
            block="0x" + header.hash().hex(),
            number=header.number,
            name=NAME.decode(),
            datanet=market.datanet,
            model=market.model,
            session=market.session,
            batch=done.batch,
            compute=sum(e.receipt.compute for e in entries),
            premium=sum(e.receipt.premium for e in entries),
            paid=tuple(
                Paid(
                    pascal(paid.role.name),
                    None if paid.account is None else ss58_encode(paid.account),
                    paid.datanet,
                    str(paid.amount),
                )
                for paid in done.events("Paid")
            ),
        )
