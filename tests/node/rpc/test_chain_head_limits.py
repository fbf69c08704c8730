"""`chainHead_v1_*`: bounds on pins and operations, paging, slow clients, and that nothing leaks."""

from __future__ import annotations

import gc
import random
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from node.rpc.chain_head import story
from node.rpc.chain_head.blocks import HeadBlock
from node.rpc.chain_head.follower import Follower
from node.rpc.chain_head.limits import FollowLimits, Room
from node.rpc.chain_head.operation import Operation
from node.rpc.work import Work
from tests.node.rpc.chain_head_world import Client, Wire, World, hexed, start
from tests.node.tiny_runtime import TinyGenesis, put
from tests.patience import PATIENCE

MANY = tuple((b"m%04d" % number, b"v" * 100) for number in range(400))
EVERYTHING = [{"key": hexed(b"m"), "type": "descendantsValues"}]
settled = trio.testing.wait_all_tasks_blocked


@pytest.fixture
async def make(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Any]:
    made: list[World] = []

    async def begin(**settings: Any) -> World:
        made.append(await start(tmp_path / str(len(made)), nursery, **settings))
        return made[-1]

    yield begin
    nursery.cancel_scope.cancel()
    for world in made:
        world.chain.close()


async def test_too_many_retired_pins_end_the_follow(make: Any, nursery: trio.Nursery) -> None:
    world = await make(follow=FollowLimits(retired_pins=5))
    wire, tidy = Wire(world, nursery), Wire(world, nursery)
    ident, kept = await wire.result("follow", True), await tidy.result("follow", True)
    for _ in range(4):
        block = await world.extend_final()
        await settled()
        await tidy.result("unpin", kept, hexed(block))
    assert "stop" not in names(wire.events(ident))
    await world.extend_final()
    await settled()
    assert names(wire.events(ident))[-1] == "stop"
    assert await wire.result("header", ident, hexed(world.chain.genesis_hash)) is None
    await world.extend_final()
    await settled()
    assert names(tidy.events(kept))[-1] == "finalized"
    assert wire.events(ident) == []


async def test_unfinalised_pins_are_not_counted(make: Any, nursery: trio.Nursery) -> None:
    world = await make(follow=FollowLimits(retired_pins=5))
    wire = Wire(world, nursery)
    ident = await wire.result("follow", True)
    for _ in range(20):
        await world.extend()
    await settled()
    told = names(wire.events(ident))
    assert told.count("newBlock") == 20
    assert "stop" not in told


async def test_a_pin_of_old_age_ends_the_follow(
    make: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "MOST_AGE", 6)
    world = await make()
    wire, tidy = Wire(world, nursery), Wire(world, nursery)
    ident, other = await wire.result("follow", False), await tidy.result("follow", False)
    await tidy.result("unpin", other, hexed(world.chain.genesis_hash))
    for number in range(1, 8):
        assert ("stop" in names(wire.events(ident))) is False, number
        await world.extend_final()
        await settled()
    assert names(wire.events(ident))[-1] == "stop"
    assert names(tidy.events(other))[-1] == "finalized"


async def test_the_oldest_pins_go_when_all_of_them_take_too_much_memory(
    make: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "MOST_BYTES", 100_000)
    world = await make()
    old = Wire(world, nursery)
    first = await old.result("follow", True)
    await old.result("unpin", first, hexed(world.chain.genesis_hash))
    await dead_fork(world, put(b"k", b"x" * 20_000))
    await settled()
    young = Wire(world, nursery)
    second = await young.result("follow", True)
    for block in young.events(second)[0]["finalizedBlockHashes"]:
        await young.result("unpin", second, block)
    for _ in range(2):
        assert "stop" not in names(old.events(first))
        await dead_fork(world, put(b"k", b"x" * 20_000))
        await settled()
    assert names(old.events(first))[-1] == "stop"
    assert 80_000 < world.heads.story._held_bytes < 100_000
    told = names(young.events(second))
    assert told.count("newBlock") == 4
    assert "stop" not in told


async def dead_fork(world: World, *extrinsics: bytes) -> None:
    root = world.chain.finalized().hash
    await world.grow(root, *extrinsics)
    final = await world.grow(root)
    world.chain.set_best(final)
    await world.chain.finalize(final, b"proof")


async def test_descendants_come_in_pages_that_the_client_asks_for(make: Any) -> None:
    world = await make(
        genesis=TinyGenesis(MANY), follow=FollowLimits(piece=2_000, page=10_000, at_work=1)
    )
    async with world.connect() as socket:
        client = Client(socket)
        ident, at = await client.follow(), hexed(world.chain.genesis_hash)
        started = await client.result("storage", ident, at, EVERYTHING, None)
        operation = started["operationId"]
        told = await client.until(ident, "operationWaitingForContinue")
        assert await client.result("header", ident, at) is not None
        assert await client.operation(ident, "call", at, "Echo_echo", "0x01") == [
            {"event": "operationCallDone", "output": "0x01"}
        ]
        pages = 1
        while told[-1]["event"] != "operationStorageDone":
            if told[-1]["event"] == "operationWaitingForContinue":
                assert await client.result("continue", ident, operation) is None
                pages += 1
            told.append(await client.event(ident))
        items = [item for event in told for item in event.get("items", ())]
        assert items == [{"key": hexed(key), "value": hexed(value)} for key, value in MANY]
        assert pages == 9
        assert await client.result("continue", ident, operation) is None


async def test_a_page_that_nobody_asks_for_is_given_up(make: Any, nursery: trio.Nursery) -> None:
    limits = FollowLimits(piece=1_000, page=10_000, patience=0.05)
    world = await make(genesis=TinyGenesis(MANY), follow=limits)
    wire = Wire(world, nursery)
    nursery.start_soon(wire.drain)
    ident, at = await wire.result("follow", True), hexed(world.chain.genesis_hash)
    operation = (await wire.result("storage", ident, at, EVERYTHING, None))["operationId"]
    told = await told_until(wire, ident, "operationInaccessible")
    assert told[-2:] == ["operationWaitingForContinue", "operationInaccessible"]
    assert await wire.result("continue", ident, operation) is None


async def test_only_an_operation_that_waits_can_be_continued(
    make: Any, nursery: trio.Nursery
) -> None:
    world = await make(genesis=TinyGenesis(MANY), follow=FollowLimits(piece=1_000, page=10_000))
    wire = Wire(world, nursery)
    ident, at = await wire.result("follow", True), hexed(world.chain.genesis_hash)
    operation = (await wire.result("storage", ident, at, EVERYTHING, None))["operationId"]
    assert (await wire.ask("continue", ident, operation))["error"]["code"] == -32803
    nursery.start_soon(wire.drain)
    await settled()
    assert names(wire.events(ident))[-1] == "operationWaitingForContinue"
    assert await wire.result("continue", ident, operation) is None
    assert (await wire.ask("continue", ident, operation))["error"]["code"] == -32803
    assert await wire.result("stopOperation", ident, operation) is None
    await settled()
    assert wire.events(ident) == []
    assert await wire.result("continue", ident, operation) is None


async def test_many_operations_run_at_once_and_the_rest_are_refused(
    make: Any, nursery: trio.Nursery
) -> None:
    world = await make(follow=FollowLimits(operations=16))
    wire = Wire(world, nursery)
    ident, at = await wire.result("follow", True), hexed(world.chain.genesis_hash)
    queries = [{"key": hexed(b"a"), "type": "value"}] * 12
    assert (await wire.result("storage", ident, at, queries, None))["discardedItems"] == 0
    assert (await wire.result("body", ident, at))["result"] == "started"
    assert (await wire.result("call", ident, at, "Echo_echo", "0x"))["result"] == "started"
    assert (await wire.result("storage", ident, at, queries, None))["discardedItems"] == 10
    for method, *more in (("body",), ("call", "Echo_echo", "0x"), ("storage", queries, None)):
        assert await wire.result(method, ident, at, *more) == {"result": "limitReached"}
    nursery.start_soon(wire.drain)
    await settled()
    told = wire.events(ident)
    assert sum(len(event.get("items", ())) for event in told) == 14
    assert (await wire.result("storage", ident, at, queries, None))["discardedItems"] == 0


async def test_operations_of_all_followers_share_one_bound(
    make: Any, nursery: trio.Nursery
) -> None:
    world = await make(follow=FollowLimits(all_operations=20, operation_bytes=1000))
    at = hexed(world.chain.genesis_hash)
    wires = [Wire(world, nursery) for _ in range(2)]
    idents = [await wire.result("follow", True) for wire in wires]
    results = [
        (await wires[number % 2].result("body", idents[number % 2], at))["result"]
        for number in range(21)
    ]
    assert results == ["started"] * 20 + ["limitReached"]
    await wires[0].result("unfollow", idents[0])
    large = "0x" + "00" * 990
    limit = {"result": "limitReached"}
    assert await wires[1].result("call", idents[1], at, "Echo_echo", large) != limit
    assert await wires[1].result("call", idents[1], at, "Echo_echo", large) == limit


async def test_a_stopped_operation_says_nothing_more(make: Any, nursery: trio.Nursery) -> None:
    world = await make()
    wire = Wire(world, nursery)
    ident, at = await wire.result("follow", True), hexed(world.chain.genesis_hash)
    stopped = (await wire.result("body", ident, at))["operationId"]
    await wire.result("stopOperation", ident, stopped)
    await wire.result("stopOperation", ident, stopped)
    other = (await wire.result("body", ident, at))["operationId"]
    nursery.start_soon(wire.drain)
    await settled()
    told = [event["operationId"] for event in wire.events(ident) if "operationId" in event]
    assert told == [other]


async def test_what_a_batch_begins_speaks_behind_its_answer(
    make: Any, nursery: trio.Nursery
) -> None:
    world = await make()
    wire = Wire(world, nursery)
    nursery.start_soon(wire.drain)
    ident, at = await wire.result("follow", True), hexed(world.chain.genesis_hash)
    wire.sent.clear()
    call = {"jsonrpc": "2.0", "id": 1, "method": "chainHead_v1_body", "params": [ident, at]}
    follow = {"jsonrpc": "2.0", "id": 2, "method": "chainHead_v1_follow", "params": [True]}
    batch = [call, call, follow, call]
    answered = [answer["result"] for answer in await wire.request(batch)]
    await settled()
    assert isinstance(wire.sent[0], list)
    ids = {answer["operationId"] for answer in answered if isinstance(answer, dict)}
    assert {event["operationId"] for event in wire.events(ident)} == ids
    assert names(wire.events(answered[2])) == ["initialized", "bestBlockChanged"]


async def test_a_client_that_does_not_read_is_told_to_stop_and_others_follow_on(
    make: Any, nursery: trio.Nursery
) -> None:
    world = await make()
    slow = Wire(world, nursery, backlog_bytes=40_000, high_water_bytes=8_000)
    quick = Wire(world, nursery)
    nursery.start_soon(quick.drain)
    stuck, flowing = await slow.result("follow", True), await quick.result("follow", True)
    for _ in range(60):
        await world.extend()
        await settled()
    told = names(slow.events(stuck))
    assert told[-1] == "stop"
    assert told.count("stop") == 1
    assert len(told) < 60
    assert names(quick.events(flowing)).count("newBlock") == 60
    assert len(world.heads.story.news) == 1


async def test_operations_wait_for_a_client_that_does_not_read(
    make: Any, nursery: trio.Nursery
) -> None:
    world = await make(genesis=TinyGenesis(MANY), follow=FollowLimits(piece=1_000))
    wire = Wire(world, nursery, high_water_bytes=8_000, backlog_bytes=10_000_000)
    ident, at = await wire.result("follow", True), hexed(world.chain.genesis_hash)
    for _ in range(16):
        await wire.result("storage", ident, at, EVERYTHING, None)
    await settled()
    assert wire.outbox._queued < 20_000
    nursery.start_soon(wire.drain)
    await settled()
    told = wire.events(ident)
    assert sum(len(event.get("items", ())) for event in told) == 16 * len(MANY)


async def test_lost_events_end_the_follow_and_never_leave_a_gap(
    make: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make()
    wire = Wire(world, nursery)
    ident = await wire.result("follow", True)
    begin = world.heads.story._events
    while begin.statistics().open_send_channels:  # flood the reader without letting it read
        world.chain._events.publish(story.BestChanged(world.chain.genesis_hash))
    await world.extend_final()
    await told_until(wire, ident, "stop")
    await settled()
    assert wire.events(ident) == []
    again = await wire.result("follow", True)
    await world.extend_final()
    await settled()
    told = wire.events(again)
    assert len(told[0]["finalizedBlockHashes"]) == 2
    assert names(told)[-1] == "finalized"


async def test_thousands_of_follows_leave_nothing_behind(make: Any) -> None:
    world = await make(genesis=TinyGenesis(MANY), follow=FollowLimits(piece=1_000, page=5_000))
    before = world.heads.story
    kinds = ((Follower, Operation, Room), (HeadBlock,))
    others = alive(*kinds)
    choice = random.Random(7)
    for number in range(1_000):
        await one_connection(world, choice)
        if number % 50 == 0:
            await dead_fork(world)
            await settled()
    assert len(before.news) == 0
    assert before._held == set()
    assert before._held_bytes == 0
    assert all(block.pins == 0 for block in before.recent)
    assert (world.head._room.count, world.head._room.size) == (16_384, 64 << 20)
    services, blocks = (now - then for now, then in zip(alive(*kinds), others, strict=True))
    assert services == 0
    assert blocks <= 2 * story.RECENT


def alive(*kinds: tuple[type, ...]) -> list[int]:
    """Count the objects of each kind that somebody still holds."""
    gc.collect()
    things = gc.get_objects()
    return [sum(type(thing) in kind for thing in things) for kind in kinds]


async def one_connection(world: World, choice: random.Random) -> None:
    """Follow up to four times, begin this and that, and be gone in the midst of it."""
    async with trio.open_nursery() as nursery:
        wire = Wire(world, nursery)
        if choice.random() < 0.5:
            nursery.start_soon(wire.drain)
        at = hexed(world.chain.finalized().hash)
        for _ in range(choice.randrange(1, 5)):
            ident = await wire.result("follow", choice.random() < 0.8)
            for _ in range(choice.randrange(4)):
                await wire.ask(*choice.choice(ASKED(ident, at)))
        if choice.random() < 0.5:
            await settled()
        nursery.cancel_scope.cancel()
    wire.session.close_all()
    wire.outbox.close()


def ASKED(ident: str, at: str) -> list[list[Any]]:  # noqa: N802
    return [
        ["storage", ident, at, EVERYTHING, None],
        ["body", ident, at],
        ["call", ident, at, "Echo_echo", "0x00"],
        ["unfollow", ident],
        ["unpin", ident, at],
    ]


async def test_connections_that_break_off_leave_nothing_behind(make: Any) -> None:
    world = await make(genesis=TinyGenesis(MANY))
    for _ in range(30):
        async with world.connect() as socket:
            client = Client(socket)
            ident = await client.follow()
            begin = partial(client.result, "storage", ident, hexed(world.chain.genesis_hash))
            await begin(EVERYTHING, None)
    with trio.fail_after(PATIENCE):
        while len(world.heads.story.news) or world.server.connections:
            await trio.sleep(0.01)
    assert (world.head._room.count, world.head._room.size) == (16_384, 64 << 20)


async def test_a_call_for_which_there_is_no_room_now_may_be_tried_again(
    make: Any, nursery: trio.Nursery
) -> None:
    world = await make()
    turns = world.head._reads._backend.turns[Work.RULES]
    wire = Wire(world, nursery)
    ident = await wire.result("follow", True)
    genesis, long = hexed(world.chain.genesis_hash), hexed(bytes(5000))

    async def wait() -> None:
        async with turns.turn():
            await trio.sleep_forever()

    async with trio.open_nursery() as busy:
        for _ in range(Work.RULES.at_once + Work.RULES.waiting):
            busy.start_soon(wait)
        await settled()
        await wire.result("call", ident, genesis, "Echo_echo", long)
        await settled()
        assert names(wire.events(ident))[-1] == "operationInaccessible"
        busy.cancel_scope.cancel()
    await wire.result("call", ident, genesis, "Echo_echo", long)
    with trio.fail_after(PATIENCE):
        while not (told := wire.events(ident)):
            await trio.sleep(0.01)
    assert names(told) == ["operationCallDone"]


def names(events: list[Any]) -> list[str]:
    return [event["event"] for event in events]


async def told_until(wire: Wire, ident: str, last: str) -> list[str]:
    """Wait until the last of the events has this name, and name them all."""
    told: list[str] = []
    with trio.fail_after(PATIENCE):
        while told[-1:] != [last]:
            await trio.sleep(0.01)
            told += names(wire.events(ident))
    return told
