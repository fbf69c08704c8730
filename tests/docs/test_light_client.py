"""The light client that `docs/integrators.md` describes, with nothing of the node's own checks."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from genesis.presets import development
from node.cli.session_key import session_key_seed
from node.client.rpc import NodeClient
from node.paths import ChainPaths
from node.rpc.limits import RpcConfig
from node.service import NodeConfig, RunningNode, run_node
from runtime.construct import storage_key
from tests.patience import PATIENCE

Members = list[tuple[bytes, int]]
EPOCH_BLOCKS = 5


class Reader:
    """Reads SCALE."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        self.at += size
        assert self.at <= len(self.data)
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def compact(self) -> int:
        first = self.number(1)
        more = (0, 1, 3)[first & 3]
        return (first | self.number(more) << 8) >> 2

    def members(self) -> Members:
        return [(self.take(32), self.number(8)) for _ in range(self.compact())]


@dataclass(frozen=True)
class Proof:
    """A certificate of finalize votes."""

    kind: int
    epoch: int
    view: int
    parent_view: int
    number: int
    block: bytes
    bitmap: bytes
    signatures: list[bytes]

    @classmethod
    def read(cls, text: str) -> Proof:
        r = Reader(bytes.fromhex(text[2:]))
        head = r.number(1), r.number(8), r.number(8), r.number(8), r.number(4)
        block, bitmap = r.take(32), r.take(r.compact())
        proof = cls(*head, block, bitmap, [r.take(64) for _ in range(r.compact())])
        assert r.at == len(r.data)
        return proof

    def holds(self, genesis: bytes, epoch: int, members: Members) -> bool:
        """Tell whether validators of an epoch made the block final."""
        message = b"open-simplex-vote-v1" + genesis + bytes(4) + bytes([2])
        for value in (self.epoch, self.view, self.parent_view):
            message += value.to_bytes(8, "little")
        message += self.number.to_bytes(4, "little") + self.block
        signers = [m for i, m in enumerate(members) if self.bitmap[i // 8] >> i % 8 & 1]
        try:
            for (key, _), signature in zip(signers, self.signatures, strict=True):
                VerifyKey(key).verify(message, signature)
        except BadSignatureError:
            return False
        enough = 2 * sum(weight for _, weight in members) // 3 + 1
        signed = sum(weight for _, weight in signers)
        return (self.kind, self.epoch) == (2, epoch) and signed >= enough


@dataclass(frozen=True)
class Head:
    """A header: its hash, what it stands on, and the set that it announces."""

    hash: bytes
    parent: bytes
    number: int
    announced: tuple[int, Members] | None

    @classmethod
    def read(cls, text: str) -> Head:
        data = bytes.fromhex(text[2:])
        r = Reader(data)
        parent, number = r.take(32), r.compact()
        r.take(64)
        announced = None
        for _ in range(r.compact()):
            kind, engine, payload = r.number(1), r.take(4), Reader(r.take(r.compact()))
            if (kind, engine) == (4, b"SMPX"):
                announced = payload.number(8), payload.members()
        return cls(hashlib.blake2b(data, digest_size=32).digest(), parent, number, announced)


@pytest.fixture
async def node(tmp_path: Path, nursery: trio.Nursery) -> RunningNode:
    """A chain of short epochs, with ten blocks a second."""
    spec = development()
    assert spec.genesis.runtime is not None
    spec.genesis.runtime["session"]["epoch_length"] = EPOCH_BLOCKS
    spec = spec.model_copy(
        update={"consensus": spec.consensus.model_copy(update={"block_interval_ms": 100})}
    )
    config = NodeConfig(
        spec=spec,
        base_path=tmp_path,
        key_seed=session_key_seed(spec, ChainPaths.of(tmp_path, spec.id), "//Alice", None),
        init_log=True,
        rpc=RpcConfig(port=0),
        prometheus=None,
    )
    running: RunningNode = await nursery.start(run_node, config)
    return running


@pytest.fixture
async def client(node: RunningNode) -> AsyncIterator[NodeClient]:
    host, port = node.rpc_address
    async with NodeClient.connect(f"ws://{host}:{port}") as client:
        yield client


async def first_members(client: NodeClient) -> Members:
    key = "0x" + storage_key("Session", "Authorities").hex()
    genesis = f"0x{client.genesis_hash.hex()}"
    raw = await client.request("state_getStorage", key, genesis)
    return Reader(bytes.fromhex(raw[2:])).members()


async def until_final(client: NodeClient, number: int) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            head = await client.header(await client.finalized_head())
            if head is not None and head.number >= number:
                return
            await trio.sleep(0.05)


async def follow(client: NodeClient, ends: list[Any]) -> tuple[int, Members]:
    """Check ends of epochs in order; returns the epoch whose validators are known then."""
    epoch, members = 0, await first_members(client)
    for end in ends:
        head, proof = Head.read(end["header"]), Proof.read(end["proof"])
        assert end["epoch"] == epoch
        assert (proof.block, proof.number) == (head.hash, head.number)
        assert proof.holds(client.genesis_hash, epoch, members)
        assert head.announced is not None
        epoch, members = head.announced
    return epoch, members


async def test_the_set_of_each_epoch_follows_from_the_one_before(client: NodeClient) -> None:
    await until_final(client, 3 * EPOCH_BLOCKS)
    ends = await client.request("openledger_proveEpochs", 0)
    assert [Head.read(end["header"]).number for end in ends[:3]] == [5, 10, 15]
    epoch, members = await follow(client, ends)
    assert epoch == len(ends)
    assert await client.request("openledger_proveEpochs", epoch + 10**6) == []
    wrong = Proof.read(ends[0]["proof"])
    assert not wrong.holds(bytes(32), 0, await first_members(client))
    assert not wrong.holds(client.genesis_hash, 1, members)


async def test_a_block_is_final_by_its_proof_and_the_headers_above(client: NodeClient) -> None:
    await until_final(client, EPOCH_BLOCKS + 2)
    epoch, members = await follow(client, (await client.request("openledger_proveEpochs", 0))[:1])
    number = EPOCH_BLOCKS + 1
    told = await client.request("openledger_proveFinality", number)
    heads, proof = [Head.read(text) for text in told["headers"]], Proof.read(told["proof"])
    assert proof.holds(client.genesis_hash, epoch, members)
    assert (heads[0].hash, heads[-1].number) == (proof.block, number)
    assert all(upper.parent == lower.hash for upper, lower in pairwise(heads))
    assert heads[-1].hash == await client.block_hash(number)
    assert await client.request("openledger_proveFinality", 1 << 31) is None


async def test_proofs_arrive_as_blocks_become_final(client: NodeClient) -> None:
    first = await first_members(client)
    async with await client.subscribe("openledger_subscribeJustifications") as told:
        async for event in told:
            proof = Proof.read(event["proof"])
            assert event["block"] == f"0x{proof.block.hex()}"
            assert proof.holds(client.genesis_hash, proof.epoch, first)
            if proof.epoch:
                break
