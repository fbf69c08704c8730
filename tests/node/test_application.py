"""The chain and the pool together: a bad extrinsic costs itself and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.application import BestState, NodeApplication
from node.chain import Chain
from node.errors import PoolReason
from node.pool import Pool
from runtime.primitives.errors import InvalidTransaction
from runtime.primitives.hashing import blake2_256
from tests.node.tiny_runtime import TinyGenesis, TinyRuntime, put


def open_parts(path: Path) -> tuple[Chain, Pool, NodeApplication]:
    runtime = TinyRuntime()
    chain = Chain.open(path, TinyGenesis(), runtime)
    pool = Pool(BestState(chain, runtime))
    return chain, pool, NodeApplication(chain, pool, runtime)


async def step(application: NodeApplication) -> None:
    parent = application.best()
    block = await application.build(
        parent.hash, timestamp=parent.number + 1, digest=(), full=lambda: False
    )
    ref = await application.execute(block)
    application.set_best(ref.hash)
    await application.finalize(ref.hash, b"")


async def test_an_extrinsic_on_which_the_rules_fail_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain, pool, application = open_parts(tmp_path)
    pool.submit(put(b"armed", b"v"))
    await step(application)
    with pytest.raises(InvalidTransaction, match="CUSTOM: the rules fail"):
        pool.submit(put(b"bug", b"v"))
    assert "a bug of the rules" in caplog.text
    assert len(pool) == 0
    chain.close()


async def test_a_block_is_built_without_the_one_that_fails_in_it(tmp_path: Path) -> None:
    chain, pool, application = open_parts(tmp_path)
    value = b"v" * 8
    arming, failing, harmless = put(b"armed", value), put(b"bug", value), put(b"good", b"1")
    assert len(arming) > len(failing) > len(harmless)
    for extrinsic in (harmless, failing, arming):
        pool.submit(extrinsic)
    await step(application)
    assert chain.best_state().get(b"armed") == value
    assert chain.best_state().get(b"good") == b"1"
    assert chain.best_state().get(b"bug") is None
    drop = pool.why_dropped(blake2_256(failing))
    assert drop is not None and drop.reason is PoolReason.INVALID
    assert "the rules fail" in drop.detail
    chain.close()


async def test_refused_candidates_leave_the_pool_with_their_reason(tmp_path: Path) -> None:
    chain, pool, application = open_parts(tmp_path)
    with pytest.raises(InvalidTransaction, match="CALL"):
        pool.submit(put(b"forbidden", b"1"))
    fine = put(b"k", b"1")
    fine_hash = pool.submit(fine)
    watch = pool.watch(fine_hash)
    await step(application)
    assert [watch.receive_nowait().kind.value for _ in range(3)] == [
        "ready",
        "inBlock",
        "finalized",
    ]
    assert chain.place(fine_hash) == (chain.best().hash, 1)
    chain.close()


async def test_an_extrinsic_of_both_sides_of_a_fork_is_followed_to_the_one_that_stays(
    tmp_path: Path,
) -> None:
    chain, pool, application = open_parts(tmp_path)
    watch = pool.watch(pool.submit(put(b"k", b"1")))
    parent = application.best()
    left, right = [
        await application.execute(
            await application.build(parent.hash, timestamp=at, digest=(), full=lambda: False)
        )
        for at in (1, 2)
    ]
    application.set_best(left.hash)
    application.set_best(right.hash)
    await application.finalize(right.hash, b"")
    statuses = [watch.receive_nowait() for _ in range(5)]
    assert [(status.kind.value, status.hash) for status in statuses] == [
        ("ready", None),
        ("inBlock", left.hash),
        ("retracted", left.hash),
        ("inBlock", right.hash),
        ("finalized", right.hash),
    ]
    chain.close()
