"""The past of a chain that began with a fetched state is filled in while it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from consensus.core.messages import (
    Blocks,
    BlocksRequest,
    Headers,
    HeadersRequest,
    decode_request,
    decode_response,
    encode_response,
)
from node.chain import Chain
from node.errors import NodeError
from node.storage.layout import BODY, BOUNDARY, CANONICAL, EXTRINSIC, HEADER, PROOF
from node.storage.pruning import Pruning
from node.sync.backfill import Backfill
from node.sync.snapshot import SnapshotSync
from node.sync.trail import Checkpoint, Trust
from tests.node.sync.world import Peer, Peers, Source, columns, honest, open_chain
from tests.node.tiny_runtime import put
from tests.patience import PATIENCE


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.sync.backfill.MAX_HEADERS", 4)
    monkeypatch.setattr("node.sync.backfill.MAX_BODIES", 3)


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Source]:
    source = Source(open_chain(tmp_path / "source"), keys_per_block=4)
    await source.grow(22)
    yield source
    source.chain.close()


async def synced(
    source: Source, path: Path, pruning: Pruning | None = None, trust: Trust | None = None
) -> Chain:
    chain = open_chain(path, pruning)
    peers = Peers({"a": Peer(source.chain)})
    assert await SnapshotSync(chain, peers, trust or source.trust(), pause=0.01).run()
    return chain


def backfill(chain: Chain, peers: Peers, source: Source) -> Backfill:
    return Backfill(chain, peers, source.trust(), pause=0.01)


def past(chain: Chain, last: int) -> dict[bytes, bytes]:
    """Everything about blocks up to a number."""
    hashes = [chain.block_hash(n) for n in range(last + 1)]
    kept = columns(chain, HEADER, BODY, CANONICAL, BOUNDARY, EXTRINSIC)
    return {k: v for k, v in kept.items() if v[:32] in hashes or k[1:] in hashes}


@pytest.mark.parametrize("epoch", [None, 2])
async def test_everything_of_the_past_but_its_states_is_filled_in(
    source: Source, tmp_path: Path, epoch: int | None
) -> None:
    end = None if epoch is None else source.chain.boundary(epoch)
    trust = source.trust(None if end is None or epoch is None else Checkpoint(epoch, end))
    chain = await synced(source, tmp_path / "fresh", trust=trust)
    number = chain.finalized().number
    assert chain.is_backfilling
    assert chain.block_hash(3) is None
    peers = Peers({"a": Peer(source.chain), "b": Peer(source.chain)})
    machine = backfill(chain, peers, source)
    await machine.run()
    assert peers.penalties == []
    assert past(chain, number) == past(source.chain, number)
    ends = {chain.boundary(e) for e in range(4)}
    assert None not in ends
    assert {key[1:] for key in columns(chain, PROOF)} == ends | {chain.finalized().hash}
    assert (chain.kept.bodies, chain.kept.headers) == (0, 0)
    assert chain.latest_proven() is not None
    assert machine.status() == ("the past is complete (headers from block 0, bodies from block 0)")
    chain.close()
    chain = open_chain(tmp_path / "fresh")
    assert not chain.is_backfilling
    peers = Peers({})
    await backfill(chain, peers, source).run()
    assert peers.requests == 0
    chain.close()


async def test_bodies_are_filled_in_to_the_horizon_of_the_pruning_only(
    source: Source, tmp_path: Path
) -> None:
    chain = await synced(source, tmp_path / "fresh", Pruning(4, 7))
    await backfill(chain, Peers({"a": Peer(source.chain)}), source).run()
    number = chain.finalized().number
    assert (chain.kept.bodies, chain.kept.headers) == (number - 6, 0)
    for n in range(1, number + 1):
        block_hash = chain.block_hash(n)
        assert block_hash is not None and chain.header(block_hash) is not None
        assert (chain.block(block_hash) is not None) == (n >= number - 6)
    chain.close()


async def test_a_kill_before_any_request_is_survived(source: Source, tmp_path: Path) -> None:
    chain = await synced(source, tmp_path / "fresh")
    number = chain.finalized().number

    class Killed(Exception):
        pass

    def kill(count: int) -> None:
        if count > 1:
            raise Killed

    rounds = 0
    while chain.is_backfilling:
        rounds += 1
        try:
            await backfill(chain, Peers({"a": Peer(source.chain)}, before=kill), source).run()
        except Killed:
            chain.close()
            chain = open_chain(tmp_path / "fresh")
    assert rounds > 10
    assert past(chain, number) == past(source.chain, number)
    chain.close()


async def test_the_chain_goes_on_and_prunes_while_its_past_is_filled_in(
    source: Source, tmp_path: Path
) -> None:
    chain = await synced(source, tmp_path / "fresh", Pruning(3, 9))

    async def follow(count: int) -> None:
        await source.grow(count)
        for number in range(chain.finalized().number + 1, source.chain.finalized().number + 1):
            block_hash = source.chain.block_hash(number)
            block = None if block_hash is None else source.chain.block(block_hash)
            assert block is not None
            await chain.execute(block)
            await chain.finalize(block.header.hash(), None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(backfill(chain, Peers({"a": Peer(source.chain)}), source).run)
        await follow(20)
    last = chain.finalized().number
    assert chain.kept.headers == 0
    assert chain.kept.bodies == last - 8
    for n in range(1, last + 1):
        block_hash = chain.block_hash(n)
        assert block_hash is not None
        assert (chain.block(block_hash) is not None) == (n >= last - 8)
    assert {place[:32] for place in columns(chain, EXTRINSIC).values()} <= {
        chain.block_hash(n) for n in range(last - 8, last + 1)
    }
    chain.close()


def forged_headers(data: bytes, answer: bytes) -> bytes:
    response = decode_response(answer)
    if not isinstance(response, Headers):
        return answer
    first = replace(response.headers[0], state_root=b"\1" * 32)
    return encode_response(Headers((first, *response.headers[1:])))


def other_bodies(data: bytes, answer: bytes) -> bytes:
    response = decode_response(answer)
    if not isinstance(response, Blocks):
        return answer
    first = replace(response.blocks[0], extrinsics=(put(b"forged", b"1"),))
    return encode_response(Blocks((first, *response.blocks[1:])))


def other_blocks(data: bytes, answer: bytes) -> bytes:
    response = decode_response(answer)
    if not isinstance(response, Blocks):
        return answer
    return encode_response(Blocks(response.blocks[::-1]))


def other_kind(data: bytes, answer: bytes) -> bytes:
    headers = isinstance(decode_request(data), HeadersRequest)
    return encode_response(Blocks(()) if headers else Headers(()))


@pytest.mark.parametrize("lie", [forged_headers, other_bodies, other_blocks, other_kind])
async def test_who_lies_about_the_past_is_reported(
    source: Source, tmp_path: Path, lie: Callable[[bytes, bytes], bytes]
) -> None:
    chain = await synced(source, tmp_path / "fresh")
    number = chain.finalized().number

    def answer(chain: Chain, data: bytes) -> bytes | None:
        told = honest(chain, data)
        return None if told is None else lie(data, told)

    liar = Peer(source.chain, answer)
    peers = Peers({"a": liar, "b": Peer(source.chain), "c": liar})
    await backfill(chain, peers, source).run()
    assert sorted((peer, why) for peer, why, _ in peers.penalties) == [
        ("a", "INVALID"),
        ("c", "INVALID"),
    ]
    assert past(chain, number) == past(source.chain, number)
    chain.close()


async def test_peers_that_lack_the_past_are_waited_for_and_not_blamed(
    source: Source, tmp_path: Path
) -> None:
    chain = await synced(source, tmp_path / "fresh")

    def without_bodies(chain: Chain, data: bytes) -> bytes | None:
        if isinstance(decode_request(data), BlocksRequest):
            return encode_response(Blocks(()))
        return honest(chain, data)

    peers = Peers({"a": Peer(source.chain, without_bodies)})
    machine = backfill(chain, peers, source)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.run)
        with trio.fail_after(PATIENCE):
            while "waiting for a peer with the body" not in machine.status():
                await trio.sleep(0.01)
        peers.peers["b"] = Peer(source.chain)
    assert peers.penalties == []
    assert chain.kept.bodies == 0
    chain.close()


async def test_a_past_with_another_genesis_is_told(source: Source, tmp_path: Path) -> None:
    chain = await synced(source, tmp_path / "fresh")
    chain.genesis_hash = b"\1" * 32
    with pytest.raises(NodeError, match="another genesis"):
        await backfill(chain, Peers({"a": Peer(source.chain)}), source).run()
    chain.close()
