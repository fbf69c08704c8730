"""`chainHead_v1_follow` and what may be read at the blocks it tells of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from node.chain import Chain
from node.storage.pruning import Pruning
from node.storage.staging import Target
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Header
from runtime.primitives.scale import encode
from tests.node.rpc.chain_head_world import SPEC, Client, HeadRuntime, World, hexed, start
from tests.node.tiny_runtime import TinyGenesis, put

NOWHERE = "0x" + "77" * 32


@pytest.fixture
async def world(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[World]:
    made = await start(tmp_path, nursery)
    yield made
    nursery.cancel_scope.cancel()
    made.chain.close()


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with world.connect() as socket:
        yield Client(socket)


@pytest.fixture
async def other(world: World) -> AsyncIterator[Client]:
    async with world.connect() as socket:
        yield Client(socket)


def runtime(spec: int = 1) -> object:
    return {
        "type": "valid",
        "spec": {
            "specName": "tiny",
            "implName": "py",
            "specVersion": spec,
            "implVersion": 7,
            "transactionVersion": 2,
            "apis": {"0x0101010101010101": 3},
        },
    }


async def test_a_follower_is_told_the_story_so_far_and_then_the_news(
    world: World, client: Client
) -> None:
    final = [world.chain.genesis_hash] + [await world.extend_final() for _ in range(3)]
    left = await world.grow(final[-1])
    right = await world.grow(final[-1], put(b"k", b"v"))
    above = await world.grow(right)
    world.chain.set_best(above)
    await trio.testing.wait_all_tasks_blocked()
    ident = await client.follow()
    assert await client.until(ident, "bestBlockChanged") == [
        {
            "event": "initialized",
            "finalizedBlockHashes": [hexed(h) for h in final],
            "finalizedBlockRuntime": runtime(),
        },
        new(left, final[-1]),
        new(right, final[-1]),
        new(above, right),
        {"event": "bestBlockChanged", "bestBlockHash": hexed(above)},
    ]
    top = await world.grow(above)
    await world.chain.finalize(above, b"proof")
    assert await client.until(ident, "finalized") == [
        new(top, above),
        {
            "event": "finalized",
            "finalizedBlockHashes": [hexed(right), hexed(above)],
            "prunedBlockHashes": [hexed(left)],
        },
    ]


async def test_a_follow_without_runtime_tells_no_runtimes(world: World, client: Client) -> None:
    ident = await client.follow(with_runtime=False)
    first = await client.event(ident)
    assert first == {
        "event": "initialized",
        "finalizedBlockHashes": [hexed(world.chain.genesis_hash)],
    }
    block = await world.grow(world.chain.genesis_hash, put(SPEC, b"2"))
    assert (await client.until(ident, "newBlock"))[-1] == {
        "event": "newBlock",
        "blockHash": hexed(block),
        "parentBlockHash": hexed(world.chain.genesis_hash),
    }
    genesis = hexed(world.chain.genesis_hash)
    assert await client.refusal("call", ident, genesis, "Core_version", "") == -32802


async def test_a_new_runtime_is_told_where_it_differs_from_the_parents(
    world: World, client: Client
) -> None:
    genesis = world.chain.genesis_hash
    old = await world.grow(genesis)
    upgraded = await world.grow(genesis, put(SPEC, b"2"))
    await trio.testing.wait_all_tasks_blocked()
    ident = await client.follow()
    child = await world.grow(upgraded)
    back = await world.grow(child, put(SPEC, b"1"))
    told = [await client.event(ident) for _ in range(6)]
    assert told[1:3] == [new(old, genesis), new(upgraded, genesis, newRuntime=runtime(2))]
    assert told[4:] == [new(child, upgraded), new(back, child, newRuntime=runtime(1))]


async def test_a_runtime_that_cannot_be_read_is_told_as_invalid(
    world: World, client: Client
) -> None:
    odd = await world.extend_final(put(SPEC, b"?"))
    await trio.testing.wait_all_tasks_blocked()
    ident = await client.follow()
    invalid = {"type": "invalid", "error": "the state names no rules"}
    assert (await client.event(ident))["finalizedBlockRuntime"] == invalid
    child = await world.grow(odd)
    mended = await world.grow(child, put(SPEC, b"3"))
    told = await client.until(ident, "newBlock")
    assert told[-1] == new(child, odd)
    assert await client.event(ident) == new(mended, child, newRuntime=runtime(3))


async def test_only_the_last_minute_of_final_blocks_is_told_at_first(
    world: World, client: Client
) -> None:
    final = [await world.extend_final() for _ in range(20)]
    await trio.testing.wait_all_tasks_blocked()
    ident = await client.follow()
    told = (await client.event(ident))["finalizedBlockHashes"]
    assert told == [hexed(block_hash) for block_hash in final[-16:]]


async def test_header_body_call_and_storage_answer_at_every_pinned_block(
    world: World, client: Client
) -> None:
    ident = await client.follow()
    block = await world.extend(put(b"k1", b"one"), put(b"k2", b"two"))
    await client.until(ident, "bestBlockChanged")
    at = hexed(block)
    header = world.chain.header(block)
    extrinsics = [hexed(extrinsic) for extrinsic in world.chain.block(block).extrinsics]
    state = world.chain.state_at(block)
    assert await client.result("header", ident, at) == hexed(encode(Header, header))
    assert await client.operation(ident, "body", at) == [
        {"event": "operationBodyDone", "value": extrinsics}
    ]
    assert await client.operation(ident, "call", at, "Echo_read", hexed(b"k1")) == [
        {"event": "operationCallDone", "output": hexed(b"one")}
    ]
    queries = [
        {"key": hexed(b"k1"), "type": "value"},
        {"key": hexed(b"k2"), "type": "hash"},
        {"key": hexed(b"absent"), "type": "value"},
        {"key": "0x", "type": "closestDescendantMerkleValue"},
        {"key": hexed(b"k"), "type": "descendantsValues"},
        {"key": hexed(b"k"), "type": "descendantsHashes"},
    ]
    one, two = (hexed(blake2_256(value)) for value in (b"one", b"two"))
    assert await client.operation(ident, "storage", at, queries, None) == [
        {
            "event": "operationStorageItems",
            "items": [
                {"key": hexed(b"k1"), "value": hexed(b"one")},
                {"key": hexed(b"k2"), "hash": two},
                {"key": "0x", "closestDescendantMerkleValue": hexed(state.root)},
                {"key": hexed(b"k1"), "value": hexed(b"one")},
                {"key": hexed(b"k2"), "value": hexed(b"two")},
                {"key": hexed(b"k1"), "hash": one},
                {"key": hexed(b"k2"), "hash": two},
            ],
        },
        {"event": "operationStorageDone"},
    ]


async def test_a_child_trie_and_an_empty_question_have_no_items(
    world: World, client: Client
) -> None:
    ident = await client.follow()
    at = hexed(world.chain.genesis_hash)
    done = [{"event": "operationStorageDone"}]
    query = [{"key": hexed(b"a"), "type": "value"}]
    assert await client.operation(ident, "storage", at, query, "0x1234") == done
    assert await client.operation(ident, "storage", at, [], None) == done
    assert await client.operation(ident, "storage", at, query) != done


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("Nothing_here", "Exported method Nothing_here is not found"),
        ("Echo_picky", "one byte is missing"),
        ("Echo_bug", "internal error"),
    ],
)
async def test_a_failing_call_is_an_error_event(
    world: World, client: Client, function: str, text: str
) -> None:
    ident = await client.follow()
    at = hexed(world.chain.genesis_hash)
    (told,) = await client.operation(ident, "call", at, function, "0x00")
    assert told["event"] == "operationError"
    assert text in told["error"]


async def test_blocks_are_read_while_they_are_pinned_and_refused_afterwards(
    world: World, client: Client
) -> None:
    ident = await client.follow()
    genesis, block = hexed(world.chain.genesis_hash), hexed(await world.extend())
    await client.until(ident, "bestBlockChanged")
    assert await client.refusal("header", ident, NOWHERE) == -32801
    assert await client.refusal("unpin", ident, [genesis, NOWHERE]) == -32801
    assert await client.refusal("unpin", ident, [genesis, genesis]) == -32804
    assert await client.result("header", ident, genesis) is not None
    assert await client.result("unpin", ident, [genesis, block]) is None
    assert await client.result("unpin", ident, []) is None
    for method, *more in (("header",), ("body",), ("call", "x", ""), ("storage", [], None)):
        assert await client.refusal(method, ident, genesis, *more) == -32801
    assert await client.refusal("unpin", ident, genesis) == -32801


async def test_an_ended_follow_answers_null_and_limit_reached(
    world: World, client: Client, other: Client
) -> None:
    ident, at = await client.follow(), hexed(world.chain.genesis_hash)
    limit = {"result": "limitReached"}
    for asking, followed in ((other, ident), (client, "nobody")):
        assert await asking.result("header", followed, at) is None
        assert await asking.result("body", followed, at) == limit
        assert await asking.result("call", followed, at, "Echo_echo", "") == limit
        assert await asking.result("storage", followed, at, [], None) == limit
        for method, param in (("continue", "x"), ("stopOperation", "x"), ("unpin", at)):
            assert await asking.result(method, followed, param) is None
        assert await asking.result("unfollow", followed) is None
    assert await client.result("header", ident, at) is not None
    assert await client.result("unfollow", ident) is None
    assert await client.result("header", ident, at) is None


async def test_a_connection_may_follow_four_times(
    world: World, client: Client, other: Client
) -> None:
    idents = [await client.follow() for _ in range(4)]
    assert await client.refusal("follow", True) == -32800
    assert await other.follow()
    await client.result("unfollow", idents[0])
    assert await client.follow(with_runtime=False)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("follow", []),
        ("follow", ["yes"]),
        ("follow", [1]),
        ("header", []),
        ("header", ["x", "0x12"]),
        ("header", [7, NOWHERE]),
        ("unpin", ["x", 7]),
        ("unpin", ["x", ["0x12"]]),
        ("unpin", ["x", [NOWHERE] * 5000]),
        ("call", ["x", NOWHERE, 7, "0x"]),
        ("call", ["x", NOWHERE, "Core_version", "0xabc"]),
        ("storage", ["x", NOWHERE, {}, None]),
        ("storage", ["x", NOWHERE, [{"key": "0x"}], None]),
        ("storage", ["x", NOWHERE, [{"key": "0x", "type": "all"}], None]),
        ("storage", ["x", NOWHERE, [], 7]),
        ("unfollow", []),
        ("continue", ["x"]),
        ("stopOperation", ["x", {}]),
        ("body", ["x", NOWHERE, "more"]),
    ],
)
async def test_malformed_parameters_are_refused(
    client: Client, method: str, params: list[object]
) -> None:
    assert await client.refusal(method, *params) == -32602


async def test_states_of_pruned_forks_and_of_old_blocks_stay_readable_while_pinned(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = await start(tmp_path / "small", nursery, pruning=Pruning(1, 1))
    async with world.connect() as socket:
        client = Client(socket)
        ident = await client.follow()
        genesis = world.chain.genesis_hash
        dead = await world.grow(genesis, put(b"k", b"dead"))
        deader = await world.grow(dead, put(b"j", b"deader"))
        final = await world.grow(genesis, put(b"k", b"final"))
        world.chain.set_best(final)
        await world.chain.finalize(final, b"proof")
        for number in range(5):
            await world.extend_final(put(b"k", b"later%d" % number))
        for block, expected in ((dead, b"dead"), (deader, b"dead"), (final, b"final")):
            assert await client.operation(
                ident, "call", hexed(block), "Echo_read", hexed(b"k")
            ) == [{"event": "operationCallDone", "output": hexed(expected)}]
            (body,) = await client.operation(ident, "body", hexed(block))
            assert len(body["value"]) == 2
        query = [{"key": "0x", "type": "descendantsValues"}]
        told = await client.operation(ident, "storage", hexed(deader), query, None)
        items = {item["key"]: item["value"] for item in told[0]["items"]}
        assert items[hexed(b"k")] == hexed(b"dead")
        assert items[hexed(b"j")] == hexed(b"deader")
        await client.result("unpin", ident, [hexed(h) for h in (genesis, dead, deader, final)])
        assert await client.refusal("header", ident, hexed(dead)) == -32801
    world.chain.close()


async def test_an_operation_outlives_the_pin_it_began_with(world: World, client: Client) -> None:
    ident, at = await client.follow(), hexed(world.chain.genesis_hash)
    query = [{"key": "0x", "type": "descendantsValues"}]
    started = await client.result("storage", ident, at, query, None)
    await client.result("unpin", ident, at)
    told = await client.until(ident, "operationStorageDone")
    assert [event["operationId"] for event in told[-2:]] == [started["operationId"]] * 2


async def test_a_fetched_state_ends_every_follow_and_new_ones_start_behind_it(
    world: World, client: Client, other: Client, tmp_path: Path
) -> None:
    idents = [await client.follow(), await other.follow(with_runtime=False)]
    ahead = Chain.open(tmp_path / "ahead", TinyGenesis(), HeadRuntime(), Pruning())
    for number in range(1, 6):
        built = await ahead.build(
            ahead.best().hash, timestamp=number, digest=(), candidates=(), full=lambda: False
        )
        ahead.set_best((await ahead.execute(built.block)).hash)
        await ahead.finalize(ahead.best().hash, b"proof")
    staging = world.chain.staging()
    staging.begin(b"trust")
    block = ahead.block(ahead.best().hash)
    assert block is not None
    staging.set_target(Target(block, b"proof"))
    staging.put_range(list(ahead.best_state().iterate(b"")), None)
    await world.extend()
    await world.chain.adopt()
    for asking, ident in zip((client, other), idents, strict=True):
        assert (await asking.until(ident, "stop"))[-1] == {"event": "stop"}
        assert await asking.result("header", ident, hexed(world.chain.genesis_hash)) is None
    told = await client.until(await client.follow(), "bestBlockChanged")
    assert told[0]["finalizedBlockHashes"] == [hexed(block.header.hash())]
    assert told[1:] == [{"event": "bestBlockChanged", "bestBlockHash": hexed(block.header.hash())}]
    ahead.close()


async def test_what_the_chain_specification_says_is_answered(world: World, client: Client) -> None:
    for name, expected in (
        ("chainName", "Tiny"),
        ("genesisHash", hexed(world.chain.genesis_hash)),
        ("properties", {"ss58Format": 42, "tokenSymbol": "TINY", "tokenDecimals": 12}),
    ):
        assert (await client.ask(f"chainSpec_v1_{name}"))["result"] == expected


async def test_only_names_of_version_one_are_listed(client: Client) -> None:
    listed = (await client.ask("rpc_methods"))["result"]["methods"]
    mine = [name for name in listed if name.startswith(("chainHead", "chainSpec"))]
    assert len(mine) == 12
    assert all(name.split("_")[1] == "v1" for name in mine)


def new(block: bytes, parent: bytes, **more: object) -> object:
    return {
        "event": "newBlock",
        "blockHash": hexed(block),
        "parentBlockHash": hexed(parent),
        "newRuntime": None,
    } | more
