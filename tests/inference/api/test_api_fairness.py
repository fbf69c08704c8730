"""Tenants share the engine by counted work, however many requests and adapters each brings."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from inference.backbone.model import Backbone
from inference.fairness import INPUT_COST, OUTPUT_COST
from inference.request import Limits
from tests.inference.api.gate import Gate
from tests.inference.api.served_api import Api, served
from tests.patience import PATIENCE

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

        async def ask(tenant: str, model: str, number: int) -> int:
            fields = {"prompt": PROMPT, "max_tokens": OUTPUT, "seed": number, "n": 1}
            answer = await api.complete(tenant, model=model, **fields)
            order.append(tenant)
            return int(answer["usage"]["completion_tokens"])

        async def arrived(count: int) -> None:
            with trio.fail_after(PATIENCE):
                while sum(api.server.room.load) < count:
                    await trio.sleep(0.001)

        wanted = sum([await ask("ops", "red", number) for number in range(FEW)])
        order.clear()
        gate = Gate(api.server.room.engine)
        async with trio.open_nursery() as nursery:
            with gate:
                gate.hold()
                for number in range(FLOOD):
                    nursery.start_soon(ask, "alice", ("red", "green", "tiny")[number % 3], number)
                await arrived(FLOOD)
                gate.release()
                gate.hold(lambda: received(api).get("alice", 0) >= RUNNING * OUTPUT // 2)
                await gate.reached()
                await trio.testing.wait_all_tasks_blocked()
                before = received(api)
                served_before = len(order)
                async with trio.open_nursery() as few:
                    for number in range(FEW):
                        few.start_soon(ask, "bob", "red", number)
                    await arrived(sum(api.server.room.load) + FEW)
                    gate.release()
                    gate.hold(lambda: received(api).get("bob", 0) >= wanted)
                after = received(api)
                between = order[served_before:]
        assert after["bob"] == wanted
        assert between.count("bob") == FEW
        assert len(order) == FLOOD + FEW
        gained = OUTPUT_COST * (after.get("alice", 0) - before.get("alice", 0))
        assert gained <= FEW * COST + BOUND + OUTPUT_COST * RUNNING * OUTPUT
        # Served in the order of arrival, the flood would have been first.
        assert between.count("alice") <= FEW + BOUND // COST + RUNNING
        assert order.index("bob") < FLOOD // 2
        assert set(order[-(FLOOD // 3) :]) == {"alice"}
