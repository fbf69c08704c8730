"""What is kept of the past: states, bodies and proofs, under settings that change at restarts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from node.chain import Chain
from node.errors import StatePruned
from node.storage.layout import BODY, EXTRINSIC, HEADER, JOURNAL, PROOF
from node.storage.pruning import STEPS_PER_COMMIT, WORK_PER_COMMIT, Budget, Pruning
from runtime.primitives.hashing import blake2_256
from tests.node.test_chain import announcing, entries, grow, grow_final, stored_nodes, tree_nodes
from tests.node.tiny_runtime import TinyGenesis, TinyRuntime, put


def open_chain(path: Path, states: int | None, blocks: int | None = None) -> Chain:
    return Chain.open(path, TinyGenesis(), TinyRuntime(), Pruning(states, blocks))


async def final(chain: Chain, count: int) -> list[bytes]:
    numbers = range(chain.finalized().number + 1, chain.finalized().number + 1 + count)
    return [await grow_final(chain, put(b"k%d" % (n % 3), b"%d" % n * 40)) for n in numbers]


def readable(chain: Chain, hashes: list[bytes]) -> list[int]:
    found = []
    for number, block_hash in enumerate(hashes):
        try:
            state = chain.state_at(block_hash)
        except StatePruned:
            continue
        header = chain.header(block_hash)
        assert header is not None
        assert tree_nodes(dict(state.iterate(b""))).keys() <= stored_nodes(chain).keys()
        assert state.root == header.state_root
        found.append(number)
    return found


async def test_a_smaller_window_takes_effect_after_a_restart(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, 100)
    hashes = [chain.genesis_hash, *await final(chain, 9)]
    chain.close()
    chain = open_chain(tmp_path, 2)
    hashes += await final(chain, 5)
    assert readable(chain, hashes) == [13, 14]
    chain.close()


async def test_a_larger_window_and_an_archive_keep_what_is_there_from_now_on(
    tmp_path: Path,
) -> None:
    chain = open_chain(tmp_path, 2)
    hashes = [chain.genesis_hash, *await final(chain, 6)]
    chain.close()
    chain = open_chain(tmp_path, 4)
    assert chain.oldest_state == 5
    hashes += await final(chain, 2)
    assert readable(chain, hashes) == [5, 6, 7, 8]
    hashes += await final(chain, 1)
    assert readable(chain, hashes) == [6, 7, 8, 9]
    chain.close()
    chain = open_chain(tmp_path, None)
    hashes += await final(chain, 6)
    assert readable(chain, hashes) == list(range(6, 16))
    chain.close()


async def test_an_archive_that_gets_a_window_prunes_a_bounded_number_of_states_per_commit(
    tmp_path: Path,
) -> None:
    chain = open_chain(tmp_path, None)
    hashes = [chain.genesis_hash, *await final(chain, 150)]
    chain.close()
    chain = open_chain(tmp_path, 1)
    gone = []
    for _ in range(3):
        hashes += await final(chain, 1)
        gone.append(chain.oldest_state)
    assert gone == [STEPS_PER_COMMIT, 2 * STEPS_PER_COMMIT, 153]
    assert readable(chain, hashes) == [153]
    assert stored_nodes(chain) == tree_nodes(entries(chain, hashes[-1]))
    assert not list(chain._db.iterate(JOURNAL))
    chain.close()


async def test_a_restart_with_another_pruning_says_what_is_readable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "openledger.chain")
    chain = open_chain(tmp_path, 2)
    await final(chain, 6)
    chain.close()
    open_chain(tmp_path, 2).close()
    assert not caplog.records
    open_chain(tmp_path, None, 7).close()
    [told] = caplog.records
    assert told.message == "pruning changed"
    assert told.fields == {  # type: ignore[attr-defined]
        "before": "states=2 blocks=archive",
        "now": "states=archive blocks=7",
        "states_from": 5,
        "bodies_from": 0,
    }


async def test_bodies_places_and_proofs_go_and_headers_and_boundary_proofs_stay(
    tmp_path: Path,
) -> None:
    chain = open_chain(tmp_path, 2, 3)
    end = await grow(chain, chain.genesis_hash, put(b"end", b"1"), digest=(announcing(1),))
    await chain.finalize(end, b"proof of the end")
    chain.set_best(end)
    hashes = await final(chain, 6)
    kept = hashes[-3:]
    assert chain.kept.bodies == 5
    assert [h for h in (end, *hashes) if chain.block(h) is not None] == kept
    assert {key[1:] for key, _ in chain._db.iterate(BODY)} == {chain.genesis_hash, *kept}
    assert {key[1:] for key, _ in chain._db.iterate(HEADER)} == {chain.genesis_hash, end, *hashes}
    assert {key[1:] for key, _ in chain._db.iterate(PROOF)} == {end, *kept}
    assert {place[:32] for _, place in chain._db.iterate(EXTRINSIC)} == set(kept)
    assert chain.boundary(0) == end
    assert chain.place(blake2_256(put(b"end", b"1"))) is None
    chain.close()


async def test_the_last_proof_stays_until_there_is_another(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, 2, 1)
    [proven] = await final(chain, 1)
    for _ in range(3):
        await chain.finalize(await grow(chain, chain.finalized().hash), None)
    assert chain.latest_proven() == (chain.header(proven), b"proof" + proven)
    assert chain.block(proven) is None
    [last] = await final(chain, 1)
    assert chain.justification(proven) is None
    assert {key[1:] for key, _ in chain._db.iterate(PROOF)} == {last}
    chain.close()


async def test_an_extrinsic_in_two_blocks_keeps_the_place_that_is_kept(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, 2, 2)
    await grow_final(chain, put(b"twice", b"1"))
    again = await grow_final(chain, put(b"twice", b"1"))
    await final(chain, 1)
    assert chain.place(blake2_256(put(b"twice", b"1"))) == (again, 1)
    await final(chain, 1)
    assert chain.place(blake2_256(put(b"twice", b"1"))) is None
    chain.close()


async def test_the_bodies_setting_changes_in_every_direction(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, 2)
    await final(chain, 80)
    chain.close()
    chain = open_chain(tmp_path, 2, 1)
    await final(chain, 1)
    assert chain.kept.bodies == STEPS_PER_COMMIT
    await final(chain, 1)
    assert chain.kept.bodies == 82
    chain.close()
    chain = open_chain(tmp_path, 2, 4)
    await final(chain, 2)
    assert chain.kept.bodies == 82
    await final(chain, 3)
    assert chain.kept.bodies == 84
    chain.close()
    chain = open_chain(tmp_path, 2)
    hashes = await final(chain, 9)
    assert chain.kept.bodies == 84
    assert all(chain.block(h) is not None for h in hashes)
    chain.close()


async def test_many_blocks_in_one_commit_are_pruned_in_it(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, 1, 1)
    block_hash = chain.genesis_hash
    for n in range(100):
        block_hash = await grow(chain, block_hash, put(b"k", b"%d" % n * 40))
    await chain.finalize(block_hash, b"proof")
    assert (chain.kept.states, chain.kept.bodies) == (100, 100)
    assert stored_nodes(chain) == tree_nodes(entries(chain, block_hash))
    assert {key[1:] for key, _ in chain._db.iterate(BODY)} == {chain.genesis_hash, block_hash}
    chain.close()


def test_much_work_leaves_no_more_than_the_pace_of_the_chain() -> None:
    assert spent(Budget(came=1), 10) == STEPS_PER_COMMIT
    assert spent(Budget(came=1), WORK_PER_COMMIT) == 2
    assert spent(Budget(came=5), WORK_PER_COMMIT) == 6
    assert spent(Budget(came=100), 1) == 101


def spent(budget: Budget, work: int) -> int:
    steps = 0
    while budget.allows():
        budget.spend(work)
        steps += 1
    return steps
