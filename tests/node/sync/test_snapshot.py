"""A fresh node begins with a proven state and is then like one that executed every block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from consensus.core.messages import (
    Blocks,
    EpochProofs,
    EpochProofsRequest,
    Finality,
    FinalityRequest,
    decode_request,
    decode_response,
    encode_response,
)
from consensus.core.votes import decode_certificate
from node.chain import Chain
from node.errors import StatePruned
from node.storage.layout import STAGED
from node.storage.pruning import Pruning
from node.sync import messages
from node.sync.messages import (
    StateGone,
    StateRange,
    decode_state_response,
    encode_state_response,
)
from node.sync.serving import StateServer, answer_state
from node.sync.snapshot import SnapshotSync
from node.sync.trail import Checkpoint
from runtime.state.trie import build
from tests.node.sync.world import (
    Peer,
    Peers,
    Source,
    assert_same_head,
    columns,
    honest,
    node_counts,
    open_chain,
)
from tests.patience import PATIENCE


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.sync.serving.RANGE_BYTES", 2000)


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Source]:
    source = Source(open_chain(tmp_path / "source"))
    await source.grow(23)
    yield source
    source.chain.close()


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[Chain]:
    chain = open_chain(tmp_path / "fresh")
    yield chain
    chain.close()


def sync(chain: Chain, peers: Peers, source: Source, **options: object) -> SnapshotSync:
    checkpoint = options.get("checkpoint")
    assert checkpoint is None or isinstance(checkpoint, Checkpoint)
    return SnapshotSync(chain, peers, source.trust(checkpoint), pause=0.01)


def proven(source: Source) -> int:
    found = source.chain.latest_proven()
    assert found is not None
    return found[0].number


async def test_a_fresh_node_takes_over_the_state_and_goes_on_like_the_others(
    source: Source, fresh: Chain
) -> None:
    await source.grow(proven(source) != source.chain.finalized().number)
    peers = Peers({"a": Peer(source.chain), "b": Peer(source.chain)})
    events = fresh.subscribe()
    machine = sync(fresh, peers, source)
    assert await machine.run()
    assert peers.penalties == []
    assert all(peer.asked > 5 for peer in peers.peers.values())
    assert_same_head(fresh, source.chain)
    head = fresh.finalized()
    assert fresh.best() == head
    assert [type(events.receive_nowait()).__name__ for _ in range(2)] == [
        "BestChanged",
        "Finalized",
    ]
    assert fresh.latest_proven() == source.chain.latest_proven()
    assert [fresh.boundary(e) for e in range(6)] == [source.chain.boundary(e) for e in range(6)]
    for epoch in range(4):
        end = fresh.boundary(epoch)
        assert end is not None
        assert fresh.justification(end) == source.chain.justification(end) is not None
    assert node_counts(fresh) == {
        name: count
        for name, (_, count) in build(dict(fresh.state_at(head.hash).iterate(b""))).inserted.items()
    }
    assert columns(fresh, STAGED) == {}
    with pytest.raises(StatePruned, match=f"that of block {head.number}"):
        fresh.state_at(fresh.genesis_hash)
    assert "100.0 %" in machine.status()


async def test_later_blocks_are_executed_finalised_and_pruned_on_top(
    source: Source, tmp_path: Path
) -> None:
    chain = open_chain(tmp_path / "window", Pruning(3, 2))
    await sync(chain, Peers({"a": Peer(source.chain)}), source).run()
    start = chain.finalized().number
    await source.grow(14)
    for number in range(start + 1, source.chain.finalized().number + 1):
        block_hash = source.chain.block_hash(number)
        assert block_hash is not None
        block = source.chain.block(block_hash)
        assert block is not None
        await chain.execute(block)
        await chain.finalize(block_hash, source.chain.justification(block_hash))
    assert_same_head(chain, source.chain)
    last = chain.finalized().number
    assert (chain.kept.states, chain.kept.bodies) == (last - 2, last - 1)
    chain.close()
    chain = open_chain(tmp_path / "window", Pruning(1, 2))
    await source.grow(1)
    block = source.chain.block(source.chain.finalized().hash)
    assert block is not None
    await chain.execute(block)
    await chain.finalize(block.header.hash(), None)
    state = dict(chain.state_at(block.header.hash()).iterate(b""))
    assert node_counts(chain) == {h: n for h, (_, n) in build(state).inserted.items()}
    assert_same_head(chain, source.chain)
    chain.close()


async def test_from_a_checkpoint_only_later_epochs_are_asked_for(
    source: Source, fresh: Chain
) -> None:
    end = source.chain.boundary(2)
    assert end is not None
    asked: list[int] = []

    def answer(chain: Chain, data: bytes) -> bytes | None:
        request = decode_request(data)
        if isinstance(request, EpochProofsRequest):
            asked.append(request.first)
        return honest(chain, data)

    peers = Peers({"a": Peer(source.chain, answer)})
    assert await sync(fresh, peers, source, checkpoint=Checkpoint(2, end)).run()
    assert asked[0] == 2 and asked[1] == 3 and min(asked) == 2
    assert fresh.finalized().number == proven(source)
    assert fresh.boundary(2) == end
    assert fresh.justification(end) is None
    assert fresh.boundary(1) is None


async def test_nobody_is_blamed_for_a_checkpoint_that_is_wrong(
    source: Source, fresh: Chain
) -> None:
    peers = Peers({"a": Peer(source.chain)})
    machine = sync(fresh, peers, source, checkpoint=Checkpoint(2, b"\1" * 32))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.run)
        with trio.fail_after(PATIENCE):
            while peers.requests < 5 or "checkpoint" not in machine.status():
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert peers.penalties == []
    assert fresh.finalized().number == 0


def test_a_checkpoint_is_read_from_its_text() -> None:
    assert Checkpoint.parse("12:0x" + "ab" * 32) == Checkpoint(12, b"\xab" * 32)
    for text in ("", "12", "x:" + "ab" * 32, "1:ab", "-1:" + "ab" * 32, "1:" + "zz" * 32):
        with pytest.raises(ValueError):
            Checkpoint.parse(text)


async def test_a_network_without_final_blocks_has_nothing_to_fetch(tmp_path: Path) -> None:
    source = Source(open_chain(tmp_path / "source"))
    chain = open_chain(tmp_path / "fresh")
    assert not await sync(chain, Peers({"a": Peer(source.chain)}), source).run()
    assert chain.finalized().number == 0
    source.chain.close()
    chain.close()


async def test_a_chain_that_has_final_blocks_is_left_alone(source: Source) -> None:
    peers = Peers({"a": Peer(source.chain)})
    assert not await sync(source.chain, peers, source).run()
    assert peers.requests == 0


Lie = Callable[[Source, Chain, bytes], bytes | None]


def lying_epochs(source: Source, chain: Chain, data: bytes) -> bytes | None:
    """Replace the validators that an epoch's end announces; its certificate is of another."""
    answer = honest(chain, data)
    if not isinstance(decode_request(data), EpochProofsRequest) or answer is None:
        return answer
    response = decode_response(answer)
    assert isinstance(response, EpochProofs)
    if not response.proofs:
        return answer
    first = response.proofs[0]
    forged = replace(first, header=replace(first.header, state_root=b"\1" * 32))
    return encode_response(EpochProofs((forged, *response.proofs[1:])))


def too_few_signers(source: Source, chain: Chain, data: bytes) -> bytes | None:
    request = decode_request(data)
    found = chain.latest_proven()
    if not isinstance(request, FinalityRequest) or found is None:
        return honest(chain, data)
    proof = source.proof(found[0].hash(), found[0].number, signers=(0, 1))
    answer = decode_response(honest(chain, data) or b"")
    assert isinstance(answer, Finality) and answer.proof is not None
    forged = replace(answer.proof, certificate=decode_certificate(proof))
    return encode_response(Finality(forged))


def another_answer(source: Source, chain: Chain, data: bytes) -> bytes | None:
    return encode_response(Blocks(()))


def no_message(source: Source, chain: Chain, data: bytes) -> bytes | None:
    return b"\xff\xff\xff"


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (lying_epochs, "INVALID"),
        (too_few_signers, "INVALID"),
        (another_answer, "INVALID"),
        (no_message, "MALFORMED"),
    ],
)
async def test_who_lies_about_finality_is_reported_and_not_asked_again(
    source: Source, fresh: Chain, lie: Lie, reason: str
) -> None:
    liar = Peer(source.chain, lambda chain, data: lie(source, chain, data))
    peers = Peers({"a": liar, "b": liar, "c": Peer(source.chain)})
    assert await sync(fresh, peers, source).run()
    blamed = [(peer, why) for peer, why, _ in peers.penalties]
    assert blamed in (
        [("b", reason)],
        [("b", reason), ("a", reason)],
        [("a", reason), ("b", reason)],
    )
    assert fresh.finalized().number == proven(source)


def alter(nodes: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return (*nodes[:-1], nodes[-1][:-1] + bytes([nodes[-1][-1] ^ 1]))


@pytest.mark.parametrize(
    "lie",
    [
        alter,
        lambda nodes: nodes[:1] + nodes[2:],
        lambda nodes: (*nodes, b"more"),
        lambda nodes: (),
        lambda nodes: nodes[::-1],
    ],
)
async def test_who_lies_about_the_state_is_reported_and_not_asked_again(
    source: Source, fresh: Chain, lie: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
) -> None:
    def answer(chain: Chain, data: bytes) -> bytes | None:
        response = decode_state_response(answer_state(chain, data) or b"")
        assert isinstance(response, StateRange)
        return encode_state_response(StateRange(lie(response.nodes)))

    liar = Peer(source.chain, state=answer)
    peers = Peers({"a": liar, "b": Peer(source.chain), "c": liar})
    assert await sync(fresh, peers, source).run()
    assert sorted((peer, why) for peer, why, _ in peers.penalties) == [
        ("a", "INVALID"),
        ("c", "INVALID"),
    ]
    head = fresh.finalized().hash
    assert build(dict(fresh.state_at(head).iterate(b""))).root == fresh.state_at(head).root


async def test_an_old_block_is_not_taken_where_others_prove_a_newer_one(
    source: Source, tmp_path: Path, fresh: Chain
) -> None:
    behind = Source(open_chain(tmp_path / "behind"))
    await behind.grow(12)
    peers = Peers({"a": Peer(behind.chain), "b": Peer(source.chain), "c": Peer(behind.chain)})
    assert await sync(fresh, peers, source).run()
    assert fresh.finalized().number == proven(source)
    assert peers.penalties == []
    behind.chain.close()


async def test_an_end_of_an_epoch_beyond_the_fetched_block_is_not_taken_for_final(
    source: Source, tmp_path: Path, fresh: Chain
) -> None:
    behind = Source(open_chain(tmp_path / "behind"))
    await behind.grow(18)

    def ends_only(chain: Chain, data: bytes) -> bytes | None:
        return honest(chain, data) if isinstance(decode_request(data), EpochProofsRequest) else None

    peers = Peers({"a": Peer(behind.chain), "b": Peer(source.chain, ends_only, lambda *_: None)})
    assert await sync(fresh, peers, source).run()
    start = fresh.finalized().number
    assert start == proven(behind)
    assert fresh.boundary(2) is not None and fresh.boundary(3) is None
    for number in range(start + 1, 24):
        block_hash = source.chain.block_hash(number)
        assert block_hash is not None and not fresh.executed(block_hash)
        block = source.chain.block(block_hash)
        assert block is not None
        await fresh.execute(block)
        await fresh.finalize(block_hash, source.chain.justification(block_hash))
    assert_same_head(fresh, source.chain)
    assert fresh.boundary(3) == source.chain.boundary(3)
    behind.chain.close()


async def test_peers_are_served_one_at_a_time(source: Source) -> None:
    server = StateServer(source.chain)
    head = source.chain.finalized().hash
    request = messages.encode_state_request(messages.StateRequest(head, b""))
    answers: list[bytes | None] = []

    async def ask() -> None:
        answers.append(await server.answer("peer", request))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask)
    assert answers == [answer_state(source.chain, request)] * 4
    assert await server.answer("peer", b"garbage") is None


async def test_when_all_peers_have_pruned_the_state_a_newer_one_is_fetched(
    source: Source, fresh: Chain
) -> None:
    old = proven(source)
    grown = trio.Event()

    def answer(chain: Chain, data: bytes) -> bytes | None:
        if source.chain.finalized().number < 30 and peers.requests > 12:
            grown.set()
            return encode_state_response(StateGone(5))
        return answer_state(chain, data)

    peers = Peers({"a": Peer(source.chain, state=answer), "b": Peer(source.chain, state=answer)})
    machine = sync(fresh, peers, source)

    async def grow() -> None:
        await grown.wait()
        await source.grow(12)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(grow)
        assert await machine.run()
    assert fresh.finalized().number > old
    head = fresh.finalized().hash
    assert dict(fresh.state_at(head).iterate(b"")) == dict(source.chain.state_at(head).iterate(b""))
    assert peers.penalties == []


async def test_one_peer_that_has_the_state_is_enough(source: Source, fresh: Chain) -> None:
    gone = Peer(source.chain, state=lambda *_: encode_state_response(StateGone(30)))
    silent = Peer(source.chain, lambda *_: None, lambda *_: None)
    peers = Peers({"a": gone, "b": Peer(source.chain), "c": gone, "d": silent})
    assert await sync(fresh, peers, source).run()
    assert fresh.finalized().number == proven(source)
    assert peers.penalties == []


async def test_without_peers_it_says_what_it_waits_for_and_goes_on_when_they_come(
    source: Source, fresh: Chain
) -> None:
    peers = Peers({})
    machine = sync(fresh, peers, source)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.run)
        waits = "waiting for a peer with a proven block (0 peers, 0.0 % of the state)"
        with trio.fail_after(PATIENCE):
            while machine.status() != waits:
                await trio.sleep(0.01)
        peers.peers["a"] = Peer(source.chain)
    assert fresh.finalized().number == proven(source)


async def test_an_answer_about_a_state_keeps_below_a_mebibyte(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.sync.serving.RANGE_BYTES", messages.RANGE_BYTES)
    source.keys_per_block = 11_000
    await source.grow(1)
    head = source.chain.finalized().hash
    request = messages.encode_state_request(messages.StateRequest(head, b""))
    answer = answer_state(source.chain, request)
    assert answer is not None
    assert 900_000 < len(answer) <= 1 << 20


async def test_questions_that_make_no_sense_are_not_answered(source: Source) -> None:
    head = source.chain.finalized().hash
    too_long = messages.encode_state_request(messages.StateRequest(head, b"k" * 257))
    assert answer_state(source.chain, too_long) is None
    assert answer_state(source.chain, b"") is None
    unknown = messages.encode_state_request(messages.StateRequest(b"\1" * 32, b""))
    answer = answer_state(source.chain, unknown)
    assert answer is not None
    assert decode_state_response(answer) == StateGone(source.chain.kept.states)
    pruned = messages.encode_state_request(messages.StateRequest(source.chain.genesis_hash, b""))
    assert answer_state(source.chain, pruned) == answer
