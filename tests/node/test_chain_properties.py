"""Any order of building, choosing, finalising and restarting gives the states of a plain model."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from node.chain import Chain
from node.errors import StatePruned, UnknownBlock
from node.storage.layout import NODE, STATE
from node.storage.pruning import Pruning
from runtime.state.trie import build
from tests.node.tiny_runtime import NOW, TinyGenesis, TinyRuntime, put

KEYS = st.sampled_from([b"a", b"ab", b"abc", b"b", b"\x10", b"\x11", b"big"])
VALUES = st.one_of(st.none(), st.sampled_from([b"", b"1", b"x" * 33, b"y" * 40]))
WRITES = st.lists(st.tuples(KEYS, VALUES), max_size=4)
GROW = st.tuples(st.just("grow"), st.integers(0, 30), WRITES)
CHOICE = st.tuples(st.sampled_from(["best", "finalize", "finalize"]), st.integers(0, 30))
STEPS = st.lists(st.one_of(GROW, GROW, CHOICE, st.tuples(st.just("reopen"))), max_size=25)


@dataclass
class Model:
    """The live blocks above the last final one, and the final ones by number."""

    states: dict[bytes, dict[bytes, bytes]]
    parents: dict[bytes, bytes]
    final: list[bytes]
    live: list[bytes]
    best: bytes

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

    def _descends(self, block_hash: bytes) -> bool:
        while block_hash in self.parents and block_hash not in self.final:
            block_hash = self.parents[block_hash]
        return block_hash == self.final[-1]


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, window=st.sampled_from([1, 2, 5, None]))
def test_the_chain_follows_its_model(steps: list[tuple], window: int | None) -> None:  # type: ignore[type-arg]
    with tempfile.TemporaryDirectory() as folder:
        trio.run(follow, Path(folder), steps, window)


async def follow(path: Path, steps: list[tuple], window: int | None) -> None:  # type: ignore[type-arg]
    chain = Chain.open(path, TinyGenesis(), TinyRuntime(), Pruning(window))
    genesis = chain.genesis_hash
    model = Model({genesis: TinyGenesis().genesis_entries()}, {}, [genesis], [], genesis)
    for time, (step, *arguments) in enumerate(steps, 1):
        candidates = [model.final[-1], *model.live]
        if step == "reopen":
            chain.close()
            chain = Chain.open(path, TinyGenesis(), TinyRuntime(), Pruning(window))
            model.live, model.best = [], model.final[-1]
        elif step == "grow":
            await grow(chain, model, candidates[arguments[0] % len(candidates)], arguments[1], time)
        elif step == "best":
            model.best = candidates[arguments[0] % len(candidates)]
            chain.set_best(model.best)
        elif model.live:
            target = model.live[arguments[0] % len(model.live)]
            await chain.finalize(target, b"proof")
            model.finalize(target)
        compare(chain, model, window)
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


def compare(chain: Chain, model: Model, window: int | None) -> None:
    head = len(model.final) - 1
    assert chain.finalized().hash == model.final[-1]
    assert chain.best().hash == model.best
    for block_hash in model.live:
        check_state(chain, block_hash, model.states[block_hash])
    for number, block_hash in enumerate(model.final):
        assert chain.block_hash(number) == block_hash
        if window is None or number > head - window:
            check_state(chain, block_hash, model.states[block_hash])
        else:
            with pytest.raises(StatePruned):
                chain.state_at(block_hash)
    for block_hash in set(model.states) - set(model.live) - set(model.final):
        with pytest.raises(UnknownBlock):
            chain.state_at(block_hash)
    flat = {key[1:]: value for key, value in chain._db.iterate(STATE)}
    assert flat == model.states[model.final[-1]]
    if window == 1:
        counts = {k[1:]: int.from_bytes(v[:4], "little") for k, v in chain._db.iterate(NODE)}
        assert counts == {h: count for h, (_, count) in build(flat).inserted.items()}


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
