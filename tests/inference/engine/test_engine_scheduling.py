from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.blocks import BLOCK, BlockPool, blocks_for
from inference.request import Limits, Request, RequestReason, RequestRefused, check_request
from inference.scheduler import Scheduler
from inference.sequence import Sequence

ARRIVAL = st.tuples(st.integers(1, 300), st.integers(1, 80), st.booleans())


def assert_conserved(pool: BlockPool) -> None:
    held = [block for blocks in pool.held().values() for block in blocks]
    assert len(held) == len(set(held))
    assert len(held) + pool.free == pool.total


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 6)), max_size=60))
def test_every_block_is_free_or_held_once(actions: list[tuple[bool, int, int]]) -> None:
    pool = BlockPool(16)
    for take, owner, count in actions:
        if take and owner not in pool.held():
            free = pool.free
            taken = pool.take(owner, count)
            assert (taken is None) == (count > free)
        elif not take and owner in pool.held():
            pool.give_back(owner)
        assert_conserved(pool)


def test_an_owner_takes_blocks_once() -> None:
    pool = BlockPool(4)
    pool.take(1, 2)
    with pytest.raises(ValueError, match="holds blocks already"):
        pool.take(1, 1)


@settings(max_examples=60)
@given(st.lists(ARRIVAL, min_size=1, max_size=12), st.integers(1, 130), st.integers(1, 5))
def test_every_sequence_finishes_in_order_of_arrival_within_the_limits(
    arrivals: list[tuple[int, int, bool]], rows: int, running: int
) -> None:
    limits = Limits(running=running, rows=rows, blocks=8)
    scheduler = Scheduler(limits)
    waiting = [
        Sequence(number, Request(tuple([1] * prompt), new))
        for number, (prompt, new, _) in enumerate(arrivals)
    ]
    cancelled = {number for number, (_, _, cancel) in enumerate(arrivals) if cancel}
    for sequence in waiting:
        scheduler.add(sequence)
    admitted: list[int] = []
    for _ in range(100_000):
        if scheduler.idle:
            break
        works = scheduler.schedule()
        assert works
        assert sum(work.count for work in works) <= rows
        assert len({work.sequence.id for work in works}) == len(works) <= running
        for work in works:
            sequence = work.sequence
            if sequence.id not in admitted:
                admitted.append(sequence.id)
            assert work.start == sequence.computed
            assert len(sequence.ids(work.start, work.count)) == work.count
            sequence.computed += work.count
            assert blocks_for(sequence.computed) <= len(sequence.blocks)
            if work.draws:
                sequence.outputs.append(0)
                if sequence.full or sequence.id in cancelled:
                    scheduler.remove(sequence)
        assert_conserved(scheduler.pool)
    assert scheduler.pool.free == 8
    assert sorted(admitted) == list(range(len(arrivals)))


def test_a_long_prompt_does_not_stop_those_who_decode() -> None:
    scheduler = Scheduler(Limits(running=4, rows=16, blocks=20))
    talking = Sequence(0, Request((1, 2), 50))
    scheduler.add(talking)
    (first,) = scheduler.schedule()
    talking.computed += first.count
    talking.outputs.append(0)
    scheduler.add(Sequence(1, Request(tuple([1] * 200), 5)))
    works = scheduler.schedule()
    assert [(work.sequence.id, work.count, work.draws) for work in works] == [
        (0, 1, True),
        (1, 15, False),
    ]


def test_a_sequence_waits_until_its_blocks_are_free() -> None:
    scheduler = Scheduler(Limits(running=4, rows=999, blocks=2))
    first, second = (Sequence(n, Request(tuple([1] * (BLOCK + 1)), 1)) for n in range(2))
    scheduler.add(first)
    scheduler.add(second)
    assert [work.sequence for work in scheduler.schedule()] == [first]
    assert scheduler.waiting == 1
    scheduler.remove(first)
    assert [work.sequence for work in scheduler.schedule()] == [second]


def test_waiting_sequences_can_be_removed() -> None:
    scheduler = Scheduler(Limits(running=1, rows=9, blocks=2))
    sequence = Sequence(0, Request((1,), 1))
    scheduler.add(sequence)
    scheduler.remove(sequence)
    assert scheduler.idle


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request((), 1), RequestReason.EMPTY_PROMPT),
        (Request((1,), 0), RequestReason.BAD_MAX_TOKENS),
        (Request((300,), 1), RequestReason.UNKNOWN_TOKEN),
        (Request((-1,), 1), RequestReason.UNKNOWN_TOKEN),
        (Request((1,) * 200, 57), RequestReason.CONTEXT_EXCEEDED),
        (Request((1,) * 100, 29), RequestReason.CONTEXT_EXCEEDED),
        (Request((1,), 1, stop=("",)), RequestReason.BAD_STOP),
    ],
)
def test_requests_that_could_never_run_are_refused(
    request_: Request, reason: RequestReason
) -> None:
    blocks = 128 if len(request_.prompt_ids) == 100 else 999
    with pytest.raises(RequestRefused) as caught:
        check_request(request_, context=256, vocabulary=300, blocks=blocks)
    assert caught.value.reason is reason


def test_scheduling_imports_no_torch() -> None:
    code = (
        "import inference.scheduler, inference.blocks, inference.sequence, inference.sampling, "
        "inference.stopping, inference.digest, sys; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
