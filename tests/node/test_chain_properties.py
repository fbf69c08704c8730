"""Any order of building, choosing, finalising and restarting gives the states of a plain model."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from node.chain import Chain
from node.errors import StatePruned, UnknownBlock
from node.storage.layout import NODE, STATE, UNFINALISED
from node.storage.pruning import Pruning
from runtime.state.trie import build
from tests.node.tiny_runtime import NOW, TinyGenesis, TinyRuntime, put

KEYS = st.sampled_from([b"a", b"ab", b"abc", b"b", b"\x10", b"\x11", b"big"])
VALUES = st.one_of(st.none(), st.sampled_from([b"", b"1", b"x" * 33, b"y" * 40]))
WRITES = st.lists(st.tuples(KEYS, VALUES), max_size=4)
GROW = st.tuples(st.just("grow"), st.integers(0, 30), WRITES)
CHOICE = st.tuples(st.sampled_from(["best", "finalize", "finalize"]), st.integers(0, 30))
SIZES = st.sampled_from([1, 2, 5, None])
SETTINGS = st.builds(Pruning, SIZES, SIZES)
REOPEN = st.tuples(st.just("reopen"), SETTINGS)
STEPS = st.lists(st.one_of(GROW, GROW, CHOICE, REOPEN), max_size=25)


@dataclass
class Model:
    """The live blocks above the last final one, and the final ones by number."""

    states: dict[bytes, dict[bytes, bytes]]
    parents: dict[bytes, bytes]
    final: list[bytes]
    live: list[bytes]
    best: bytes
    pruning: Pruning
    oldest_state: int = 0
    oldest_body: int = 0

    def ancestry(self, block_hash: bytes) -> list[bytes]:
        path = [block_hash]
        while path[-1] != self.final[-1]:
            path.append(self.parents[path[-1]])
        return path[-2::-1]

    def finalize(self, block_hash: bytes) -> None:
        self.final += self.ancestry(block_hash)
        self.live = [h for h in self.live if h not in self.final and self._descends(h)]
        if self.best != block_hash and self.best not in self.live:
            self.best = block_hash
        head = len(self.final) - 1
        self.oldest_state = max(self.oldest_state, self.pruning.first_state(head))
        self.oldest_body = max(self.oldest_body, self.pruning.first_body(head))

    def node_counts(self) -> Counter[bytes]:
        """Count the nodes of the oldest kept state, and those that each later block added."""
        trees = [tree_nodes(self.states[h]) for h in self.final[self.oldest_state :]]
        counts = Counter(trees[0])
        for before, after in pairwise(trees):
            counts += after - before
        return counts

    def _descends(self, block_hash: bytes) -> bool:
        while block_hash in self.parents and block_hash not in self.final:
            block_hash = self.parents[block_hash]
        return block_hash == self.final[-1]


@settings(max_examples=80, deadline=None)
@given(steps=STEPS, pruning=SETTINGS)
def test_the_chain_follows_its_model(steps: list[tuple], pruning: Pruning) -> None:  # type: ignore[type-arg]
    with tempfile.TemporaryDirectory() as folder:
        trio.run(follow, Path(folder), steps, pruning)


async def follow(path: Path, steps: list[tuple], pruning: Pruning) -> None:  # type: ignore[type-arg]
    chain = Chain.open(path, TinyGenesis(), TinyRuntime(), pruning)
    genesis = chain.genesis_hash
    model = Model({genesis: TinyGenesis().genesis_entries()}, {}, [genesis], [], genesis, pruning)
    for time, (step, *arguments) in enumerate(steps, 1):
        candidates = [model.final[-1], *model.live]
        if step == "reopen":
            chain.close()
            model.pruning = arguments[0]
            chain = Chain.open(path, TinyGenesis(), TinyRuntime(), model.pruning)
            model.best = model.final[-1]
        elif step == "grow":
            await grow(chain, model, candidates[arguments[0] % len(candidates)], arguments[1], time)
        elif step == "best":
            model.best = candidates[arguments[0] % len(candidates)]
            chain.set_best(model.best)
        elif model.live:
            target = model.live[arguments[0] % len(model.live)]
            await chain.finalize(target, b"proof")
            model.finalize(target)
        compare(chain, model)
    chain.close()


async def grow(
    chain: Chain, model: Model, parent: bytes, writes: list[tuple[bytes, bytes | None]], time: int
) -> None:
    built = await chain.build(
        parent,
        timestamp=time,
        digest=(),
        candidates=[put(key, value) for key, value in writes],
        full=lambda: False,
    )
    block_hash = (await chain.execute(built.block)).hash
    state = model.states[parent] | {NOW: time.to_bytes(8, "little")}
    for key, value in writes:
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value
    model.states[block_hash] = state
    model.parents[block_hash] = parent
    model.live.append(block_hash)


def compare(chain: Chain, model: Model) -> None:
    assert (chain.kept.states, chain.kept.bodies) == (model.oldest_state, model.oldest_body)
    assert chain.finalized().hash == model.final[-1]
    assert chain.best().hash == model.best
    for block_hash in model.live:
        check_state(chain, block_hash, model.states[block_hash])
    for number, block_hash in enumerate(model.final):
        assert chain.block_hash(number) == block_hash
        assert (chain.block(block_hash) is None) == (0 < number < model.oldest_body)
        if number >= model.oldest_state:
            check_state(chain, block_hash, model.states[block_hash])
        else:
            with pytest.raises(StatePruned):
                chain.state_at(block_hash)
    for block_hash in set(model.states) - set(model.live) - set(model.final):
        with pytest.raises(UnknownBlock):
            chain.state_at(block_hash)
    flat = {key[1:]: value for key, value in chain._db.iterate(STATE)}
    assert flat == model.states[model.final[-1]]
    counts = {k[1:]: int.from_bytes(v[:4], "little") for k, v in chain._db.iterate(NODE)}
    assert counts == model.node_counts()
    stored = {key[5:] for key, _ in chain._db.iterate(UNFINALISED)}
    assert stored == set(model.live)


def tree_nodes(state: dict[bytes, bytes]) -> Counter[bytes]:
    return Counter({name: count for name, (_, count) in build(state).inserted.items()})


def check_state(chain: Chain, block_hash: bytes, expected: dict[bytes, bytes]) -> None:
    state = chain.state_at(block_hash)
    assert list(state.iterate(b"")) == sorted(expected.items())
    assert list(state.iterate(b"a", b"ab")) == [
        (k, v) for k, v in sorted(expected.items()) if k.startswith(b"a") and k > b"ab"
    ]
    assert state.root == build(expected).root
    assert state.get(b"abc") == expected.get(b"abc")
    if expected:
        assert state.node(state.root)
