"""The exchange's parts: messages, lists of chunks, claims, turns, the server, the RPC."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.blob_exchange_claims import Claims
from node.blob_exchange_lists import (
    ChunkLists,
    chunk_length,
    count_chunks,
    hash_chunks,
    join_hashes,
    split_hashes,
)
from node.blob_exchange_messages import (
    AnswerReason,
    BlobAnswer,
    BlobRequest,
    Chunk,
    ChunkList,
    ChunkRequest,
    ListRequest,
    Refused,
    decode_blob_answer,
    decode_blob_request,
    encode_blob_answer,
    encode_blob_request,
)
from node.blob_exchange_pace import Pace
from node.blob_exchange_wanted import Wanted, WantedBlobs
from node.blobs import CHUNK_BYTES
from node.declarations import Declaration
from node.network.interface import Offence, RequestKind
from node.rpc.backend import Backend
from node.rpc.dispatch import LengthyMethod
from node.rpc.errors import RpcError
from node.rpc.methods.blobs import blob_methods
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import DecodeError
from tests.node.blob_exchange_world import Node, World, blob_of

MIB = 1 << 20
names = st.binary(min_size=32, max_size=32)


@given(names, st.integers(0, 2**32 - 1), st.binary(max_size=200), st.integers(0, 255))
def test_messages_survive_the_wire(name: bytes, index: int, data: bytes, reason: int) -> None:
    requests: list[BlobRequest] = [ListRequest(name), ChunkRequest(name, index)]
    for request in requests:
        assert decode_blob_request(encode_blob_request(request)) == request
    answers: list[BlobAnswer] = [ChunkList(data), Chunk(data), Refused(reason)]
    for answer in answers:
        assert decode_blob_answer(encode_blob_answer(answer)) == answer


def test_the_bytes_on_the_wire_stay_what_they_are() -> None:
    name = bytes(range(32))
    assert encode_blob_request(ListRequest(name)) == b"\0" + name
    assert encode_blob_request(ChunkRequest(name, 258)) == b"\1" + name + b"\2\1\0\0"
    assert encode_blob_answer(ChunkList(b"ab")) == b"\0\x08ab"
    assert encode_blob_answer(Chunk(b"ab")) == b"\1\x08ab"
    assert encode_blob_answer(Refused(AnswerReason.BUSY)) == b"\2\3"


@given(st.binary(max_size=80))
def test_garbage_is_refused_as_such_or_is_a_message(data: bytes) -> None:
    for decode, encode in (
        (decode_blob_request, encode_blob_request),
        (decode_blob_answer, encode_blob_answer),
    ):
        try:
            message = cast(Any, decode)(data)
        except DecodeError:
            continue
        assert cast(Any, encode)(message) == data


@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    size=st.integers(1, 3 * MIB) | st.sampled_from([MIB - 1, MIB, MIB + 1, 2 * MIB]),
    data=st.data(),
)
def test_a_chunk_list_names_exactly_the_chunk_that_differs(
    tmp_path: Path, size: int, data: st.DataObject
) -> None:
    blob = blob_of(size)
    file = tmp_path / "blob"
    file.write_bytes(blob)
    hashes = tuple(hash_chunks(file))
    assert len(hashes) == count_chunks(size)
    assert sum(chunk_length(size, i) for i in range(len(hashes))) == size
    assert split_hashes(join_hashes(hashes), size) == hashes
    assert split_hashes(join_hashes(hashes), size + MIB) is None
    at = data.draw(st.integers(0, size - 1))
    file.write_bytes(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])
    changed = [i for i, (a, b) in enumerate(zip(hash_chunks(file), hashes, strict=True)) if a != b]
    assert changed == [at // MIB]
    for i, digest in enumerate(hashes):
        chunk = blob[i * MIB : i * MIB + chunk_length(size, i)]
        assert hashlib.blake2b(chunk, digest_size=32).digest() == digest


def test_a_list_is_made_once_and_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    blob = blob_of(2 * MIB)
    name = world.chain.declare(blob)
    node = world.node("node", blob)
    right = tuple(blake2_256(blob[at : at + MIB]) for at in (0, MIB))
    assert ChunkLists(node.store).load(name) == right
    kept = tmp_path / "node" / "lists" / name.hex()
    made = kept.stat().st_mtime_ns
    assert ChunkLists(node.store).load(name) == right
    assert kept.stat().st_mtime_ns == made
    kept.write_bytes(bytes(96))
    assert ChunkLists(node.store).load(name) == right
    assert ChunkLists(node.store).load(bytes(32)) is None
    world.chain.sizes.clear()
    node.store.collect()
    assert not kept.exists()


lists = st.lists(st.sampled_from([b"a" * 32, b"b" * 32]), min_size=3, max_size=3).map(tuple)


@given(st.dictionaries(st.text(max_size=3), lists, max_size=6))
def test_a_peer_is_asked_only_for_what_its_own_list_names(
    told: dict[str, tuple[bytes, ...]],
) -> None:
    claims = Claims()
    for peer, hashes in told.items():
        claims.add(peer, hashes)
    tried = []
    while (best := claims.best()) is not None:
        tellers = claims.tellers(best)
        assert len(tellers) == max(len(claims.tellers(hashes)) for hashes in told.values())
        for index in range(3):
            holders = claims.holders(index, best[index])
            assert set(tellers) <= set(holders)
            assert all(told[peer][index] == best[index] for peer in holders)
        for peer in tellers:
            assert claims.remove(peer)
        assert best not in tried
        tried.append(best)
    assert set(tried) == set(told.values())


def declaration(number: int) -> Declaration:
    return Declaration(number.to_bytes(32, "big"), 1)


def number(wanted: Wanted | None) -> int:
    assert wanted is not None
    return int.from_bytes(wanted.declaration.blob, "big")


def test_the_newest_come_first_and_the_oldest_every_fourth_time() -> None:
    queue = WantedBlobs(100, 5, 60)
    for i in range(8):
        assert queue.add(declaration(i))
    assert not queue.add(declaration(3))
    assert [number(queue.take(0)) for _ in range(8)] == [7, 0, 6, 5, 4, 1, 3, 2]
    assert queue.take(0) is None


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_nothing_starves_while_new_ones_keep_coming(steps: list[int]) -> None:
    queue = WantedBlobs(10_000, 1, 1)
    old = set(range(10))
    for i in sorted(old):
        queue.add(declaration(i))
    now, fresh, turns = 0.0, 1000, 0
    failing = iter(steps)
    while old:
        for _ in range(3):
            queue.add(declaration(fresh))
            fresh += 1
        wanted = queue.take(now)
        now += 1
        turns += 1
        assert wanted is not None
        if next(failing, 0) == 1:
            queue.retry(wanted, now)
        else:
            queue.done(wanted)
            old.discard(number(wanted))
        assert turns < 400


def test_failures_wait_twice_as_long_each_time_unless_somebody_new_comes() -> None:
    queue = WantedBlobs(100, 5, 18)
    queue.add(declaration(1))
    now = 0.0
    for delay in (5, 10, 18, 18):
        wanted = queue.take(now)
        assert wanted is not None
        queue.retry(wanted, now)
        assert queue.take(now + delay - 0.1) is None
        now += delay
    wanted = queue.take(now)
    assert wanted is not None
    queue.retry(wanted, now)
    queue.hurry()
    assert queue.take(now) is wanted


def test_what_somebody_waits_for_goes_before_all_and_is_taken_once() -> None:
    queue = WantedBlobs(2, 5, 60)
    for i in range(2):
        queue.add(declaration(i))
    assert not queue.add(declaration(2))
    for i in (2, 0, 2):
        queue.urge(declaration(i))
    taken = queue.take(0, urgent=True)
    assert number(taken) == 2
    queue.urge(declaration(2))
    assert number(queue.take(0)) == 0
    assert queue.take(0, urgent=True) is None
    assert taken is not None
    queue.retry(taken, 0)
    queue.urge(declaration(2))
    assert queue.take(0, urgent=True) is taken
    queue.done(taken)
    assert number(queue.take(100)) == 1
    assert queue.take(1000) is None
    assert declaration(2).blob not in queue


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_no_more_bytes_go_than_the_rate_allows(amounts: list[int]) -> None:
    pace = Pace(1000.0)
    now = gone = 0.0
    for amount in amounts:
        now += pace.reserve(amount, now)
        assert gone <= 1000 * (now + 0.5) + 1e-3
        gone += amount


@pytest.fixture
async def served(tmp_path: Path, nursery: trio.Nursery) -> Node:
    world = World(tmp_path)
    blob = blob_of(MIB + 5)
    world.chain.declare(blob)
    world.chain.declare(b"declared, not here")
    node = world.node("node", blob)
    nursery.start_soon(node.run)
    await trio.testing.wait_all_tasks_blocked()
    return node


async def answer(node: Node, body: bytes) -> BlobAnswer:
    data = await node.network.serve("peer", RequestKind.BLOB, body)
    assert data is not None
    return decode_blob_answer(data)


async def test_the_server_gives_complete_blobs_and_names_its_refusals(served: Node) -> None:
    blob = blob_of(MIB + 5)
    name, other = blake2_256(blob), blake2_256(b"declared, not here")
    served.store.put(other, 0, b"declared")

    async def ask(request: BlobRequest) -> BlobAnswer:
        return await answer(served, encode_blob_request(request))

    hashes = blake2_256(blob[:MIB]) + blake2_256(blob[MIB:])
    assert await ask(ListRequest(name)) == ChunkList(hashes)
    assert await ask(ChunkRequest(name, 0)) == Chunk(blob[:CHUNK_BYTES])
    assert await ask(ChunkRequest(name, 1)) == Chunk(blob[CHUNK_BYTES:])
    for index in (2, 2**32 - 1):
        assert await ask(ChunkRequest(name, index)) == Refused(AnswerReason.RANGE)
    for absent in (other, bytes(32)):
        assert await ask(ListRequest(absent)) == Refused(AnswerReason.ABSENT)
        assert await ask(ChunkRequest(absent, 0)) == Refused(AnswerReason.ABSENT)
    assert not served.network.faults
    assert served.exchange.counters.bytes_served == len(blob)


async def test_garbage_is_answered_by_its_name_and_penalised(served: Node) -> None:
    for body in (b"", b"\0", b"\2" + bytes(32), b"\0" + bytes(33), b"\1" + bytes(35)):
        assert await answer(served, body) == Refused(AnswerReason.MALFORMED)
    assert served.network.faults == [("peer", Offence.MALFORMED)] * 5


async def test_one_peer_gets_few_answers_at_a_time_and_others_theirs(served: Node) -> None:
    request = encode_blob_request(ChunkRequest(blake2_256(blob_of(MIB + 5)), 0))
    answers: list[BlobAnswer] = []

    async def ask(peer: str) -> None:
        data = await served.network.serve(peer, RequestKind.BLOB, request)
        assert data is not None
        answers.append(decode_blob_answer(data))

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(ask, "greedy")
        nursery.start_soon(ask, "modest")
    busy = [told for told in answers if told == Refused(AnswerReason.BUSY)]
    assert len(busy) == 2
    assert len(answers) == 7


async def test_a_worker_that_asks_its_node_gets_a_blob_that_a_peer_holds(served: Node) -> None:
    blob = blob_of(MIB + 5)
    world = World(served.store.root.parent)
    world.links.nodes["node"] = served.network
    world.chain.sizes[blake2_256(blob)] = len(blob)
    world.chain.sizes[bytes(32)] = 7
    asked = world.node("asked")
    backend = Backend(*(cast(Any, None),) * 4, blobs=asked.store, exchange=asked.exchange)
    methods = {method.name: method for method in blob_methods(backend)}
    get = methods["openledger_blob_get"]
    assert isinstance(get, LengthyMethod)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked.run)
        told = await get.call(blake2_256(blob), MIB, 100)
        assert base64.b64decode(told) == blob[MIB:]
        for name, reason in ((bytes(32), "NOBODY"), (b"\1" * 32, "UNDECLARED")):
            with pytest.raises(RpcError) as caught:
                await get.call(name, 0, 100)
            assert str(caught.value.data).startswith(reason)
        nursery.cancel_scope.cancel()
