"""Long work waits for its turn, and clients together leave the loop to the rest of the node."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing

from node.rpc.errors import SERVER_BUSY, RpcError
from node.rpc.pace import Pace
from node.rpc.slices import PASS_SECONDS, SLICE_SECONDS, Slice, loop_share
from node.rpc.work import CLIENT, Turns, Work
from tests.patience import PATIENCE


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


A_PIECE = SLICE_SECONDS / 4


class Client:
    """Stands for a connection."""


async def test_no_more_are_worked_on_at_once_than_the_kind_allows() -> None:
    turns = Turns(Work.SCAN)
    running = most = 0

    async def work() -> None:
        nonlocal running, most
        async with turns.turn():
            running += 1
            most = max(most, running)
            await trio.sleep(0.001)
            running -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(work)
    assert most == Work.SCAN.at_once


async def test_who_comes_first_is_served_first() -> None:
    turns = Turns(Work.KEYS)
    served: list[int] = []

    async def work(number: int) -> None:
        async with turns.turn():
            await trio.sleep(0.001)
            served.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(work, number)
            await trio.sleep(0)
    assert served == sorted(served)


async def test_a_full_queue_refuses_at_once_and_says_so() -> None:
    turns = Turns(Work.KEYS)
    refused: list[int] = []

    async def work() -> None:
        try:
            async with turns.turn():
                await trio.sleep(0.01)
        except RpcError as refusal:
            refused.append(refusal.code)

    async with trio.open_nursery() as nursery:
        for _ in range(Work.KEYS.at_once + Work.KEYS.waiting + 3):
            nursery.start_soon(work)
    assert refused == [SERVER_BUSY] * 3
    assert (turns.refused, turns.waiting) == (3, 0)


async def test_one_connection_cannot_take_the_whole_queue() -> None:
    turns = Turns(Work.KEYS)
    served: list[str] = []

    async def work(name: str) -> None:
        try:
            async with turns.turn():
                await trio.sleep(0.001)
        except RpcError:
            served.append(f"{name} refused")
        else:
            served.append(name)

    async def connection(name: str, requests: int, nursery: trio.Nursery) -> None:
        CLIENT.set(Client())
        for _ in range(requests):
            nursery.start_soon(work, name)

    async with trio.open_nursery() as nursery, trio.open_nursery() as connections:
        connections.start_soon(connection, "greedy", 20, nursery)
        await trio.testing.wait_all_tasks_blocked()
        connections.start_soon(connection, "modest", 1, nursery)
    share = Work.KEYS.waiting // 4
    assert served.count("greedy") == Work.KEYS.at_once + share
    assert served.count("modest") == 1


async def test_a_cancelled_request_gives_its_place_back() -> None:
    turns = Turns(Work.RULES)
    async with trio.open_nursery() as nursery:

        async def hold() -> None:
            async with turns.turn():
                await trio.sleep_forever()

        nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.01):
            async with turns.turn():
                raise AssertionError("there is one turn only")
        assert turns.waiting == 0
        nursery.cancel_scope.cancel()
    with trio.fail_after(PATIENCE):
        async with turns.turn():
            pass


async def test_behind_rules_follows_a_rest_as_long_as_they_took() -> None:
    turns = Turns(Work.RULES)
    begun = trio.current_time()
    async with turns.turn():
        await trio.sleep(0.05)
    async with turns.turn():
        assert trio.current_time() - begun >= 0.1


@pytest.mark.parametrize("clients", [1, 50])
async def test_many_busy_clients_leave_the_loop_to_others(clients: int) -> None:
    pieces = most = done = 0

    async def client() -> None:
        nonlocal done, pieces
        work = Slice()
        await work.begin()
        for _ in range(20):
            spin(A_PIECE)
            pieces += 1
            await work.pause()
        work.end()
        done += 1

    async def consensus() -> None:
        nonlocal most
        while True:
            before = pieces
            await trio.sleep(0)
            most = max(most, pieces - before)

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as busy:
            for _ in range(clients):
                busy.start_soon(client)
            nursery.start_soon(consensus)
        nursery.cancel_scope.cancel()
    assert done == clients
    # A pass is open until PASS_SECONDS are taken, and its last slice goes on to the end of a piece.
    # Between two turns of another task lie parts of two rounds of trio's, which runs the tasks of a
    # round in random order, and in each round the share may be renewed between two of its tasks.
    # All clients at once would take their slices one behind the other.
    a_pass = (PASS_SECONDS + SLICE_SECONDS) / A_PIECE + 1
    assert 0 < most <= 4 * a_pass
    assert not loop_share().waiting


async def test_the_share_is_there_again_when_nobody_waits() -> None:
    share = loop_share()
    share.spend(PASS_SECONDS)
    assert share.full
    with trio.fail_after(PATIENCE):
        await share.turn()
        await trio.testing.wait_all_tasks_blocked()
    assert not share.full


async def test_a_hurried_slice_does_not_queue() -> None:
    share = loop_share()
    hurried = Slice(hurried=True)
    spin(3 * SLICE_SECONDS)
    async with trio.open_nursery() as nursery:
        share.spend(PASS_SECONDS)
        nursery.start_soon(share.turn)
        with trio.fail_after(PATIENCE):
            await hurried.pause()


async def test_a_pace_holds_a_minutes_worth(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace(60)
    assert pace.take(60)
    assert not pace.take(1)
    await trio.sleep(1)
    assert pace.take(1)
    assert not pace.take(1)
    await trio.sleep(600)
    assert not pace.take(61)
    assert pace.take(60)
