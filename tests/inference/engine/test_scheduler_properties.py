from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from simulated_device import (
    PAGE_BYTES,
    POSITIONS,
    SharedMemory,
    SimulatedAdapter,
    SimulatedEngine,
)

from inference.adapters.state import AdapterState
from inference.blocks import BlockManager
from inference.fairness import FairQueue
from inference.request import Limits, Request, RequestReason, RequestRefused
from inference.scheduler import SHORT_STEPS, Scheduler
from inference.sequence import Sequence

PAGES = 24
IMAGE = st.builds(SimulatedAdapter, st.integers(1, 40).map(lambda n: 256 * n), st.integers(0, 9))
PROMPT = st.one_of(
    st.lists(st.integers(0, 1), min_size=1, max_size=40),
    st.integers(1, 40).map(lambda length: [0] * length),
)


class Engine(RuleBasedStateMachine):
    """Any mixture of tenants, adapters, lengths and cancellations in a small memory."""

    @initialize(
        images=st.lists(IMAGE, min_size=1, max_size=6),
        running=st.integers(1, 6),
        rows=st.integers(1, 20),
        kept=st.integers(0, 8),
        patience=st.integers(0, 12),
        prefetch=st.integers(1, 24),
    )
    def begin(
        self,
        images: list[SimulatedAdapter],
        running: int,
        rows: int,
        kept: int,
        patience: int,
        prefetch: int,
    ) -> None:
        adapters = {bytes([number + 1]) * 32: image for number, image in enumerate(images)}
        limits = Limits(running=running, waiting=24, waiting_per_tenant=9, rows=rows, pages=PAGES)
        self.engine = SimulatedEngine(
            limits, adapters, kept=kept, patience=patience, prefetch=prefetch
        )

    @rule(
        prompt=PROMPT,
        outputs=st.integers(1, 30),
        adapter=st.one_of(st.none(), st.integers(0, 5)),
        tenant=st.sampled_from("abc"),
    )
    def arrive(self, prompt: list[int], outputs: int, adapter: int | None, tenant: str) -> None:
        hashes = list(self.engine.adapters)
        content_hash = None if adapter is None else hashes[adapter % len(hashes)]
        request = Request(tuple(prompt), outputs, adapter=content_hash, tenant=tenant)
        if not self.engine.fits(request):
            return
        waiting = len(self.engine.queue)
        try:
            self.engine.submit(request)
        except RequestRefused as refused:
            assert len(self.engine.queue) == waiting
            assert refused.reason in (RequestReason.QUEUE_FULL, RequestReason.TENANT_QUEUE_FULL)
            assert refused.retry_after is not None
            assert refused.retry_after >= 1

    @precondition(lambda self: self.engine.live)
    @rule(at=st.integers(0, 99))
    def cancel(self, at: int) -> None:
        live = list(self.engine.live.values())
        self.engine.cancel(live[at % len(live)])

    @rule(
        prompts=st.lists(PROMPT, min_size=1, max_size=6),
        outputs=st.integers(1, 9),
        adapter=st.one_of(st.none(), st.integers(0, 5)),
        tenant=st.sampled_from("abc"),
    )
    def arrive_in_the_midst_of_a_step(
        self, prompts: list[list[int]], outputs: int, adapter: int | None, tenant: str
    ) -> None:
        hashes = list(self.engine.adapters)
        content_hash = None if adapter is None else hashes[adapter % len(hashes)]
        requests = [
            Request(tuple(prompt), outputs, adapter=content_hash, tenant=tenant)
            for prompt in prompts
        ]
        self.engine.cycle([one for one in requests if self.engine.fits(one)])

    @rule(cycles=st.integers(1, 8))
    def cycle(self, cycles: int) -> None:
        for _ in range(cycles):
            self.engine.cycle()

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        self.engine.run()
        assert not self.engine.live
        assert not self.engine.blocks.holders
        while self.engine.blocks.reclaim():
            pass
        while self.engine.memory.evict_idle():
            pass
        assert self.engine.memory.free_pages == PAGES


Engine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
test_every_sequence_finishes_within_a_bound_and_pages_are_conserved = Engine.TestCase


def plain(prompt: int, outputs: int, first: int = 0) -> Request:
    return Request((first, *[0] * (prompt - 1)), outputs)


def engine_of(pages: int, adapters: dict[bytes, SimulatedAdapter] | None = None, **limits: int):
    return SimulatedEngine(Limits(pages=pages, **limits), adapters)


def test_a_long_prompt_does_not_stop_those_who_decode() -> None:
    engine = engine_of(99, running=4, rows=16)
    talking = engine.submit(plain(2, 50))
    engine.cycle()
    reading = engine.submit(plain(200, 5, first=1))
    steps = [engine.cycle() for _ in range(2 * SHORT_STEPS + 2)]
    assert [[(work.sequence, work.count) for work in works] for works in steps] == 2 * [
        *SHORT_STEPS * [[(reading, 16)]],
        [(talking, 1), (reading, 16)],
    ]


def test_a_prompt_that_comes_in_the_midst_of_a_step_is_computed_there() -> None:
    engine = engine_of(99, running=4, rows=16)
    talking = engine.submit(plain(2, 50))
    engine.cycle()
    assert [work.sequence for work in engine.cycle([plain(9, 5, first=1)])] == [talking]
    assert [len(one.outputs) for one in engine.live.values()] == [2, 1]


def test_only_strangers_interrupt_a_short_step_and_nobody_theirs() -> None:
    queue = FairQueue(Limits())
    scheduler = Scheduler(Limits(), BlockManager(SharedMemory(99, {}), POSITIONS), queue)
    numbers = iter(range(9))

    def arrive(tenant: str) -> Sequence:
        number = next(numbers)
        sequence = Sequence(number, Request((number, 1, 2), 9, tenant=tenant))
        scheduler.add(sequence)
        return sequence

    talking = arrive("flood")
    scheduler.finished_step(scheduler.schedule())
    talking.outputs.append(1)
    steps = [scheduler.schedule()]
    for tenant, interrupts in (("flood", True), ("flood", False), ("guest", True), ("b", False)):
        comes = arrive(tenant)
        works = scheduler.interject(steps)
        assert bool(works) == interrupts
        if works:
            assert [work.sequence for work in works] == [comes]
            steps.append(works)
    assert len(steps) == 3


def test_rows_of_a_step_go_to_the_oldest_prompt_first() -> None:
    engine = engine_of(99, running=4, rows=10)
    sequences = [engine.submit(plain(length, 1, first)) for first, length in enumerate((7, 7, 9))]
    counts = [{work.sequence: work.count for work in engine.cycle()} for _ in range(3)]
    first, second, third = sequences
    assert counts == [{first: 7, second: 3}, {second: 4, third: 6}, {third: 3}]


def test_a_sequence_waits_until_its_pages_are_free() -> None:
    engine = engine_of(3, running=4, rows=99)
    first, second = (engine.submit(plain(8, 1, first)) for first in range(2))
    assert [work.sequence for work in engine.cycle()] == [first]
    assert [work.sequence for work in engine.cycle()] == [second]


def test_nobody_is_admitted_before_one_who_waits_for_pages() -> None:
    engine = engine_of(8, running=4, rows=99)
    engine.submit(plain(16, 4))
    engine.cycle()
    large = engine.submit(plain(20, 1, first=1))
    small = engine.submit(plain(1, 1, first=2))
    engine.run()
    assert engine.admitted[1:] == [large, small]


def test_equal_prompts_are_computed_once() -> None:
    engine = engine_of(40, running=4, rows=99)
    engine.submit(plain(33, 2))
    engine.cycle()
    later = engine.submit(plain(33, 2))
    works = engine.cycle()
    assert [(work.start, work.count) for work in works if work.sequence is later] == [(32, 1)]
    assert later.cached == 32
    engine.run()
    last = engine.submit(plain(33, 2))
    engine.run()
    assert last.cached == 32


def test_requests_that_arrive_together_share_what_the_first_has_computed() -> None:
    engine = engine_of(40, running=4, rows=12)
    first, second = engine.submit(plain(33, 2)), engine.submit(plain(33, 2))
    engine.run()
    assert (first.cached, second.cached) == (0, 24)


def test_the_youngest_is_preempted_and_all_finish() -> None:
    engine = engine_of(12, running=4, rows=99)
    sequences = [engine.submit(plain(5, 25, first)) for first in range(4)]
    engine.run()
    assert engine.scheduler.preemptions > 0
    assert sequences[0].preempted == 0
    assert engine.finished[0] is sequences[0]
    assert all(len(one.outputs) == 25 for one in sequences)


def test_what_is_computed_again_after_a_preemption_is_charged_once() -> None:
    engine = engine_of(12, running=4, rows=99)
    roomy = engine_of(99, running=4, rows=99)
    for first in range(4):
        engine.submit(plain(5, 25, first))
        roomy.submit(plain(5, 25, first))
    engine.run()
    roomy.run()
    assert engine.scheduler.preemptions > roomy.scheduler.preemptions == 0
    assert engine.queue.counter("local") == roomy.queue.counter("local")


def test_a_preempted_sequence_takes_its_prompt_from_the_cache_but_does_not_count_it() -> None:
    engine = engine_of(14, running=2, rows=99)
    engine.submit(plain(21, 15))
    second = engine.submit(plain(21, 15, first=1))
    starts = []
    while not engine.scheduler.idle:
        starts.extend(work.start for work in engine.cycle() if work.sequence is second)
    assert second.preempted == 1
    assert second.cached == 0
    assert starts.count(0) == 1
    assert 20 in starts[1:] and starts[-1] == 34


def test_requests_with_a_late_adapter_do_not_hold_up_others() -> None:
    adapters = {b"late": SimulatedAdapter(1024, 30)}
    engine = engine_of(20, adapters, running=1, rows=99)
    late = engine.submit(Request((1, 2), 2, adapter=b"late"))
    others = [engine.submit(plain(3, 4, first)) for first in range(4)]
    engine.run()
    assert engine.finished == [*others, late]


def test_an_adapter_that_finds_no_room_is_served_although_others_never_cease() -> None:
    size = 10 * PAGE_BYTES
    adapters = {name: SimulatedAdapter(size, 0) for name in (b"a", b"b", b"rare")}
    engine = engine_of(24, adapters, running=8, rows=99)
    for name in (b"a", b"b"):
        engine.submit(Request((1, 2), 5, adapter=name, tenant="busy"))
    engine.cycle()
    rare = engine.submit(Request((1, 2), 2, adapter=b"rare", tenant="rare"))
    states = set()
    for cycle in range(100):
        engine.submit(Request((1, cycle), 5, adapter=b"ab"[cycle % 2 :][:1], tenant="busy"))
        engine.cycle()
        states.add(rare.adapter_state)
        if rare in engine.finished:
            break
    else:
        pytest.fail("never served")
    assert AdapterState.NO_ROOM in states
    assert cycle < 30


def test_adapters_of_those_who_wait_make_way_for_the_pages_of_one_who_runs_alone() -> None:
    adapters = {bytes([n]): SimulatedAdapter(6 * PAGE_BYTES, 0) for n in range(1, 4)}
    engine = engine_of(16, adapters, running=1, rows=99)
    alone = engine.submit(plain(4, 40))
    for name in adapters:
        engine.submit(Request((1, 2), 2, adapter=name))
    drained = False
    while alone not in engine.finished:
        engine.cycle()
        drained = drained or engine.scheduler.draining is alone
    assert drained
    engine.run()


def test_adapters_of_those_who_wait_make_way_for_the_next_prompt() -> None:
    adapters = {bytes([n]): SimulatedAdapter(6 * PAGE_BYTES, 0) for n in range(1, 4)}
    engine = engine_of(18, adapters, running=1, rows=99)
    for name in adapters:
        engine.submit(Request((1, 2), 2, adapter=name))
    engine.submit(plain(60, 2))
    engine.run()
    assert len(engine.finished) == 4


def test_an_adapter_that_finds_no_room_while_nobody_runs_is_made_room_for_at_once() -> None:
    blocks = BlockManager(SharedMemory(9, {}), POSITIONS)
    scheduler = Scheduler(Limits(), blocks, FairQueue(Limits()), patience=1000)
    first, second = (Sequence(n, Request((1, 2), 3, adapter=bytes([n]))) for n in range(2))
    for sequence in (first, second):
        scheduler.add(sequence)
    assert scheduler.schedule() == []
    assert scheduler.draining is None
    second.adapter_state = AdapterState.NO_ROOM
    assert scheduler.schedule() == []
    assert scheduler.draining is second
    first.adapter_state = second.adapter_state = AdapterState.LOADING
    assert scheduler.schedule() == []
    assert scheduler.draining is second
    second.adapter_state = AdapterState.READY
    assert [work.sequence for work in scheduler.schedule()] == [second]
    assert scheduler.draining is None


def test_draining_ends_when_the_one_it_is_for_is_cancelled() -> None:
    adapters = {name: SimulatedAdapter(14 * PAGE_BYTES, 0) for name in (b"a", b"b")}
    engine = engine_of(26, adapters, running=2, rows=99)
    engine.submit(Request((1, 2), 40, adapter=b"a"))
    engine.cycle()
    rare = engine.submit(Request((1, 2), 2, adapter=b"b"))
    while engine.scheduler.draining is None:
        engine.cycle()
    blocked = engine.submit(plain(2, 2))
    assert engine.scheduler.draining is rare
    assert [work.sequence for work in engine.cycle()] == [engine.admitted[0]]
    engine.cancel(rare)
    assert engine.scheduler.draining is None
    assert blocked in [work.sequence for work in engine.cycle()]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=2, max_size=10),
    st.integers(1, 8),
    st.integers(1, 50),
)
def test_in_a_memory_for_one_all_finish_and_the_oldest_is_never_preempted(
    sizes: list[tuple[int, int]], running: int, rows: int
) -> None:
    engine = engine_of(21, running=running, rows=rows)
    sequences = [
        engine.submit(plain(prompt, outputs, first))
        for first, (prompt, outputs) in enumerate(sizes)
    ]
    engine.run()
    assert sequences[0].preempted == 0
    assert sorted(one.id for one in engine.finished) == [one.id for one in sequences]
    assert all(len(one.outputs) == one.request.max_tokens for one in sequences)


def test_works_of_sequences_that_were_removed_since_are_skipped() -> None:
    memory = SharedMemory(9, {})
    scheduler = Scheduler(Limits(), BlockManager(memory, POSITIONS), FairQueue(Limits()))
    sequence = Sequence(0, plain(9, 3))
    scheduler.add(sequence)
    works = scheduler.schedule()
    scheduler.remove(sequence)
    scheduler.finished_step(works)
    assert scheduler.idle
    assert memory.free_pages == 9
    with pytest.raises(ValueError, match="does not wait"):
        scheduler.remove(sequence)


def test_scheduling_imports_neither_torch_nor_cupy_nor_trio() -> None:
    code = (
        "import inference.scheduler, inference.blocks, inference.fairness, inference.sequence, "
        "inference.arena, inference.stopping, inference.digest, sys; "
        "sys.exit(bool({'torch', 'cupy', 'trio'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
