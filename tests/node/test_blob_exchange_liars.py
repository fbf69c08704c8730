"""One honest peer suffices, whatever the others tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node.blob_exchange_messages import (
    AnswerReason,
    BlobAnswer,
    BlobRequest,
    Chunk,
    ChunkList,
    Refused,
)
from node.blobs import BlobLimits
from node.network.interface import Offence
from tests.node.blob_exchange_world import Behaviour, Node, World, blob_of
from tests.node.thread_clock import clock_beside_threads
from tests.patience import PATIENCE

MIB = 1 << 20
HASH = 32
BLOB = blob_of(3 * MIB + 100)
FAKE = blob_of(len(BLOB), 99)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    return clock_beside_threads(monkeypatch)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def wrong_bytes(request: BlobRequest, answer: BlobAnswer) -> BlobAnswer:
    """Give the right list and wrong chunks."""
    return Chunk(flipped(answer.data, 7)) if isinstance(answer, Chunk) else answer


def short_bytes(request: BlobRequest, answer: BlobAnswer) -> BlobAnswer:
    return Chunk(answer.data[:-1]) if isinstance(answer, Chunk) else answer


def no_chunks(request: BlobRequest, answer: BlobAnswer) -> BlobAnswer:
    """Give a wrong list, then nothing that could be checked against it."""
    if isinstance(answer, ChunkList):
        return ChunkList(flipped(answer.hashes, HASH))
    return Refused(AnswerReason.ABSENT)


def false_list_alone(request: BlobRequest, answer: BlobAnswer) -> BlobAnswer:
    """Give a list that the own chunks contradict."""
    if isinstance(answer, ChunkList):
        return ChunkList(flipped(answer.hashes, 2 * HASH))
    return answer


def busy(request: BlobRequest, answer: BlobAnswer) -> BlobAnswer:
    return Refused(AnswerReason.BUSY)


def busy_with_chunks(request: BlobRequest, answer: BlobAnswer) -> BlobAnswer:
    return answer if isinstance(answer, ChunkList) else Refused(AnswerReason.BUSY)


def unknown_reason(request: BlobRequest, answer: BlobAnswer) -> BlobAnswer:
    return Refused(200)


def silent(request: BlobRequest, answer: BlobAnswer) -> bytes:
    return b"silence"


def silent_with_chunks(request: BlobRequest, answer: BlobAnswer) -> BlobAnswer | bytes:
    return answer if isinstance(answer, ChunkList) else b"silence"


def garbage(request: BlobRequest, answer: BlobAnswer) -> bytes:
    return b"\xff" * 9


def short_list(request: BlobRequest, answer: BlobAnswer) -> BlobAnswer:
    return ChunkList(answer.hashes[HASH:]) if isinstance(answer, ChunkList) else answer


def empty_list(request: BlobRequest, answer: BlobAnswer) -> BlobAnswer:
    return ChunkList(b"")


def swapped(request: BlobRequest, answer: BlobAnswer) -> BlobAnswer:
    """Answer each question with the answer to the other."""
    return Chunk(b"x") if isinstance(answer, ChunkList) else ChunkList(b"x" * HASH)


LIES: list[Behaviour] = [
    wrong_bytes,
    short_bytes,
    no_chunks,
    false_list_alone,
    busy,
    busy_with_chunks,
    unknown_reason,
    silent,
    silent_with_chunks,
    garbage,
    short_list,
    empty_list,
    swapped,
]
PROVEN = (wrong_bytes, short_bytes, false_list_alone, garbage)


def liar(world: World, name: str, behaviour: Behaviour) -> Node:
    node = world.node(name, BLOB)
    node.network.behaviour = behaviour
    return node


def forger(world: World, name: str, forged: bytes) -> Node:
    """Make a node that serves other bytes, consistently, under the blob's name."""
    node = world.node(name, BLOB)
    path = next(node.store.root.glob("[0-9a-f][0-9a-f]/*"))
    path.write_bytes(forged)
    return node


@pytest.mark.parametrize("lie", LIES, ids=[lie.__name__ for lie in LIES])
async def test_a_liar_among_honest_peers_stops_nothing(
    world: World, clock: MockClock, nursery: trio.Nursery, lie: Behaviour
) -> None:
    world.chain.declare(BLOB)
    nodes = [world.node("one", BLOB), liar(world, "liar", lie), world.node("two", BLOB)]
    fetcher = world.node("fetcher")
    for node in (*nodes, fetcher):
        nursery.start_soon(node.run)
    await fetcher.obtains(BLOB)
    assert {peer for peer, _ in fetcher.network.faults} <= {"liar"}


@pytest.mark.parametrize("lie", PROVEN, ids=[lie.__name__ for lie in PROVEN])
async def test_a_proven_lie_is_penalised(
    world: World, clock: MockClock, nursery: trio.Nursery, lie: Behaviour
) -> None:
    world.chain.declare(BLOB)
    fetcher = world.node("fetcher")
    nursery.start_soon(liar(world, "liar", lie).run)
    nursery.start_soon(fetcher.run)
    with trio.fail_after(PATIENCE):
        while not fetcher.network.faults:
            await trio.sleep(0.1)
    assert not fetcher.holds(BLOB)
    offence = Offence.MALFORMED if lie is garbage else Offence.INVALID
    assert fetcher.network.faults == [("liar", offence)]
    nursery.start_soon(world.node("honest", BLOB).run)
    await fetcher.obtains(BLOB)


async def test_one_honest_peer_suffices_against_every_kind_of_liar_at_once(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    world.chain.declare(BLOB)
    nodes = [liar(world, f"liar {lie.__name__}", lie) for lie in LIES]
    nodes += [forger(world, f"forger {i}", FAKE) for i in range(4)]
    nodes += [forger(world, f"lone forger {i}", flipped(BLOB, i * MIB)) for i in range(3)]
    fetcher, honest = world.node("fetcher"), world.node("honest", BLOB)
    for node in (*nodes, fetcher, honest):
        nursery.start_soon(node.run)
    await fetcher.obtains(BLOB)
    assert "honest" not in {peer for peer, _ in fetcher.network.faults}
    assert fetcher.store.used_bytes == len(BLOB)


async def test_peers_that_agree_on_a_lie_are_all_found_out_by_the_whole(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    world.chain.declare(BLOB)
    forgers = [forger(world, f"forger {i}", FAKE) for i in range(5)]
    fetcher, honest = world.node("fetcher"), world.node("honest", BLOB)
    for node in (*forgers, fetcher, honest):
        nursery.start_soon(node.run)
    await fetcher.obtains(BLOB)
    assert set(fetcher.network.faults) == {(f"forger {i}", Offence.INVALID) for i in range(5)}
    assert fetcher.exchange.counters.wrong_lists == 1
    assert fetcher.exchange.counters.wrong_chunks == 0


async def test_chunks_of_a_wrong_list_that_the_right_one_confirms_are_kept(
    world: World, clock: MockClock, nursery: trio.Nursery
) -> None:
    world.chain.declare(BLOB)
    fetcher = world.node("fetcher")
    nursery.start_soon(forger(world, "forger", flipped(BLOB, MIB)).run)
    nursery.start_soon(fetcher.run)
    await trio.sleep(4)
    assert sorted(fetcher.network.chunks_asked()) == [0, 1, 2, 3]
    assert fetcher.network.faults == [("forger", Offence.INVALID)]
    nursery.start_soon(world.node("honest", BLOB).run)
    fetcher.network.asked.clear()
    world.links.nodes.pop("forger")
    await fetcher.obtains(BLOB)
    assert fetcher.network.chunks_asked() == [1]


async def test_liars_use_up_no_room(world: World, clock: MockClock, nursery: trio.Nursery) -> None:
    world.chain.declare(BLOB)
    fetcher = world.node("fetcher", store=BlobLimits(total_bytes=len(BLOB)))
    nursery.start_soon(liar(world, "liar", no_chunks).run)
    nursery.start_soon(fetcher.run)
    await trio.sleep(4)
    assert fetcher.store.used_bytes == 0
    assert not list((fetcher.store.root / "fetches").iterdir())
