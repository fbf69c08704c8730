"""Storage streams of `archive_v1_*`: what they tell, and whom they hold up."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from node.rpc.methods.archive import archive_methods
from node.rpc.storage_difference import DIFFERENCE_QUERIES, DifferenceQuery, differences
from node.rpc.storage_streams import PIECE
from node.rpc.subscriptions import Subscription
from runtime.primitives.hashing import blake2_256
from runtime.state import MemoryState
from runtime.state.merkle_value import closest_descendant_merkle_value
from tests.node.rpc.conftest import ask
from tests.node.rpc.tiny_world import TinyWorld, events, receive, send, tiny_world
from tests.node.tiny_runtime import put
from tests.patience import PATIENCE

MANY = {i.to_bytes(4, "big"): bytes(1000) for i in range(20_000)}
EVERYTHING = [{"key": "0x", "type": "descendantsValues"}]


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


async def quiet(world: TinyWorld) -> None:
    """Wait until no question is held any more."""
    with trio.fail_after(PATIENCE):
        while world.streams.held:
            await trio.sleep(0.01)


async def full(world: TinyWorld) -> None:
    """Wait until streams are open, and nobody can go on before somebody reads."""
    with trio.fail_after(PATIENCE):
        while not world.server.subscriptions:
            await trio.sleep(0.01)
    await trio.testing.wait_all_tasks_blocked(0.1)


async def test_every_kind_of_question_is_answered_in_order(tmp_path: Path) -> None:
    async with tiny_world(tmp_path) as world, world.websocket() as socket:
        block_hash = await world.grow(world.chain.genesis_hash, put(b"ab", b"1"), put(b"ac", b"2"))
        state = world.chain.state_at(block_hash)
        merkle = closest_descendant_merkle_value(state.node, state.root, b"big")
        assert merkle is not None
        items = [
            {"key": hexed(b"a"), "type": "value"},
            {"key": hexed(b"zz"), "type": "value"},
            {"key": hexed(b"big"), "type": "hash"},
            {"key": hexed(b"big"), "type": "closestDescendantMerkleValue"},
            {"key": hexed(b"zz"), "type": "closestDescendantMerkleValue"},
            {"key": hexed(b"a"), "type": "descendantsValues", "paginationStartKey": hexed(b"a")},
            {"key": hexed(b"ab"), "type": "descendantsHashes"},
        ]
        found = await events(socket, "archive_v1_storage", hexed(block_hash), items)
        assert found == [
            {"event": "storage", "key": hexed(b"a"), "value": hexed(b"1")},
            {"event": "storage", "key": hexed(b"big"), "hash": hexed(blake2_256(b"x" * 100))},
            {
                "event": "storage",
                "key": hexed(b"big"),
                "closestDescendantMerkleValue": hexed(merkle),
            },
            {"event": "storage", "key": hexed(b"ab"), "value": hexed(b"1")},
            {"event": "storage", "key": hexed(b"ac"), "value": hexed(b"2")},
            {"event": "storage", "key": hexed(b"ab"), "hash": hexed(blake2_256(b"1"))},
            {"event": "storageDone"},
        ]
        child = await events(socket, "archive_v1_storage", hexed(block_hash), items, "0xaa")
        assert child == [{"event": "storageDone"}]
        await quiet(world)


async def test_a_difference_tells_what_was_added_modified_and_deleted(tmp_path: Path) -> None:
    async with tiny_world(tmp_path) as world, world.websocket() as socket:
        one = await world.grow_final(put(b"k", b"1"), put(b"gone", b"g" * 50))
        two = await world.grow_final(put(b"k", b"2"))
        three = await world.grow(two, put(b"gone", None), put(b"new", b"n" * 40))
        fork = await world.grow(two, put(b"k", b"fork"))
        method = "archive_v1_storageDiff"
        only_k = [{"key": hexed(b"k"), "returnType": "value"}]
        assert await events(socket, method, hexed(two), only_k) == [
            {"event": "storageDiff", "key": hexed(b"k"), "value": hexed(b"2"), "type": "modified"},
            {"event": "storageDiffDone"},
        ]
        items = [{"returnType": "hash"}, {"returnType": "value", "childTrieKey": "0x01"}]
        found = await events(socket, method, hexed(three), items, hexed(one))
        told = [(e["key"], e["type"], e["hash"]) for e in found[:-1]]
        now = world.chain.state_at(three).get(b"now")
        assert now is not None
        assert told == [
            (hexed(b"gone"), "deleted", hexed(blake2_256(b"g" * 50))),
            (hexed(b"k"), "modified", hexed(blake2_256(b"2"))),
            (hexed(b"new"), "added", hexed(blake2_256(b"n" * 40))),
            (hexed(b"now"), "modified", hexed(blake2_256(now))),
        ]
        genesis = hexed(world.chain.genesis_hash)
        same = await events(socket, method, hexed(three), None, hexed(three))
        assert same == [{"event": "storageDiffDone"}]
        for block, previous, why in (
            (hexed(three), hexed(fork), "not an ancestor"),
            (hexed(one), hexed(two), "not an ancestor"),
            (genesis, None, "no parent"),
            ("0x" + "77" * 32, None, "not known"),
            (hexed(two), "0x" + "77" * 32, "not known"),
        ):
            (last,) = await events(socket, method, block, None, previous)
            assert last["event"] == "storageDiffError"
            assert why in last["error"]
        await quiet(world)


entries = st.dictionaries(
    st.lists(st.sampled_from([0, 1, 16, 255]), max_size=3).map(bytes),
    st.binary(max_size=2) | st.just(bytes(40)),
    max_size=12,
)


@given(entries, entries, st.binary(max_size=1), st.booleans())
def test_differences_are_those_of_plain_maps(
    old: dict[bytes, bytes], new: dict[bytes, bytes], prefix: bytes, hashed: bool
) -> None:
    asked = [DifferenceQuery(prefix, hashed), DifferenceQuery(child=True)]
    found = [x for x in differences(MemoryState(old), MemoryState(new), asked) if x is not None]
    wanted = []
    for key in sorted({*old, *new}):
        if key.startswith(prefix) and old.get(key) != new.get(key):
            kind = "added" if key not in old else "modified" if key in new else "deleted"
            value = new.get(key, old.get(key, b""))
            shown = {"hash": hexed(blake2_256(value))} if hashed else {"value": hexed(value)}
            wanted.append({"key": hexed(key), "type": kind, **shown})
    assert found == wanted


@settings(max_examples=50)
@given(st.lists(st.recursive(st.none() | st.text() | st.integers(), st.lists), max_size=3))
def test_malformed_difference_questions_are_refused(items: list[Any]) -> None:
    for value in (items or None, [{"returnType": item} for item in items] or None):
        with pytest.raises(ValueError, match=r"item|array"):
            DIFFERENCE_QUERIES(value)


async def test_a_slow_reader_holds_its_stream_and_no_memory(tmp_path: Path) -> None:
    async with tiny_world(tmp_path, MANY) as world:
        genesis = hexed(world.chain.genesis_hash)
        async with world.websocket() as slow, world.websocket() as quick:
            for ident in range(20):
                await send(slow, "archive_v1_storage", genesis, EVERYTHING, ident=ident)
            await full(world)
            backlog = world.server._backlog
            assert 0 < backlog.queued < 400_000
            items = [{"key": "0x00000001", "type": "hash"}]
            with trio.fail_after(PATIENCE):
                found = await events(quick, "archive_v1_storage", genesis, items)
            assert [event["event"] for event in found] == ["storage", "storageDone"]
            # What the quick one has read may still be counted as on its way.
            await trio.testing.wait_all_tasks_blocked(0.2)
            before = backlog.queued
            await trio.testing.wait_all_tasks_blocked(0.2)
            assert backlog.queued == before
        await quiet(world)
        assert world.server._backlog.queued == 0


async def test_a_reader_that_paused_gets_every_stream_whole(tmp_path: Path) -> None:
    entries = {i.to_bytes(4, "big"): bytes(1000) for i in range(1000)}
    async with tiny_world(tmp_path, entries) as world, world.websocket() as socket:
        genesis = hexed(world.chain.genesis_hash)
        batch = [
            {
                "jsonrpc": "2.0",
                "id": ident,
                "method": "archive_v1_storage",
                "params": [genesis, EVERYTHING, None],
            }
            for ident in range(10)
        ]
        await socket.send_message(orjson.dumps(batch).decode())
        await full(world)
        answers = await receive(socket)
        keys: dict[str, list[str]] = {answer["result"]: [] for answer in answers}
        open_streams = set(keys)
        while open_streams:
            params = (await receive(socket))["params"]
            ident, event = params["subscription"], params["result"]
            assert ident in open_streams
            if event["event"] == "storage":
                keys[ident].append(event["key"])
            else:
                assert event == {"event": "storageDone"}
                open_streams.remove(ident)
        assert list(keys.values()) == [[hexed(key) for key in entries]] * 10


async def test_a_long_stream_arrives_whole_and_lets_others_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = most = 0
    notify = Subscription.notify

    def count(subscription: Subscription, result: Any) -> None:
        nonlocal told
        told += 1
        notify(subscription, result)

    monkeypatch.setattr(Subscription, "notify", count)
    async with tiny_world(tmp_path, MANY) as world, world.websocket() as socket:

        async def watch() -> None:
            nonlocal most
            while True:
                before = told
                await trio.lowlevel.checkpoint()
                most = max(most, told - before)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            genesis = hexed(world.chain.genesis_hash)
            found = await events(socket, "archive_v1_storage", genesis, EVERYTHING)
            nursery.cancel_scope.cancel()
        keys = [event["key"] for event in found[:-1]]
        assert keys == [hexed(key) for key in sorted(MANY)]
        # A piece, and the event that says that it was the last.
        assert 0 < most <= PIECE // 2000 + 2


async def test_a_stopped_stream_says_no_more(tmp_path: Path) -> None:
    async with tiny_world(tmp_path, MANY) as world, world.websocket() as socket:
        genesis = hexed(world.chain.genesis_hash)
        await send(socket, "archive_v1_storage", genesis, EVERYTHING)
        operation = (await receive(socket))["result"]
        await send(socket, "archive_v1_stopStorageDiff", operation, ident="other kind")
        await send(socket, "archive_v1_stopStorage", operation, ident="stop")
        answers = []
        while "stop" not in answers:
            message = await receive(socket)
            if "id" in message:
                assert message["result"] is None
                answers.append(message["id"])
        assert answers == ["other kind", "stop"]
        await quiet(world)
        again = await ask(socket, "archive_v1_stopStorage", operation, ident="again")
        while "id" not in again:
            again = await receive(socket)
        assert again == {"jsonrpc": "2.0", "id": "again", "result": None}
        assert (await ask(socket, "archive_v1_stopStorage", "nothing"))["result"] is None


async def test_thousands_of_dropped_streams_leave_nothing(tmp_path: Path) -> None:
    async with tiny_world(tmp_path, MANY) as world:
        genesis = hexed(world.chain.genesis_hash)
        for _ in range(4):
            async with world.websocket() as socket:
                for ident in range(10):
                    batch = [
                        {
                            "jsonrpc": "2.0",
                            "id": f"{ident}-{i}",
                            "method": "archive_v1_storage",
                            "params": [genesis, EVERYTHING],
                        }
                        for i in range(100)
                    ]
                    await socket.send_message(orjson.dumps(batch).decode())
                await receive(socket)
        await quiet(world)
        with trio.fail_after(PATIENCE):
            while world.server.connections:
                await trio.sleep(0.01)
        assert world.server._backlog.queued == 0
        gc.collect()
        assert len(world.streams._shares) == 0


async def test_too_many_open_questions_are_refused_and_room_comes_back(tmp_path: Path) -> None:
    async with tiny_world(tmp_path, MANY) as world:
        genesis = hexed(world.chain.genesis_hash)
        many = [{"key": "0x" + "00" * 200, "type": "value"}] * 2000
        request = {"jsonrpc": "2.0", "method": "archive_v1_storage", "params": [genesis, many]}
        async with world.websocket() as socket:
            batch = [{**request, "id": ident} for ident in range(6)]
            await socket.send_message(orjson.dumps(batch).decode())
            answers = await receive(socket)
        assert [a.get("error", {}).get("code") for a in answers] == [None] * 4 + [-32009] * 2
        await quiet(world)
        async with world.websocket() as socket:
            found = await events(socket, "archive_v1_storage", genesis, many)
            assert found == [{"event": "storageDone"}]


def test_every_method_is_described(tmp_path: Path) -> None:
    async def check() -> None:
        async with tiny_world(tmp_path) as world:
            for method in archive_methods(world.backend):
                assert method.doc or method.call.__doc__
                assert method.result is not None

    trio.run(check)
