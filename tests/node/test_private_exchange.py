"""A member's request reaches the executor's worker, and nobody else gets in between."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from node.client.material import MaterialReason, MaterialRefusal, open_answer
from node.network.interface import Offence, RequestKind
from node.private_exchange import FURTHER, HERE, MOST_TRIES, Found
from runtime.construct import Runtime
from runtime.pallets.attribution.types import DutyStage
from tests.node.committee_world import (
    EXECUTOR,
    MEMBER,
    STRANGER,
    JudgedChain,
    Node,
    duty,
    signed,
    told,
    wanted,
)


@pytest.fixture
def judged() -> JudgedChain:
    return JudgedChain()


@pytest.fixture
async def network(judged: JudgedChain, nursery: trio.Nursery) -> list[Node]:
    """Run four nodes in a line: the member's, two between, the executor's."""
    nodes = [Node(name, judged) for name in ("member", "left", "right", "executor")]
    for before, after in pairwise(nodes):
        before.link(after)
    for node in nodes:
        await nursery.start(node.exchange.run)
    return nodes


async def test_a_worker_at_the_same_node_answers_without_asking_peers(
    network: list[Node],
) -> None:
    request = wanted()
    network[0].attach(request)
    found = await network[0].exchange.ask(signed(request))
    assert found.answer is not None
    assert open_answer(found.answer, request, EXECUTOR.account_id) == b"sealed"
    assert found.peers == 0
    assert not network[1].asked


async def test_a_peer_of_the_executor_is_found_and_so_is_a_peer_of_a_peer(
    network: list[Node],
) -> None:
    member, left, right, executor = network
    near, far = wanted(), wanted()
    letters = executor.attach(near)
    found = await right.exchange.ask(signed(near))
    assert found.answer is not None
    assert found.peers == 2
    assert len(letters) == 1
    executor.exchange.inboxes._open.clear()
    executor.attach(far)
    assert (await left.exchange.ask(signed(far))).answer is not None
    assert executor.asked[-1][0] == HERE
    assert not member.faults


async def test_three_hops_are_too_far(network: list[Node]) -> None:
    request = wanted()
    network[3].attach(request)
    assert await network[0].exchange.ask(signed(request)) == Found(None, 1)


async def test_a_forged_answer_is_dropped_and_its_sender_penalised(
    network: list[Node], autojump_clock: MockClock
) -> None:
    request = wanted()
    member, left, right, executor = network
    member.link(right, executor)
    executor.attach(request, seconds=0.05)

    async def lie(body: bytes) -> bytes:
        return told(request, b"trust me", STRANGER)

    left.lie = lie
    found = await member.exchange.ask(signed(request))
    assert found.answer is not None
    assert member.faults == [("left", Offence.WRONG_SIGNATURE)]
    assert member.exchange.counts["forged"] == 1


async def test_the_answer_to_another_request_is_not_genuine(network: list[Node]) -> None:
    request, other = wanted(), wanted()

    async def lie(body: bytes) -> bytes:
        return told(other)

    network[1].lie = lie
    assert (await network[0].exchange.ask(signed(request))).answer is None
    assert set(network[0].faults) == {("left", Offence.WRONG_SIGNATURE)}


async def test_who_repeats_a_members_request_takes_nothing_from_the_member(
    network: list[Node], autojump_clock: MockClock
) -> None:
    request = wanted()
    data = signed(request)
    right, executor = network[2:]
    for _ in range(3 * MOST_TRIES):
        assert await executor.exchange.serve("thief", bytes([HERE]) + data) == b""
    letters = executor.attach(request, seconds=0.05)
    answers: list[bytes] = []

    async def thief() -> None:
        answers.append(await executor.exchange.serve("thief", bytes([HERE]) + data))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(thief)
        await trio.testing.wait_all_tasks_blocked()
        found = await right.exchange.ask(data)
    assert [found.answer] == answers
    assert len(letters) == 1


async def test_a_search_outlives_the_one_who_began_it(
    network: list[Node], autojump_clock: MockClock
) -> None:
    request = wanted()
    executor = network[3]
    executor.attach(request, seconds=0.05)
    body = bytes([HERE]) + signed(request)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(executor.exchange.serve, "first", body)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await executor.exchange.serve("second", body)


async def test_a_member_may_try_often_but_not_for_ever(network: list[Node]) -> None:
    exchange = network[3].exchange
    for _ in range(MOST_TRIES):
        await exchange.ask(signed(wanted()))
    with pytest.raises(MaterialRefusal) as refusal:
        await exchange.ask(signed(wanted()))
    assert refusal.value.reason is MaterialReason.BUSY


async def test_a_worker_that_says_nothing_is_not_waited_for_long(
    network: list[Node], autojump_clock: MockClock
) -> None:
    request = wanted()
    network[3].exchange.inboxes.open(EXECUTOR.account_id, lambda number, data: None)
    started_at = trio.current_time()
    assert (await network[2].exchange.ask(signed(request))).answer is None
    assert trio.current_time() - started_at < 20


async def test_a_worker_may_have_nothing_to_say_and_no_stranger_speaks_for_it(
    network: list[Node],
) -> None:
    request = wanted()
    inboxes = network[3].exchange.inboxes
    taken: list[bool] = []

    def deliver(number: str, data: bytes) -> None:
        taken.append(inboxes.answer(number, told(request, key=STRANGER)))
        taken.append(inboxes.answer(number, None))
        taken.append(inboxes.answer(number, told(request)))

    inboxes.open(EXECUTOR.account_id, deliver)
    assert (await network[3].exchange.ask(signed(request))).answer is None
    assert taken == [False, True, False]
    assert not inboxes.answer("unknown", told(request))


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", Offence.MALFORMED),
        (b"\x05" + signed(wanted()), Offence.MALFORMED),
        (bytes([HERE]) + b"garbage", Offence.MALFORMED),
        (bytes([FURTHER]) + bytes(4096), Offence.MALFORMED),
        (bytes([HERE]) + signed(wanted(genesis=bytes(32))), Offence.INVALID),
        (bytes([HERE]) + signed(wanted(), STRANGER), Offence.WRONG_SIGNATURE),
    ],
)
async def test_what_no_honest_peer_sends_is_held_against_it(
    network: list[Node], body: bytes, fault: Offence
) -> None:
    assert await network[0].exchange.serve("left", body) == b""
    assert network[0].faults == [("left", fault)]


async def test_who_knows_an_older_block_is_not_blamed(
    network: list[Node], judged: JudgedChain
) -> None:
    Runtime(judged.state).attribution.duties.remove(7)
    assert await network[0].exchange.serve("left", bytes([HERE]) + signed(wanted())) == b""
    assert network[0].faults == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stage": DutyStage.DISPUTE}, MaterialReason.NO_DUTY),
        ({"commit_until": 100}, MaterialReason.WINDOW_SHUT),
        ({"receipts": (1, 2)}, MaterialReason.NOT_DRAWN),
        ({"seats": (bytes(32),)}, MaterialReason.NOT_A_MEMBER),
    ],
)
def test_the_chain_decides_who_may_ask(
    judged: JudgedChain, changes: dict[str, Any], reason: MaterialReason
) -> None:
    gate = Node("node", judged).exchange.gate
    asked = gate.admit(signed(wanted()))
    assert asked.executor == EXECUTOR.account_id
    Runtime(judged.state).attribution.duties.insert(7, duty(**changes))
    with pytest.raises(MaterialRefusal) as refusal:
        gate.admit(signed(wanted()))
    assert refusal.value.reason is reason


def test_a_worker_asks_for_its_own_validator_only(judged: JudgedChain) -> None:
    gate = Node("node", judged).exchange.gate
    for key in (EXECUTOR, STRANGER):
        with pytest.raises(MaterialRefusal) as refusal:
            gate.admit(signed(wanted(worker=key.account_id), key))
        assert refusal.value.reason is MaterialReason.NOT_A_MEMBER
    assert gate.is_worker(MEMBER.account_id)
    assert not gate.is_worker(STRANGER.account_id)


async def test_a_peer_without_the_exchange_is_no_obstacle(network: list[Node]) -> None:
    request = wanted()
    member, left, _, executor = network
    member.link(executor)
    left.handlers.pop(RequestKind.PRIVATE)
    executor.attach(request)
    assert (await member.exchange.ask(signed(request))).answer is not None
    assert not member.faults
