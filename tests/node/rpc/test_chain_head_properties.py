"""Whatever the chain does, every follower is told a story that holds together and ends where it is.

Forks, changes of the best block and finalisations come in any order, followers come and go between
them, and what each is told is checked against what the specification lets a client rely on.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from node.chain_events import BestChanged
from node.storage.pruning import Pruning
from runtime.primitives.header import Header
from runtime.primitives.scale import decode, encode
from tests.node.rpc.chain_head_world import SPEC, Wire, World, hexed, start
from tests.node.tiny_runtime import put

PICK = st.integers(0, 40)
GROW = st.tuples(st.just("grow"), PICK, st.sampled_from([None, b"1", b"2"]))
CHOICE = st.tuples(st.sampled_from(["best", "best", "finalize", "unpin", "unfollow"]), PICK)
FOLLOW = st.tuples(st.just("follow"), st.booleans())
SETTLE = st.tuples(st.just("settle"))
LOSE = st.tuples(st.just("lose"))
STEPS = st.lists(st.one_of(GROW, GROW, CHOICE, CHOICE, FOLLOW, SETTLE, LOSE), max_size=40)
WINDOWS = st.builds(Pruning, st.sampled_from([1, 3, None]), st.sampled_from([1, 3, None]))


@dataclass
class Reader:
    """A client that believes what it is told, and refuses what it may not be told."""

    ident: str
    with_runtime: bool
    final: list[str] = field(default_factory=list)
    parents: dict[str, str] = field(default_factory=dict)
    """Of the blocks that are not final."""
    best: str = ""
    specs: dict[str, int] = field(default_factory=dict)
    pins: set[str] = field(default_factory=set)
    lost: bool = False
    """Events were lost: the story may end before it has caught up."""
    stopped: bool = False

    def take(self, event: dict[str, Any]) -> None:
        assert not self.stopped
        match event:
            case {"event": "stop"}:
                assert self.lost
                self.stopped = True
            case {"event": "initialized", "finalizedBlockHashes": [*hashes]}:
                assert not self.final
                assert hashes
                self.final, self.best = hashes, hashes[-1]
                self._runtime(hashes[-1], event, "finalizedBlockRuntime")
                self.pins |= set(hashes)
            case {"event": "newBlock", "blockHash": block, "parentBlockHash": parent}:
                assert block not in self.parents
                assert block not in self.final
                assert parent == self.final[-1] or parent in self.parents
                self.parents[block] = parent
                self._runtime(block, event, "newRuntime", parent)
                self.pins.add(block)
            case {"event": "bestBlockChanged", "bestBlockHash": block}:
                assert block == self.final[-1] or block in self.parents
                self.best = block
            case {"event": "finalized", "finalizedBlockHashes": hashes, "prunedBlockHashes": dead}:
                self._finalize(hashes, dead)
            case _:
                raise AssertionError(event)

    def _runtime(self, block: str, event: dict[str, Any], name: str, parent: str = "") -> None:
        assert (name in event) == self.with_runtime
        if not self.with_runtime:
            return
        if event[name] is None:
            self.specs[block] = self.specs[parent]
            return
        self.specs[block] = event[name]["spec"]["specVersion"]
        assert self.specs.get(parent) != self.specs[block]

    def _finalize(self, hashes: list[str], dead: list[str]) -> None:
        assert hashes
        for block in hashes:
            assert self.parents.pop(block) == self.final[-1]
            self.final.append(block)
        assert len(set(dead)) == len(dead)
        for block in dead:
            assert not self._stands(block, self.final[-1])
        for block in dead:
            del self.parents[block]
        assert all(self._stands(block, self.final[-1]) for block in self.parents)
        assert self.best == hashes[-1] or self.best in self.parents

    def _stands(self, block: str, ancestor: str) -> bool:
        while block in self.parents:
            block = self.parents[block]
        return block == ancestor


@dataclass
class Play:
    """The world, one connection, and the readers of its follows."""

    world: World
    wire: Wire
    readers: list[Reader] = field(default_factory=list)
    blocks: dict[str, bytes] = field(default_factory=dict)
    """By hash: the value under `k`."""

    async def step(self, kind: str, *with_: Any) -> None:
        chain = self.world.chain
        live = [chain.finalized().hash, *(found.hash for found in chain.unfinalised())]
        match kind, with_:
            case "grow", (pick, spec):
                value = b"%d" % len(self.blocks)
                writes = [put(b"k", value)] + ([put(SPEC, spec)] if spec else [])
                block = await self.world.grow(live[pick % len(live)], *writes)
                self.blocks[hexed(block)] = value
            case "best", (pick,):
                chain.set_best(live[pick % len(live)])
            case "finalize", (pick,) if len(live) > 1:
                await chain.finalize(live[1 + pick % (len(live) - 1)], b"proof")
            case "follow", (with_runtime,) if len(self.readers) < 4:
                ident = await self.wire.result("follow", with_runtime)
                self.readers.append(Reader(ident, with_runtime))
            case "unfollow", (pick,) if self.readers:
                gone = self.readers.pop(pick % len(self.readers))
                await self.wire.result("unfollow", gone.ident)
                self.wire.events(gone.ident)
            case "unpin", (pick,) if self.readers:
                await self.unpin(self.readers[pick % len(self.readers)], pick)
            case "lose", _:
                await self.lose()
            case "settle", _:
                await trio.testing.wait_all_tasks_blocked()
                await self.check()

    async def lose(self) -> None:
        """Have so many events come at once that the reader loses its place."""
        events = self.world.heads.story._events
        while events.statistics().open_send_channels:
            self.world.chain._events.publish(BestChanged(self.world.chain.best().hash))
        for reader in self.readers:
            reader.lost = True
        await self.step("grow", 0, None)
        await trio.testing.wait_all_tasks_blocked(0.001)
        self.read()
        assert all(reader.stopped for reader in self.readers)
        self.readers.clear()

    async def unpin(self, reader: Reader, pick: int) -> None:
        self.read()
        old = sorted(block for block in reader.pins if block not in reader.parents)
        if old:
            block = old[pick % len(old)]
            assert await self.wire.result("unpin", reader.ident, block) is None
            reader.pins.remove(block)

    def read(self) -> None:
        for reader in self.readers:
            for event in self.wire.events(reader.ident):
                reader.take(event)

    async def check(self) -> None:
        """Compare what the readers believe with the chain, and read at every pin."""
        chain = self.world.chain
        self.read()
        for reader in self.readers:
            for parent, block in pairwise(reader.final):
                header = chain.header(bytes.fromhex(block[2:]))
                assert header is not None
                assert hexed(header.parent_hash) == parent
            assert reader.final[-1] == hexed(chain.finalized().hash)
            assert reader.best == hexed(chain.best().hash)
            assert set(reader.parents) == {hexed(found.hash) for found in chain.unfinalised()}
            for block in reader.pins:
                header = await self.wire.result("header", reader.ident, block)
                assert hexed(decoded(header).hash()) == block
                await self.read_state(reader, block)

    async def read_state(self, reader: Reader, block: str) -> None:
        query = [{"key": hexed(b"k"), "type": "value"}]
        await self.wire.result("storage", reader.ident, block, query, None)
        await trio.testing.wait_all_tasks_blocked()
        *items, last = self.wire.events(reader.ident)
        found = [item["value"] for event in items for item in event["items"]]
        assert last["event"] == "operationStorageDone"
        assert found == ([hexed(self.blocks[block])] if block in self.blocks else [])


def decoded(header: str) -> Header:
    made: Header = decode(Header, bytes.fromhex(header[2:]))
    assert hexed(encode(Header, made)) == header
    return made


@settings(max_examples=100)
@given(steps=STEPS, pruning=WINDOWS, at_once=st.booleans())
def test_every_story_holds_together(steps: list[Any], pruning: Pruning, at_once: bool) -> None:
    """With `at_once` False every pause gives the loop to others, wherever work could be parted."""
    seconds = 1.0 if at_once else -1.0
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("node.rpc.slices.SLICE_SECONDS", seconds),
        mock.patch("node.rpc.chain_head.story._RESUME", 0),
    ):
        trio.run(play, Path(folder), steps, pruning)


async def play(path: Path, steps: list[Any], pruning: Pruning) -> None:
    async with trio.open_nursery() as nursery:
        world = await start(path, nursery, pruning=pruning)
        wire = Wire(world, nursery)
        nursery.start_soon(wire.drain)
        made = Play(world, wire)
        for step in steps:
            await made.step(*step)
        await made.step("settle")
        wire.session.close_all()
        assert len(world.heads.story.news) == 0
        assert world.heads.story._held_bytes == 0
        nursery.cancel_scope.cancel()
    world.chain.close()


async def test_news_that_come_while_the_past_is_told_are_told_behind_it(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.rpc.slices.SLICE_SECONDS", -1.0)
    world = await start(tmp_path, nursery)
    wire = Wire(world, nursery)
    for _ in range(200):
        await world.extend()
    nursery.start_soon(wire.drain)
    await trio.testing.wait_all_tasks_blocked()
    told: list[str] = []

    async def follow() -> None:
        told.append(await wire.result("follow", True))

    nursery.start_soon(follow)
    while not told:
        await world.extend()
        await world.extend_final()
    await trio.testing.wait_all_tasks_blocked()
    reader = Reader(told[0], with_runtime=True)
    events = wire.events(told[0])
    for event in events:
        reader.take(event)
    assert reader.best == reader.final[-1] == hexed(world.chain.best().hash)
    assert events[201]["event"] == "bestBlockChanged"
    nursery.cancel_scope.cancel()
    world.chain.close()


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
HASHES = st.sampled_from(["0x" + "77" * 32, "GENESIS"])
ITEM = st.fixed_dictionaries(
    {"key": st.sampled_from(["0x", "0x61", "62"]) | anything},
    optional={
        "type": st.sampled_from(["value", "hash", "descendantsValues", "all"]) | anything,
        "paginationStartKey": st.just("0x61") | anything,
    },
)
PARAMS = st.lists(
    st.sampled_from(["FOLLOW", "GENESIS", "", "0x", None])
    | HASHES
    | st.lists(HASHES, max_size=3)
    | st.lists(ITEM, max_size=3)
    | anything,
    max_size=5,
)
READS = ["header", "body", "call", "storage"]
METHODS = ["follow", "unfollow", *READS, "continue", "stopOperation", "unpin"]
NAMED = {-32602, -32800, -32801, -32802, -32803, -32804}


@settings(max_examples=30)
@given(calls=st.lists(st.tuples(st.sampled_from(METHODS), PARAMS), max_size=60))
def test_garbage_is_refused_by_name_and_harms_nobody(calls: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(abuse, Path(folder), calls)


async def abuse(path: Path, calls: list[Any]) -> None:
    async with trio.open_nursery() as nursery:
        world = await start(path, nursery)
        wire, other = Wire(world, nursery), Wire(world, nursery)
        for each in (wire, other):
            nursery.start_soon(each.drain)
        known = {"GENESIS": hexed(world.chain.genesis_hash), "FOLLOW": ""}
        known["FOLLOW"] = await wire.result("follow", True)
        healthy = await other.result("follow", True)
        for method, params in calls:
            meant = [known.get(p, p) if isinstance(p, str) else p for p in params]
            answer = await wire.ask(method, *meant)
            assert "result" in answer or answer["error"]["code"] in NAMED, answer
        block = await world.extend_final()
        await trio.testing.wait_all_tasks_blocked()
        assert other.events(healthy)[-1]["finalizedBlockHashes"] == [hexed(block)]
        nursery.cancel_scope.cancel()
    world.chain.close()
