"""A real chain with real certificates, and peers in memory that answer from it, or lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consensus.core.messages import decode_request, encode_response
from consensus.core.validators import Epoch, ValidatorSet
from consensus.core.votes import (
    Subject,
    VoteDomain,
    VoteKind,
    certificate,
    encode_certificate,
)
from consensus.engine.serving import respond
from consensus.session_key import SessionKey
from node.chain import Chain
from node.storage.layout import NODE, STATE
from node.storage.pruning import Pruning
from node.sync.serving import answer_state
from node.sync.trail import Checkpoint, Trust
from runtime.primitives.digest import Authority, NextEpoch, next_epoch_item
from runtime.primitives.header import DigestItem
from tests.node.tiny_runtime import TinyGenesis, TinyRuntime, put

FORK = 7
EPOCH_LENGTH = 5


def open_chain(path: Path, pruning: Pruning | None = None) -> Chain:
    return Chain.open(path, TinyGenesis(), TinyRuntime(), pruning or Pruning(8))


def session_keys(epoch: int) -> list[SessionKey]:
    """Four validators, one of them another in each epoch."""
    return [SessionKey(bytes([n, epoch if n == 3 else 0]) + bytes(30)) for n in range(4)]


def authorities(epoch: int) -> tuple[Authority, ...]:
    return tuple(Authority(key.public, 10 + i) for i, key in enumerate(session_keys(epoch)))


def first_epoch(genesis_hash: bytes) -> Epoch:
    return Epoch(0, ValidatorSet(authorities(0)), bytes(32), genesis_hash, 0)


@dataclass
class Source:
    """A chain whose epochs have five blocks; it grows and finalises them with certificates."""

    chain: Chain
    epoch: int = 0
    view: int = 0
    written: int = 0
    keys_per_block: int = 25

    @property
    def domain(self) -> VoteDomain:
        return VoteDomain(self.chain.genesis_hash, FORK)

    def trust(self, checkpoint: Checkpoint | None = None) -> Trust:
        return Trust(self.domain, first_epoch(self.chain.genesis_hash), checkpoint)

    async def grow(self, blocks: int) -> None:
        """Add final blocks; only the ends of epochs and every second block get a proof."""
        for _ in range(blocks):
            self.view += 1
            ends = self.view == EPOCH_LENGTH
            digest = (self._announcement(),) if ends else ()
            await self._add(digest, proven=ends or self.chain.finalized().number % 2 == 1)
            if ends:
                self.epoch, self.view = self.epoch + 1, 0

    async def _add(self, digest: tuple[DigestItem, ...], *, proven: bool) -> None:
        parent = self.chain.finalized()
        built = await self.chain.build(
            parent.hash,
            timestamp=parent.number + 1,
            digest=digest,
            candidates=[self._write() for _ in range(self.keys_per_block)],
            full=lambda: False,
        )
        ref = await self.chain.execute(built.block)
        self.chain.set_best(ref.hash)
        proof = self.proof(ref.hash, ref.number) if proven else None
        await self.chain.finalize(ref.hash, proof)

    def _write(self) -> bytes:
        self.written += 1
        n = self.written
        key = (n * 2654435761 % 2**32).to_bytes(4, "big") + b"key%d" % (n % 400)
        return put(key if n % 3 else b"k%d" % (n % 50), None if n % 17 == 0 else b"%d" % n * 15)

    def proof(self, block_hash: bytes, number: int, signers: Sequence[int] = (0, 1, 3)) -> bytes:
        subject = Subject(
            VoteKind.FINALIZE, self.epoch, self.view, self.view - 1, number, block_hash
        )
        keys = session_keys(self.epoch)
        votes = {signer: keys[signer].vote(self.domain, subject) for signer in signers}
        return encode_certificate(certificate(subject, votes, len(keys)))

    def _announcement(self) -> DigestItem:
        following = self.epoch + 1
        return next_epoch_item(
            NextEpoch(following, authorities(following), bytes([following]) * 32)
        )


Answer = Callable[[Chain, bytes], bytes | None]


def honest(chain: Chain, request: bytes) -> bytes | None:
    core: Any = None  # certificates and votes are never asked for here
    application: Any = chain
    return encode_response(respond(decode_request(request), core, application))


@dataclass
class Peer:
    chain: Chain
    consensus: Answer = honest
    state: Answer = answer_state
    asked: int = 0


@dataclass
class Peers:
    """Peers by name; counts requests, and runs `before` with that count before each."""

    peers: dict[str, Peer]
    penalties: list[tuple[str, str, str]] = field(default_factory=list)
    requests: int = 0
    before: Callable[[int], None] = lambda _: None

    def connected(self) -> Sequence[str]:
        return sorted(self.peers)

    async def ask(self, request: bytes, peer: str | None) -> tuple[str, bytes] | None:
        return self._answer(peer, lambda p: p.consensus(p.chain, request))

    async def ask_state(self, request: bytes, peer: str | None) -> tuple[str, bytes] | None:
        return self._answer(peer, lambda p: p.state(p.chain, request))

    def penalise(self, peer: str, reason: str, detail: str) -> None:
        self.penalties.append((peer, reason, detail))

    def _answer(
        self, name: str | None, answer: Callable[[Peer], bytes | None]
    ) -> tuple[str, bytes] | None:
        self.requests += 1
        self.before(self.requests)
        peer = self.peers.get(name or "")
        if name is None or peer is None:
            return None
        peer.asked += 1
        data = answer(peer)
        return None if data is None else (name, data)


def columns(chain: Chain, *names: bytes) -> dict[bytes, bytes]:
    return {key: value for name in names for key, value in chain._db.iterate(name)}


def assert_same_head(chain: Chain, source: Chain) -> None:
    """The whole last state, its flat table and its nodes with exact counts."""
    assert chain.finalized() == source.finalized()
    head = chain.finalized().hash
    assert chain.header(head) == source.header(head)
    assert chain.block(head) == source.block(head)
    assert columns(chain, STATE) == columns(source, STATE)
    assert dict(chain.state_at(head).iterate(b"")) == dict(source.state_at(head).iterate(b""))


def node_counts(chain: Chain) -> dict[bytes, int]:
    return {k[1:]: int.from_bytes(v[:4], "little") for k, v in chain._db.iterate(NODE)}
