"""Tenants share the engine by counted work, however many requests and adapters each brings."""

from __future__ import annotations

from pathlib import Path

import trio

from inference.backbone.model import Backbone
from inference.fairness import INPUT_COST, OUTPUT_COST
from inference.request import Limits
from tests.inference.api.served_api import Api, served

RUNNING, PROMPT, OUTPUT = 2, "abcdefgh", 16
BOUND = 2 * (INPUT_COST * len(PROMPT) + OUTPUT_COST * RUNNING * OUTPUT)
"""Twice D of the counters' bound: what two tenants receive in an interval differs by no more."""
COST = INPUT_COST * len(PROMPT) + OUTPUT_COST * OUTPUT
FLOOD, FEW = 60, 8


def received(api: Api) -> dict[str, int]:
    figures = api.server.room.figures
    assert figures is not None
    return dict(figures.served)


async def test_a_flood_of_one_tenant_takes_no_more_than_its_share(
    backbone: Backbone, tmp_path: Path
) -> None:
    limits = Limits(running=RUNNING, waiting=256, waiting_per_tenant=100)
    order: list[str] = []
    async with served(backbone, tmp_path, limits=limits) as api:

        async def ask(tenant: str, model: str, number: int) -> None:
            fields = {"prompt": PROMPT, "max_tokens": OUTPUT, "seed": number, "n": 1}
            await api.complete(tenant, model=model, **fields)
            order.append(tenant)

        async with trio.open_nursery() as nursery:
            for number in range(FLOOD):
                nursery.start_soon(ask, "alice", ("red", "green", "tiny")[number % 3], number)
            with trio.fail_after(30):
                while api.server.room.load[1] < FLOOD - RUNNING - 10:
                    await trio.sleep(0.001)
            before = received(api)
            served_before = len(order)
            async with trio.open_nursery() as few:
                for number in range(FEW):
                    few.start_soon(ask, "bob", "red", number)
            after = received(api)
            between = order[served_before:]
        assert between.count("bob") == FEW
        assert len(order) == FLOOD + FEW
        gained = OUTPUT_COST * (after["alice"] - before["alice"])
        assert gained <= FEW * COST + BOUND + OUTPUT_COST * RUNNING * OUTPUT
        # Served in the order of arrival, the flood would have been first.
        assert between.count("alice") <= FEW + BOUND // COST + RUNNING
        assert order.index("bob") < FLOOD // 2
        assert set(order[-(FLOOD // 3) :]) == {"alice"}
