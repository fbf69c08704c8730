"""A tiny chain and a network in memory, for engines that are real."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf

import trio

from consensus.core.messages import decode_message
from consensus.core.pace import Pace
from consensus.core.validators import Epoch, ValidatorSet
from consensus.interface import AgreementSettings, BlockRef, PeerEvent
from consensus.session_key import SessionKey
from runtime.primitives.digest import (
    Authority,
    NextEpoch,
    find_claim,
    find_next_epoch,
    next_epoch_item,
)
from runtime.primitives.errors import BlockReason, InvalidBlock
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Block, DigestItem, Header

GENESIS = Block(Header(bytes(32), 0, bytes(32), bytes(32), ()), ())
GENESIS_HASH = GENESIS.header.hash()
PACE = Pace(block_interval=20, delta=60, execution=100, precision=5000)


def keys(count: int) -> list[SessionKey]:
    return [SessionKey(bytes([index + 1]) * 32) for index in range(count)]


def settings_of(members: list[SessionKey], pace: Pace = PACE) -> AgreementSettings:
    authorities = tuple(Authority(key.public, 10) for key in members)
    epoch = Epoch(0, ValidatorSet(authorities), bytes(32), GENESIS_HASH, 0)
    return AgreementSettings(GENESIS_HASH, epoch, 0, pace)


class UnknownParent(LookupError):
    pass


class TinyChain:
    """An application: a block's only extrinsic is its time; epochs have `length` blocks."""

    def __init__(self, settings: AgreementSettings, length: int = 1 << 30) -> None:
        self.members = settings.epoch.validators.members
        self.later: dict[int, tuple[Authority, ...]] = {}
        """The sets of epochs from which on others are members."""
        self.length = length
        self.blocks = {GENESIS_HASH: GENESIS}
        self.final = [GENESIS_HASH]
        self.proofs: dict[bytes, bytes] = {}
        self.boundaries: dict[int, bytes] = {}
        self.tip = BlockRef(GENESIS_HASH, 0)
        self.build_error: Exception | None = None

    def best(self) -> BlockRef:
        return self.tip

    def finalized(self) -> BlockRef:
        return BlockRef(self.final[-1], len(self.final) - 1)

    def header(self, block_hash: bytes) -> Header | None:
        block = self.blocks.get(block_hash)
        return None if block is None else block.header

    def block(self, block_hash: bytes) -> Block | None:
        return self.blocks.get(block_hash)

    def block_hash(self, number: int) -> bytes | None:
        return self.final[number] if number < len(self.final) else None

    def justification(self, block_hash: bytes) -> bytes | None:
        return self.proofs.get(block_hash)

    def boundary(self, epoch: int) -> bytes | None:
        return self.boundaries.get(epoch)

    def block_time(self, block: Block) -> int | None:
        return int.from_bytes(block.extrinsics[0][1:], "little") if block.extrinsics else None

    def is_whole(self, block: Block) -> bool:
        return block.header.extrinsics_root == blake2_256(b"".join(block.extrinsics))

    async def build(
        self,
        parent: bytes,
        *,
        timestamp: int,
        digest: tuple[DigestItem, ...],
        full: Callable[[], bool],
    ) -> Block:
        await trio.lowlevel.checkpoint()
        if self.build_error is not None:
            raise self.build_error
        number = self.blocks[parent].header.number + 1
        body = bytes([32]) + timestamp.to_bytes(8, "little")
        items = (*digest, *self._announcement(number, digest))
        return Block(Header(parent, number, bytes(32), blake2_256(body), items), (body,))

    def _announcement(self, number: int, digest: tuple[DigestItem, ...]) -> list[DigestItem]:
        claim = find_claim(digest)
        if claim is None or number % self.length:
            return []
        self.members = self.later.get(claim.epoch + 1, self.members)
        return [next_epoch_item(NextEpoch(claim.epoch + 1, self.members, blake2_256(bytes(8))))]

    async def execute(self, block: Block) -> BlockRef:
        await trio.lowlevel.checkpoint()
        header = block.header
        if header.parent_hash not in self.blocks:
            raise UnknownParent
        if not self.is_whole(block):
            raise InvalidBlock(BlockReason.WRONG_EXTRINSICS_ROOT)
        self.blocks[header.hash()] = block
        return BlockRef(header.hash(), header.number)

    def set_best(self, block_hash: bytes) -> None:
        self.tip = BlockRef(block_hash, self.blocks[block_hash].header.number)

    async def finalize(self, block_hash: bytes, proof: bytes | None) -> None:
        way = []
        step = block_hash
        while step not in self.final:
            way.append(step)
            step = self.blocks[step].header.parent_hash
        assert step == self.final[-1], "a fork below the last final block"
        for final in reversed(way):
            self.final.append(final)
            header = self.blocks[final].header
            claim = find_claim(header.digest)
            if claim is not None and find_next_epoch(header.digest) is not None:
                self.boundaries[claim.epoch] = final
        if proof is not None:
            self.proofs[block_hash] = proof
        await trio.lowlevel.checkpoint()

    def restart(self) -> None:
        """Forget what is not final, as a killed node does."""
        self.blocks = {h: b for h, b in self.blocks.items() if h in self.final}
        self.tip = self.finalized()


Answer = Callable[[bytes], Awaitable[bytes | None]]


@dataclass
class Wire:
    """The network: everybody is connected to everybody; what is sent is kept for inspection."""

    members: dict[str, MemoryPeers] = field(default_factory=dict)
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    watch: Callable[[str, bytes], None] = lambda name, message: None

    def join(self, name: str, answer: Answer) -> MemoryPeers:
        peers = MemoryPeers(self, name, answer)
        for other in self.members.values():
            other.put.send_nowait(PeerEvent(name, joined=True))
            peers.put.send_nowait(PeerEvent(other.name, joined=True))
        self.members[name] = peers
        return peers

    def leave(self, name: str) -> None:
        del self.members[name]
        for other in self.members.values():
            other.put.send_nowait(PeerEvent(name))


class MemoryPeers:
    """The peers of one engine."""

    def __init__(self, wire: Wire, name: str, answer: Answer) -> None:
        self.name = name
        self.answer = answer
        self.faults: list[tuple[str, str]] = []
        self._wire = wire
        self.put, self._events = trio.open_memory_channel[PeerEvent](inf)

    def broadcast(self, message: bytes) -> None:
        for name in self._wire.members:
            if name != self.name:
                self.send(name, message)

    def send(self, peer: str, message: bytes) -> None:
        decode_message(message)
        self._wire.watch(self.name, message)
        self._wire.sent.append((self.name, message))
        other = self._wire.members.get(peer)
        if other is not None:
            other.put.send_nowait(PeerEvent(self.name, message))

    async def ask(self, request: bytes, peer: str | None) -> tuple[str, bytes] | None:
        await trio.lowlevel.checkpoint()
        others = [name for name in self._wire.members if name != self.name]
        for name in others if peer is None else [peer]:
            answer = await self._wire.members[name].answer(request)
            if answer is not None:
                return name, answer
        return None

    def penalise(self, peer: str, reason: str, detail: str) -> None:
        self.faults.append((peer, reason))

    async def next(self) -> PeerEvent:
        return await self._events.receive()
