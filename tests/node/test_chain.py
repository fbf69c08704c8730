"""The chain: forks in memory, one batch per finalisation, states that stay readable."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from node.chain import Chain
from node.chain_events import BestChanged, Finalized, NewBlock
from node.errors import StatePruned, StorageLocked, UnknownBlock, WrongDatabase
from node.storage.layout import NODE
from node.storage.pruning import Pruning
from runtime.primitives.digest import Authority, NextEpoch, next_epoch_item
from runtime.primitives.errors import InvalidBlock
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Block, DigestItem, Header
from runtime.state.trie import build
from tests.node.tiny_runtime import TinyGenesis, TinyRuntime, put
from tests.patience import PATIENCE


def open_chain(path: Path, window: int | None = 256, genesis: TinyGenesis | None = None) -> Chain:
    return Chain.open(path, genesis or TinyGenesis(), TinyRuntime(), Pruning(window))


async def grow(
    chain: Chain,
    parent: bytes,
    *extrinsics: bytes,
    time: int = 0,
    digest: tuple[DigestItem, ...] = (),
) -> bytes:
    header = chain.header(parent)
    assert header is not None
    built = await chain.build(
        parent,
        timestamp=time or header.number + 1,
        digest=digest,
        candidates=extrinsics,
        full=lambda: False,
    )
    return (await chain.execute(built.block)).hash


async def grow_final(chain: Chain, *extrinsics: bytes) -> bytes:
    block_hash = await grow(chain, chain.best().hash, *extrinsics)
    chain.set_best(block_hash)
    await chain.finalize(block_hash, b"proof" + block_hash)
    return block_hash


def entries(chain: Chain, block_hash: bytes) -> dict[bytes, bytes]:
    return dict(chain.state_at(block_hash).iterate(b""))


def stored_nodes(chain: Chain) -> dict[bytes, int]:
    return {k[1:]: int.from_bytes(v[:4], "little") for k, v in chain._db.iterate(NODE)}


def tree_nodes(state: dict[bytes, bytes]) -> dict[bytes, int]:
    return {h: count for h, (_, count) in build(state).inserted.items()}


async def test_a_new_chain_starts_at_its_genesis(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    assert chain.best() == chain.finalized()
    assert chain.best().hash == chain.genesis_hash == chain.block_hash(0)
    assert entries(chain, chain.genesis_hash) == TinyGenesis().genesis_entries()
    assert chain.block(chain.genesis_hash) == Block(chain.header(chain.genesis_hash), ())
    chain.close()


async def test_siblings_have_states_of_their_own(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    left = await grow(chain, chain.genesis_hash, put(b"k", b"left"))
    right = await grow(chain, chain.genesis_hash, put(b"k", b"right"), put(b"a", None))
    child = await grow(chain, left, put(b"c", b"child"))
    assert chain.state_at(left).get(b"k") == b"left"
    assert chain.state_at(right).get(b"k") == b"right"
    assert chain.state_at(right).get(b"a") is None
    assert chain.state_at(child).get(b"k") == b"left"
    assert chain.state_at(chain.genesis_hash).get(b"k") is None
    assert sorted(chain.leaves()) == sorted([child, right])
    chain.close()


async def test_finalizing_commits_ancestors_and_prunes_forks(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    events = chain.subscribe()
    one = await grow(chain, chain.genesis_hash, put(b"k", b"1"))
    fork = await grow(chain, chain.genesis_hash, put(b"k", b"fork"))
    two = await grow(chain, one, put(b"k", b"2"))
    three = await grow(chain, two, put(b"k", b"3"))
    chain.set_best(fork)
    await chain.finalize(two, b"proof")
    assert chain.finalized().hash == two
    assert chain.best().hash == two
    assert chain.justification(two) == b"proof"
    assert chain.justification(one) is None
    assert [chain.block_hash(n) for n in range(4)] == [chain.genesis_hash, one, two, None]
    with pytest.raises(UnknownBlock):
        chain.state_at(fork)
    with pytest.raises(UnknownBlock):
        await grow_on_left_behind(chain)
    assert chain.state_at(three).get(b"k") == b"3"
    assert chain.state_at(one).get(b"k") == b"1"
    chain.close()
    seen = [event async for event in events]
    assert [type(event) for event in seen[:4]] == [NewBlock] * 4
    assert seen[4:] == [BestChanged(fork), BestChanged(two), Finalized((one, two), (fork,))]


async def test_an_ancestor_may_become_final_first_and_get_its_proof_later(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    assert chain.latest_proven() is None
    one = await grow(chain, chain.genesis_hash)
    two = await grow(chain, one)
    await chain.finalize(one, None)
    assert chain.finalized().hash == one
    assert chain.justification(one) is None
    assert chain.latest_proven() is None
    await chain.finalize(two, b"of two")
    assert chain.latest_proven() == (chain.header(two), b"of two")
    await chain.finalize(one, b"of one")
    await chain.finalize(one, b"another")
    assert chain.justification(one) == b"of one"
    assert chain.latest_proven() == (chain.header(two), b"of two")
    three = await grow(chain, two)
    await chain.finalize(three, None)
    assert chain.latest_proven() == (chain.header(two), b"of two")
    await chain.finalize(three, b"of three")
    assert chain.latest_proven() == (chain.header(three), b"of three")
    chain.close()


async def test_the_block_that_ended_an_epoch_is_found_by_its_number(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    ended = [await end_epoch(chain, epoch) for epoch in range(3)]
    fork = await grow(chain, chain.finalized().hash, digest=(announcing(4),))
    assert [chain.boundary(epoch) for epoch in range(-1, 5)] == [None, *ended, None, None]
    assert chain.executed(fork)
    assert chain.executed(ended[0])
    assert not chain.executed(bytes(32))
    chain.close()
    chain = open_chain(tmp_path)
    assert [chain.boundary(epoch) for epoch in range(3)] == ended
    chain.close()


def announcing(epoch: int) -> DigestItem:
    return next_epoch_item(NextEpoch(epoch, (Authority(b"k" * 32, 1),), b"s" * 32))


async def end_epoch(chain: Chain, epoch: int) -> bytes:
    await grow_final(chain)
    block_hash = await grow(chain, chain.finalized().hash, digest=(announcing(epoch + 1),))
    await chain.finalize(block_hash, b"end")
    return block_hash


async def grow_on_left_behind(chain: Chain) -> None:
    await chain.build(chain.genesis_hash, timestamp=9, digest=(), candidates=(), full=lambda: False)


async def test_what_is_final_survives_a_restart(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    one = await grow_final(chain, put(b"k", b"1"))
    state, block = entries(chain, one), chain.block(one)
    chain.close()
    chain = open_chain(tmp_path)
    assert chain.finalized().hash == one
    assert entries(chain, one) == state
    assert chain.block(one) == block
    assert chain.justification(one) == b"proof" + one
    assert chain.place(blake2_256(put(b"k", b"1"))) == (one, 1)
    chain.close()


async def test_a_held_state_does_not_change_when_the_chain_goes_on(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, window=1)
    held = chain.state_at(chain.genesis_hash)
    before = dict(held.iterate(b""))
    for n in range(3):
        await grow_final(chain, put(b"a", b"%d" % n), put(b"big", None))
    assert dict(held.iterate(b"")) == before
    assert held.node(held.root)
    chain.close()


async def test_states_are_readable_exactly_within_the_window(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, window=4)
    rng = random.Random(7)
    hashes, states = [chain.genesis_hash], [entries(chain, chain.genesis_hash)]
    for _ in range(12):
        writes = [
            put(b"key%d" % rng.randrange(40), rng.choice([None, b"v" * rng.randrange(1, 80)]))
            for _ in range(12)
        ]
        hashes.append(await grow_final(chain, *writes))
        states.append(entries(chain, hashes[-1]))
    for number, block_hash in enumerate(hashes):
        if number <= 12 - 4:
            with pytest.raises(StatePruned, match=f"block {number} "):
                chain.state_at(block_hash)
        else:
            state = chain.state_at(block_hash)
            assert dict(state.iterate(b"")) == states[number]
            assert all(state.get(key) == value for key, value in states[number].items())
    kept = set().union(*(tree_nodes(state) for state in states[-4:]))
    assert set(stored_nodes(chain)) == kept
    chain.close()


async def test_with_a_window_of_one_the_counts_are_those_of_the_tree(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, window=1)
    for n in range(10):
        await grow_final(chain, put(b"k%d" % (n % 4), b"same value in many places" * 3))
        state = entries(chain, chain.finalized().hash)
        assert stored_nodes(chain) == tree_nodes(state)
    chain.close()


async def test_an_archive_keeps_every_state(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, window=None)
    hashes = [await grow_final(chain, put(b"k", b"%d" % n)) for n in range(8)]
    assert [chain.state_at(h).get(b"k") for h in hashes] == [b"%d" % n for n in range(8)]
    chain.close()


async def test_executing_is_idempotent_and_a_wrong_root_is_refused(tmp_path: Path) -> None:
    runtime = TinyRuntime()
    chain = Chain.open(tmp_path, TinyGenesis(), runtime, Pruning())
    one = await grow(chain, chain.genesis_hash, put(b"k", b"1"))
    block = chain.block(one)
    assert block is not None
    assert (await chain.execute(block)).hash == one
    assert runtime.applied == 0
    header = block.header
    wrong = Header(header.parent_hash, 1, b"\1" * 32, header.extrinsics_root, ())
    with pytest.raises(InvalidBlock):
        await chain.execute(Block(wrong, block.extrinsics))
    assert chain.leaves() == [one]
    chain.close()


async def test_another_nodes_block_is_executed_to_the_same_state(tmp_path: Path) -> None:
    author, follower = open_chain(tmp_path / "a"), open_chain(tmp_path / "b")
    for n in range(3):
        block = author.block(await grow_final(author, put(b"k", b"%d" % n)))
        assert block is not None
        ref = await follower.execute(block)
        await follower.finalize(ref.hash, b"")
    assert follower.finalized() == author.finalized()
    assert list(follower._db.iterate(b"s")) == list(author._db.iterate(b"s"))
    author.close()
    follower.close()


async def test_a_second_process_on_the_folder_is_refused(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    with pytest.raises(StorageLocked, match="another process"):
        open_chain(tmp_path)
    chain.close()


async def test_another_genesis_is_refused(tmp_path: Path) -> None:
    open_chain(tmp_path).close()
    with pytest.raises(WrongDatabase, match="another genesis"):
        open_chain(tmp_path, genesis=TinyGenesis(((b"a", b"2"),)))


async def test_readers_in_other_threads_always_see_whole_states(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, window=2)
    seen: set[int] = set()
    done = False

    def read() -> None:
        while not done:
            for ref in (chain.finalized(), chain.best()):
                try:
                    state = chain.state_at(ref.hash)
                    assert build(dict(state.iterate(b""))).root == state.root
                except StatePruned:
                    continue
                header = chain.header(ref.hash)
                assert header is not None and header.state_root == state.root
                assert chain.block(ref.hash) is not None
                assert chain.block_hash(ref.number) == ref.hash
                seen.add(ref.number)

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(trio.to_thread.run_sync, read)
        try:
            with trio.fail_after(PATIENCE):
                while chain.best().number < 60 or len(seen) <= 5:
                    n = chain.best().number
                    await grow_final(chain, put(b"k%d" % (n % 7), b"%d" % n * 40), put(b"a", None))
        finally:
            done = True
    chain.close()


async def test_a_slow_reader_loses_its_channel_and_nobody_waits(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    slow = chain._events.subscribe(buffered=2)
    for _ in range(3):
        await grow_final(chain)
    with trio.fail_after(PATIENCE):
        assert len([event async for event in slow]) == 2
    chain.close()


async def test_a_route_names_what_is_left_and_what_is_entered(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    base = await grow(chain, chain.genesis_hash)
    left = await grow(chain, base, put(b"k", b"l"))
    right = await grow(chain, base, put(b"k", b"r"))
    top = await grow(chain, right)
    route = chain.route(left, top)
    assert (route.retracted, route.enacted) == ((left,), (right, top))
    assert chain.route(base, base).enacted == ()
    chain.close()
