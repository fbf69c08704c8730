"""Executed blocks that are not final survive a restart, and cost nothing where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.chain import Chain
from node.storage.layout import UNFINALISED
from node.storage.pruning import Pruning
from runtime.state.trie import build
from tests.node.test_chain import entries, grow, grow_final
from tests.node.tiny_runtime import TinyGenesis, TinyRuntime, put


def open_chain(path: Path) -> tuple[Chain, TinyRuntime]:
    runtime = TinyRuntime()
    return Chain.open(path, TinyGenesis(), runtime, Pruning(4)), runtime


def stored(chain: Chain) -> set[bytes]:
    return {key[5:] for key, _ in chain._db.iterate(UNFINALISED)}


async def test_siblings_are_there_after_a_restart_without_being_executed(tmp_path: Path) -> None:
    chain, _ = open_chain(tmp_path)
    base = await grow_final(chain, put(b"k", b"0"))
    left = await grow(chain, base, put(b"k", b"left" * 20))
    right = await grow(chain, base, put(b"k", None), put(b"a", None))
    child = await grow(chain, left, put(b"c", b"child"))
    before = {h: (chain.block(h), entries(chain, h)) for h in (left, right, child)}
    chain.close()
    chain, runtime = open_chain(tmp_path)
    assert {h: (chain.block(h), entries(chain, h)) for h in before} == before
    assert sorted(chain.leaves()) == sorted([right, child])
    assert chain.best().hash == chain.finalized().hash == base
    block = before[child][0]
    assert block is not None
    await chain.execute(block)
    assert runtime.applied == 0
    await chain.finalize(child, b"proof")
    header = chain.header(child)
    assert header is not None and build(entries(chain, child)).root == header.state_root
    assert entries(chain, child) == before[child][1]
    assert stored(chain) == set()
    chain.close()


async def test_the_dead_and_the_final_are_deleted(tmp_path: Path) -> None:
    chain, _ = open_chain(tmp_path)
    one = await grow(chain, chain.genesis_hash, put(b"k", b"1"))
    fork = await grow(chain, chain.genesis_hash, put(b"k", b"2"))
    await grow(chain, fork)
    two = await grow(chain, one)
    sibling = await grow(chain, one, put(b"s", b"1"))
    assert len(stored(chain)) == 5
    await chain.finalize(one, None)
    assert stored(chain) == {two, sibling}
    chain.close()
    chain, _ = open_chain(tmp_path)
    assert sorted(chain.leaves()) == sorted([two, sibling])
    chain.close()


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "empty", "moved"])
async def test_a_torn_record_costs_an_execution_of_it_and_what_is_above(
    tmp_path: Path, damage: str
) -> None:
    chain, _ = open_chain(tmp_path)
    one = await grow(chain, chain.genesis_hash, put(b"k", b"1"))
    two = await grow(chain, one, put(b"k", b"2"))
    three = await grow(chain, two, put(b"k", b"3"))
    blocks = [chain.block(h) for h in (two, three)]
    state = entries(chain, three)
    [(key, record)] = [item for item in chain._db.iterate(UNFINALISED) if item[0][5:] == two]
    flipped = record[:40] + bytes([record[40] ^ 1]) + record[41:]
    damaged = {"cut": record[:-1], "flipped": flipped, "empty": b""}.get(damage)
    chain._db.write([(key, damaged)])
    if damage == "moved":
        chain._db.write([(key[:-1] + b"\0", record)])
    chain.close()
    chain, runtime = open_chain(tmp_path)
    assert chain.leaves() == [one]
    assert stored(chain) == {one}
    for block in blocks:
        assert block is not None
        await chain.execute(block)
    assert runtime.applied == 2
    assert entries(chain, three) == state
    chain.close()
