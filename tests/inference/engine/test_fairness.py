from __future__ import annotations

from collections import Counter
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_device import SimulatedAdapter, SimulatedEngine

from inference.adapters.state import AdapterState
from inference.fairness import INPUT_COST, LONGEST_RETRY, OUTPUT_COST, UNIT, FairQueue
from inference.request import Limits, Request, RequestReason, RequestRefused
from inference.sequence import Sequence


def ask(tenant: str, prompt: int = 4, outputs: int = 4, adapter: bytes | None = None) -> Request:
    return Request(tuple([1] * prompt), outputs, adapter=adapter, tenant=tenant)


def refusal(queue: FairQueue, sequence: Sequence) -> RequestRefused:
    before = list(queue)
    with pytest.raises(RequestRefused) as caught:
        queue.push(sequence)
    assert list(queue) == before
    return caught.value


def test_refusals_say_whose_queue_is_full_and_when_to_come_back() -> None:
    queue = FairQueue(Limits(waiting=8, waiting_per_tenant=3))
    for number in range(3):
        queue.push(Sequence(number, ask("a")))
    mine = refusal(queue, Sequence(3, ask("a")))
    assert (mine.reason, mine.retry_after) == (RequestReason.TENANT_QUEUE_FULL, 2)
    for number in range(4, 9):
        queue.push(Sequence(number, ask(str(number))))
    full = refusal(queue, Sequence(9, ask("z")))
    assert (full.reason, full.retry_after) == (RequestReason.QUEUE_FULL, 4)
    queue.pace = 100.0
    assert refusal(queue, Sequence(9, ask("z"))).retry_after == LONGEST_RETRY


@given(st.integers(1, 7), st.integers(8, 40))
def test_tenants_who_flood_leave_a_place_to_one_who_has_none(floods: int, waiting: int) -> None:
    queue = FairQueue(Limits(waiting=waiting, waiting_per_tenant=64))
    numbers = count()
    for _ in range(waiting):
        for tenant in range(floods):
            sequence = Sequence(next(numbers), ask(f"flood {tenant}"))
            try:
                queue.push(sequence)
            except RequestRefused as refused:
                assert refused.reason is RequestReason.TENANT_QUEUE_FULL
    assert len(queue) >= waiting // 2
    queue.push(Sequence(next(numbers), ask("light")))


def test_a_sequence_that_does_not_wait_cannot_be_taken_out() -> None:
    queue = FairQueue(Limits())
    queue.push(Sequence(0, ask("a")))
    for stranger in (Sequence(1, ask("a")), Sequence(0, ask("a")), Sequence(2, ask("b"))):
        with pytest.raises(ValueError, match=r"not in deque|does not wait"):
            queue.remove(stranger)
    assert len(queue) == 1


def test_weights_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="weight"):
        FairQueue(Limits(), {"a": 0})


def test_requests_whose_adapter_is_not_ready_are_passed_over() -> None:
    queue = FairQueue(Limits())
    late = Sequence(0, ask("a", adapter=b"x"))
    prompt = Sequence(1, ask("a"))
    queue.push(late)
    assert queue.first() is None
    queue.push(prompt)
    assert queue.first() is prompt
    late.adapter_state = AdapterState.READY
    queue.refresh()
    assert queue.first() is late
    late.adapter_state = AdapterState.FAILED
    queue.refresh()
    assert queue.first() is prompt


def test_a_tenant_saves_no_credit_while_it_is_away_or_its_adapters_are_not_ready() -> None:
    queue = FairQueue(Limits())
    numbers = count()
    away = Sequence(next(numbers), ask("late", adapter=b"x"))
    queue.push(away)
    for _ in range(20):
        queue.push(Sequence(next(numbers), ask("busy", 10)))
    for _ in range(10):
        first = queue.first()
        assert first is not None
        queue.admit(first)
    assert queue.counter("busy") == 10 * 10 * INPUT_COST * UNIT
    away.adapter_state = AdapterState.READY
    queue.refresh()
    queue.push(Sequence(next(numbers), ask("new")))
    assert queue.counter("late") == queue.counter("new") == queue.counter("busy")


def test_a_tenant_whose_adapters_lost_their_room_is_lifted_when_they_are_back() -> None:
    queue = FairQueue(Limits())
    unlucky = Sequence(0, ask("unlucky", adapter=b"x"))
    unlucky.adapter_state = AdapterState.READY
    queue.push(unlucky)
    for number in range(1, 20):
        queue.push(Sequence(number, ask("busy", 10)))
    assert queue.first() is unlucky
    unlucky.adapter_state = AdapterState.LOADING
    queue.refresh()
    for _ in range(10):
        first = queue.first()
        assert first is not None
        queue.admit(first)
    unlucky.adapter_state = AdapterState.READY
    queue.refresh()
    assert queue.counter("unlucky") == queue.counter("busy") > 0


def test_a_tenant_who_comes_when_nobody_waits_is_lifted_to_whom_was_admitted_last() -> None:
    queue = FairQueue(Limits())
    for number in range(5):
        sequence = Sequence(number, ask("busy", 10))
        queue.push(sequence)
        queue.admit(sequence)
    queue.push(Sequence(5, ask("new")))
    assert queue.counter("busy") == 5 * 10 * UNIT
    assert queue.counter("new") == 4 * 10 * UNIT


def test_of_the_tenants_who_left_those_charged_most_are_remembered_longest() -> None:
    queue = FairQueue(Limits(), known=2)
    for number, prompt in enumerate((50, 10, 40, 20, 30)):
        sequence = Sequence(number, ask(str(prompt), prompt=prompt))
        queue.push(sequence)
        queue.admit(sequence)
    known = [prompt for prompt in (10, 20, 30, 40, 50) if queue.counter(str(prompt))]
    assert known == [40, 50]


def test_counters_of_tenants_who_left_are_bounded() -> None:
    queue = FairQueue(Limits(), known=10)
    for number in range(500):
        sequence = Sequence(number, ask(str(number), prompt=number % 100 + 1))
        queue.push(sequence)
        queue.admit(sequence)
        assert queue.tenants <= 2 * 10 + 1
    queue.charge("never seen", 5)
    assert queue.tenants <= 2 * 10 + 1


def test_a_stream_of_new_names_does_not_hold_back_a_tenant_who_was_served_much() -> None:
    queue = FairQueue(Limits(waiting=64))
    numbers = count()
    queue.push(Sequence(next(numbers), ask("old", prompt=4000)))
    (old,) = queue
    queue.admit(old)
    for _ in range(8):
        queue.push(Sequence(next(numbers), ask(f"name {next(numbers)}")))
    waits = Sequence(next(numbers), ask("old"))
    queue.push(waits)
    assert queue.counter("old") == 4000 * UNIT
    for _ in range(4000):
        first = queue.first()
        assert first is not None
        queue.admit(first)
        if first is waits:
            break
        queue.push(Sequence(next(numbers), ask(f"name {next(numbers)}")))
    else:
        pytest.fail("never admitted")


def test_who_is_upcoming_is_who_is_admitted_if_nothing_is_drawn_or_arrives() -> None:
    queue = FairQueue(Limits())
    for number in range(30):
        queue.push(Sequence(number, ask("abc"[number % 7 % 3], prompt=1 + number * 5 % 11)))
    likely = queue.upcoming(12)
    admitted = []
    for _ in range(12):
        first = queue.first()
        assert first is not None
        queue.admit(first)
        admitted.append(first)
    assert likely == admitted
    assert len(queue.upcoming(99)) == 18
    assert queue.upcoming(0) == []


class Service:
    """What each tenant received, in costs, cycle by cycle."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self.engine = engine
        self.received: Counter[str] = Counter()
        self.history: list[Counter[str]] = [Counter()]

    def cycle(self) -> None:
        before = len(self.engine.admitted)
        works = self.engine.cycle()
        for sequence in self.engine.admitted[before:]:
            self.received[sequence.request.tenant] += INPUT_COST * sequence.prompt_length
        for work in works:
            if work.draws:
                self.received[work.sequence.request.tenant] += OUTPUT_COST
        self.history.append(Counter(self.received))

    def widest(self, one: str, other: str, weights: tuple[int, int] = (1, 1)) -> float:
        """The largest difference between two tenants over any interval."""
        gaps = [past[one] / weights[0] - past[other] / weights[1] for past in self.history]
        return max(gaps) - min(gaps)


TENANT = st.tuples(st.integers(1, 30), st.integers(1, 12), st.integers(1, 4))
"""Longest prompt, most outputs, weight."""


@settings(max_examples=40, deadline=None)
@given(
    st.lists(TENANT, min_size=2, max_size=4),
    st.integers(1, 6),
    st.sampled_from([16, 40]),
    st.randoms(use_true_random=False),
)
def test_backlogged_tenants_receive_the_same_within_the_bound(
    tenants: list[tuple[int, int, int]], running: int, pages: int, random
) -> None:
    names = [f"tenant {index}" for index in range(len(tenants))]
    weights = {name: weight for name, (_, _, weight) in zip(names, tenants, strict=True)}
    limits = Limits(running=running, rows=16, pages=pages, waiting=64)
    engine = SimulatedEngine(limits, weights=weights)
    service = Service(engine)
    for _ in range(150):
        waiting = Counter(one.request.tenant for one in engine.queue)
        for name, (prompt, outputs, _) in zip(names, tenants, strict=True):
            for _ in range(waiting[name], running + 1):
                engine.submit(ask(name, random.randint(1, prompt), random.randint(1, outputs)))
        service.cycle()
    prompt = max(prompt for prompt, _, _ in tenants)
    outputs = max(outputs for _, outputs, _ in tenants)
    most = 2 * INPUT_COST * prompt + OUTPUT_COST * (limits.places + 1) * outputs
    for one in names:
        for other in names:
            pair = weights[one], weights[other]
            assert service.widest(one, other, pair) <= 2 * most / min(weights.values()) + 0.01
            gap = abs(engine.queue.counter(one) - engine.queue.counter(other))
            assert gap <= most * UNIT / min(weights.values()) + UNIT // 100


def test_a_tenant_with_a_thousand_adapters_gets_one_share() -> None:
    adapters = {number.to_bytes(32): SimulatedAdapter(512, 2) for number in range(1001)}
    hashes = list(adapters)
    limits = Limits(running=4, rows=32, pages=64, waiting=200, waiting_per_tenant=64)
    engine = SimulatedEngine(limits, adapters, prefetch=16)
    service = Service(engine)
    numbers = count()
    for _ in range(1500):
        waiting = Counter(one.request.tenant for one in engine.queue)
        for _ in range(waiting["many"], 40):
            engine.submit(ask("many", adapter=hashes[next(numbers) % 1000]))
        for _ in range(waiting["one"], 10):
            engine.submit(ask("one", adapter=hashes[1000]))
        service.cycle()
    used = {one.request.adapter for one in engine.finished if one.request.tenant == "many"}
    assert len(used) > 250
    assert service.widest("many", "one") <= 2 * (INPUT_COST * 4 + OUTPUT_COST * 4 * 4)
    assert service.received["one"] > 3000


def test_a_flood_ten_times_as_large_delays_a_light_tenant_by_one_turn() -> None:
    limits = Limits(running=4, rows=32, pages=64)
    engine = SimulatedEngine(limits)
    service = Service(engine)
    waits = []
    for cycle in range(600):
        try:
            for _ in range(3):
                engine.submit(ask("flood", 8, 8))
        except RequestRefused as refused:
            assert refused.reason is RequestReason.TENANT_QUEUE_FULL
        if cycle % 12 == 0:
            waits.append((cycle, engine.submit(ask("light", 8, 8))))
        service.cycle()
        for start, sequence in list(waits):
            if sequence.turn is not None:
                waits.remove((start, sequence))
                # A place falls free at least once in the nine cycles of a flooding request.
                assert cycle - start <= 9
    assert len(waits) <= 1
