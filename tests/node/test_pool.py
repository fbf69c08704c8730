"""The pool: dependencies before dependants, limits that hold, a reason for every drop."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from node.errors import PoolReason, PoolRefusal
from node.pool import Pool
from node.pool_types import PoolLimits, Source, StatusKind, TxStatus
from runtime.primitives.errors import InvalidTransaction, TransactionReason
from runtime.primitives.extrinsic import Mortal
from runtime.primitives.hashing import blake2_256
from tests.node.tiny_accounts import TinyAccounts, account, transaction
from tests.patience import PATIENCE


def make(**limits: Any) -> tuple[TinyAccounts, Pool]:
    accounts = TinyAccounts()
    return accounts, Pool(accounts, PoolLimits(**limits))


def refusal(pool: Pool, extrinsic: bytes) -> PoolReason:
    before = sorted(pool.pending())
    with pytest.raises(PoolRefusal) as caught:
        pool.submit(extrinsic)
    assert sorted(pool.pending()) == before
    return caught.value.reason


def drain(channel: trio.MemoryReceiveChannel[TxStatus]) -> list[str]:
    seen = []
    while True:
        try:
            seen.append(channel.receive_nowait().kind.value)
        except (trio.WouldBlock, trio.EndOfChannel):
            return seen


def test_ready_follows_priority_and_nonces() -> None:
    _, pool = make()
    low, high = transaction(1, 0, 1), transaction(2, 0, 9)
    late, early = transaction(3, 1, 100), transaction(3, 0, 5)
    for extrinsic in (low, late, high, early):
        pool.submit(extrinsic)
    assert list(pool.ready()) == [high, early, late, low]
    assert (pool.ready_count, pool.future_count) == (4, 0)


def test_a_gap_in_the_nonces_waits_until_it_is_filled() -> None:
    _, pool = make()
    first, second, third = (transaction(1, nonce) for nonce in range(3))
    third_hash = pool.submit(third)
    watch = pool.watch(third_hash)
    pool.submit(second)
    assert list(pool.ready()) == []
    assert pool.future_count == 2
    pool.submit(first)
    assert list(pool.ready()) == [first, second, third]
    assert drain(watch) == ["future", "ready"]
    assert pool.next_nonce(account(1), 0) == 3


def test_a_replacement_has_to_pay_an_eighth_more() -> None:
    _, pool = make()
    old = pool.submit(transaction(1, 0, 80))
    watch = pool.watch(old)
    assert refusal(pool, transaction(1, 0, 89)) is PoolReason.PRIORITY_TOO_LOW
    new = pool.submit(transaction(1, 0, 90))
    assert list(pool.ready()) == [transaction(1, 0, 90)]
    assert watch.receive_nowait().kind is StatusKind.READY
    assert watch.receive_nowait() == TxStatus(StatusKind.USURPED, new)
    drop = pool.why_dropped(old)
    assert drop is not None and drop.reason is PoolReason.USURPED


def test_a_replacement_keeps_what_stands_on_the_old_one() -> None:
    _, pool = make()
    for nonce in range(3):
        pool.submit(transaction(1, nonce, 10))
    pool.submit(transaction(1, 0, 20))
    assert list(pool.ready()) == [transaction(1, 0, 20), *(transaction(1, n, 10) for n in (1, 2))]


def test_a_free_replacement_is_refused() -> None:
    _, pool = make()
    pool.submit(transaction(1, 0, 0))
    assert refusal(pool, transaction(1, 0, 0, size=9)) is PoolReason.PRIORITY_TOO_LOW


def test_the_same_extrinsic_is_taken_once() -> None:
    _, pool = make()
    pool.submit(transaction(1, 0))
    assert refusal(pool, transaction(1, 0)) is PoolReason.ALREADY_IMPORTED


@pytest.mark.parametrize(
    "garbage", [b"", b"\x00", b"\xff" * 40, transaction(1, 0)[:-1], transaction(1, 0) + b"\x00"]
)
def test_garbage_is_refused_by_name(garbage: bytes) -> None:
    accounts, pool = make()
    with pytest.raises(InvalidTransaction) as caught:
        pool.submit(garbage)
    assert caught.value.reason is TransactionReason.MALFORMED
    assert accounts.checks == 0
    assert len(pool) == 0


def test_what_the_state_refuses_is_refused_with_its_reason() -> None:
    accounts, pool = make()
    accounts.nonces[account(1)] = 5
    with pytest.raises(InvalidTransaction, match="STALE"):
        pool.submit(transaction(1, 4))
    accounts.frozen.add(account(2))
    with pytest.raises(InvalidTransaction, match="PAYMENT: frozen"):
        pool.submit(transaction(2, 0))


def test_a_sender_cannot_fill_the_pool() -> None:
    _, pool = make(sender_count=3, sender_bytes=10_000)
    for nonce in range(3):
        pool.submit(transaction(1, nonce))
    assert refusal(pool, transaction(1, 3, 1000)) is PoolReason.SENDER_FULL
    pool.submit(transaction(1, 2, 1000))
    pool.submit(transaction(2, 0))


def test_bytes_are_limited_by_extrinsic_and_by_sender() -> None:
    _, pool = make(extrinsic_bytes=500, sender_bytes=800)
    assert refusal(pool, transaction(1, 0, size=500)) is PoolReason.TOO_LARGE
    pool.submit(transaction(1, 0, size=300))
    assert refusal(pool, transaction(1, 1, size=390)) is PoolReason.SENDER_FULL


def test_a_full_pool_evicts_the_worst_and_refuses_no_better() -> None:
    _, pool = make(count=3)
    hashes = [pool.submit(transaction(sender, 0, 10 * sender)) for sender in (1, 2, 3)]
    assert refusal(pool, transaction(4, 0, 10)) is PoolReason.POOL_FULL
    pool.submit(transaction(4, 0, 11))
    drop = pool.why_dropped(hashes[0])
    assert drop is not None and drop.reason is PoolReason.EVICTED
    assert len(pool) == 3


def test_an_extrinsic_does_not_evict_what_it_stands_on() -> None:
    _, pool = make(count=2)
    pool.submit(transaction(1, 0, 1))
    pool.submit(transaction(1, 1, 2))
    assert refusal(pool, transaction(1, 2, 50)) is PoolReason.POOL_FULL
    assert pool.ready_count == 2


def test_a_block_takes_its_extrinsics_and_frees_the_next() -> None:
    accounts, pool = make()
    one, two = transaction(1, 0), transaction(1, 1)
    watch = pool.watch(pool.submit(one))
    pool.submit(two)
    block = accounts.include(one)
    pool.prune(block)
    assert list(pool.ready()) == [two]
    place = TxStatus(StatusKind.IN_BLOCK, block.header.hash(), 0)
    assert pool.status(pool_hash(one)) == place
    pool.finalized(block.header.hash())
    assert drain(watch) == ["ready", "inBlock", "finalized"]
    assert pool.status(pool_hash(one)) is None


def pool_hash(extrinsic: bytes) -> bytes:
    return blake2_256(extrinsic)


def test_a_strangers_block_makes_the_senders_others_stale() -> None:
    accounts, pool = make()
    mine, theirs = transaction(1, 0, 1), transaction(1, 0, 2)
    other = transaction(2, 0)
    pool.submit(mine)
    pool.submit(other)
    pool.prune(accounts.include(theirs))
    checks = accounts.checks
    assert pool.revalidate(10) == 1
    assert accounts.checks == checks + 1
    drop = pool.why_dropped(pool_hash(mine))
    assert drop is not None and (drop.reason, drop.detail) == (PoolReason.INVALID, "STALE")
    assert list(pool.ready()) == [other]


def test_a_retracted_block_gives_its_extrinsics_back() -> None:
    accounts, pool = make()
    one, two = transaction(1, 0), transaction(1, 1)
    watch = pool.watch(pool.submit(one))
    pool.submit(two)
    block = accounts.include(one)
    pool.prune(block)
    accounts.undo(block)
    pool.retract(block)
    pool.revalidate(10)
    assert list(pool.ready()) == [one, two]
    assert drain(watch) == ["ready", "inBlock", "retracted", "ready"]


def test_what_another_block_holds_too_is_neither_offered_again_nor_called_invalid() -> None:
    accounts, pool = make()
    one = transaction(1, 0)
    watch = pool.watch(pool.submit(one))
    left = accounts.include(one)
    pool.prune(left)
    accounts.undo(left)
    other = accounts.include(transaction(2, 0), one)
    pool.retract(left, {pool_hash(one)})
    assert list(pool.ready()) == []
    pool.prune(other)
    assert pool.status(pool_hash(one)) == TxStatus(StatusKind.IN_BLOCK, other.header.hash(), 1)
    pool.finalized(other.header.hash())
    assert drain(watch) == ["ready", "inBlock", "retracted", "inBlock", "finalized"]


def test_a_mortal_extrinsic_expires() -> None:
    accounts, pool = make()
    mortal = pool.submit(transaction(1, 0, era=Mortal(4, 0)))
    pool.submit(transaction(2, 0))
    watch = pool.watch(mortal)
    for _ in range(3):
        pool.prune(accounts.include())
        assert mortal in pool
    pool.prune(accounts.include())
    assert mortal not in pool
    drop = pool.why_dropped(mortal)
    assert drop is not None and drop.reason is PoolReason.EXPIRED
    assert drain(watch) == ["ready", "invalid"]
    assert len(pool) == 1


def test_what_became_invalid_is_dropped_and_banned_for_a_while() -> None:
    accounts = TinyAccounts()
    now = [0.0]
    pool = Pool(accounts, PoolLimits(banned_seconds=60), clock=lambda: now[0])
    extrinsic = transaction(1, 0)
    pool.submit(extrinsic)
    accounts.frozen.add(account(1))
    pool.prune(accounts.include())
    pool.revalidate(10)
    assert len(pool) == 0
    accounts.frozen.clear()
    assert refusal(pool, extrinsic) is PoolReason.TEMPORARILY_BANNED
    now[0] = 61.0
    pool.submit(extrinsic)
    assert pool.why_dropped(pool_hash(extrinsic)) is None


def test_a_dropped_dependency_makes_its_dependants_wait() -> None:
    _, pool = make()
    first, second = transaction(1, 0), transaction(1, 1)
    pool.submit(first)
    watch = pool.watch(pool.submit(second))
    pool.refused([(first, InvalidTransaction(TransactionReason.PAYMENT, "poor"))])
    assert (pool.ready_count, pool.future_count) == (0, 1)
    assert drain(watch) == ["ready", "future"]
    drop = pool.why_dropped(pool_hash(first))
    assert drop is not None and drop.detail == "PAYMENT: poor"


def test_a_full_block_drops_nothing() -> None:
    _, pool = make()
    extrinsic = transaction(1, 0)
    pool.submit(extrinsic)
    pool.refused([(extrinsic, InvalidTransaction(TransactionReason.EXHAUSTS_RESOURCES))])
    assert list(pool.ready()) == [extrinsic]


def test_ready_reads_a_copy() -> None:
    accounts, pool = make()
    extrinsics = [transaction(sender, 0, sender) for sender in range(1, 6)]
    for extrinsic in extrinsics:
        pool.submit(extrinsic)
    iterator = pool.ready()
    first = next(iterator)
    pool.prune(accounts.include(*extrinsics))
    assert [first, *iterator] == extrinsics[::-1]


def test_the_memory_of_drops_is_bounded() -> None:
    accounts, pool = make(history=5)
    accounts.frozen.add(account(1))
    for nonce in range(20):
        with pytest.raises(InvalidTransaction):
            pool.submit(transaction(1, nonce), Source.LOCAL)
    assert pool.why_dropped(pool_hash(transaction(1, 0))) is None
    assert pool.why_dropped(pool_hash(transaction(1, 19))) is not None


async def test_a_watch_of_nothing_ends_at_once() -> None:
    _, pool = make()
    assert [status async for status in pool.watch(bytes(32))] == []


async def test_the_task_revalidates_after_a_block(nursery: trio.Nursery) -> None:
    accounts, pool = make()
    for nonce in range(30):
        pool.submit(transaction(1, nonce))
    nursery.start_soon(pool.run)
    accounts.frozen.add(account(1))
    pool.prune(accounts.include())
    with trio.fail_after(PATIENCE):
        while len(pool):
            await trio.sleep(0)


def test_plans_of_gone_extrinsics_do_not_pile_up() -> None:
    accounts, pool = make()
    for nonce in range(3000):
        extrinsic = transaction(1, nonce, era=Mortal(65536, 0))
        pool.submit(extrinsic)
        pool.prune(accounts.include(extrinsic))
        pool.finalized(accounts.parent)
    assert len(pool._expiry) <= 1100
    assert len(pool) == 0


def test_what_becomes_ready_is_announced_and_a_slow_listener_only_misses_news() -> None:
    _, pool = make()
    listener = pool.subscribe_ready(buffered=2)
    second = pool.submit(transaction(1, 1))
    with pytest.raises(trio.WouldBlock):
        listener.receive_nowait()
    first = pool.submit(transaction(1, 0))
    assert {listener.receive_nowait(), listener.receive_nowait()} == {first, second}
    for sender in range(2, 6):
        pool.submit(transaction(sender, 0))
    listener.receive_nowait()
    listener.receive_nowait()
    late = pool.submit(transaction(6, 0))
    assert listener.receive_nowait() == late
