"""What one node has executed and finalised: the `Ledger` of its participant."""

from __future__ import annotations

from consensus.core.ports import FinalRef
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate, decode_certificate, encode_certificate
from runtime.primitives.header import Block, Header
from tests.simulation.chain import Chain, is_whole, time_of


class LedgerError(Exception):
    """The core asked for something illegal; the text says what."""


class NodeLedger:
    """Final blocks are on the disk; executed ones above them are in memory."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.blocks: dict[bytes, Block] = {chain.genesis_hash: chain.genesis}
        self.final: list[bytes] = [chain.genesis_hash]
        self.proofs: dict[bytes, bytes] = {}
        self.boundaries: dict[int, bytes] = {}
        self._tips: set[bytes] = set()

    # --- the port -------------------------------------------------------------------------

    def header(self, block_hash: bytes) -> Header | None:
        block = self.blocks.get(block_hash)
        return None if block is None else block.header

    def block(self, block_hash: bytes) -> Block | None:
        return self.blocks.get(block_hash)

    def executed(self, block_hash: bytes) -> bool:
        return block_hash in self.blocks

    def time(self, block_hash: bytes) -> int:
        state = self.chain.states[block_hash]
        return 0 if state is None else state.time

    def block_time(self, block: Block) -> int | None:
        return time_of(block)

    def is_whole(self, block: Block) -> bool:
        return is_whole(block)

    def justification(self, block_hash: bytes) -> bytes | None:
        return self.proofs.get(block_hash)

    def block_hash(self, number: int) -> bytes | None:
        return self.final[number] if 0 <= number < len(self.final) else None

    def boundary(self, epoch: int) -> bytes | None:
        return self.boundaries.get(epoch)

    # --- what the driver does -------------------------------------------------------------

    @property
    def tip(self) -> bytes:
        return self.final[-1]

    def execute(self, block: Block) -> bool:
        """Execute a block on an executed parent; raises LedgerError without one."""
        hash_ = block.header.hash()
        if hash_ in self.blocks:
            return True
        if block.header.parent_hash not in self.blocks:
            raise LedgerError(f"execute {block.header.number}: its parent is not executed")
        if not self.chain.execute(block):
            return False
        self.blocks[hash_] = block
        self._tips.add(hash_)
        return True

    def finalize(self, block_hash: bytes, certificate: Certificate | None) -> list[bytes]:
        """Make an executed block and its ancestors final; return what became so, ascending."""
        if block_hash not in self.blocks:
            raise LedgerError("finalize: the block is not executed")
        path = []
        hash_ = block_hash
        while self.blocks[hash_].header.number >= len(self.final):
            path.append(hash_)
            hash_ = self.blocks[hash_].header.parent_hash
        if self.final[self.blocks[hash_].header.number] != hash_:
            raise LedgerError(f"finalize: a fork below block {len(self.final)}")
        path.reverse()
        for hash_ in path:
            if self.chain.is_boundary(hash_):
                state = self.chain.states[hash_]
                self.boundaries[state.epoch - 1 if state else 0] = hash_
        self.final += path
        if certificate is not None:
            self.proofs.setdefault(block_hash, encode_certificate(certificate))
        self._drop_stale()
        return path

    def _drop_stale(self) -> None:
        last = len(self.final) - 1
        for hash_ in [h for h in self._tips if self.blocks[h].header.number <= last]:
            self._tips.discard(hash_)
            if self.final[self.blocks[hash_].header.number] != hash_:
                del self.blocks[hash_]

    # --- crashes --------------------------------------------------------------------------

    def after_crash(self) -> NodeLedger:
        """Return what the disk has: the final blocks."""
        copy = NodeLedger(self.chain)
        copy.final = list(self.final)
        copy.blocks = {hash_: self.blocks[hash_] for hash_ in self.final}
        copy.proofs = dict(self.proofs)
        copy.boundaries = dict(self.boundaries)
        return copy

    def start(self) -> tuple[Epoch, FinalRef]:
        """Return the epoch of the next block, and the last final block as it knows it."""
        state = self.chain.states[self.tip]
        if state is None:
            raise LedgerError("the last final block is invalid")
        epoch = self.chain.epochs[self.final[state.start]]
        if state.number == state.start:
            return epoch, FinalRef(0, state.number, self.tip, self._proof(self.tip))
        proof = self._proof(self.tip)
        view = self.chain.claims[self.tip].view if proof is None else proof.view
        return epoch, FinalRef(view, state.number, self.tip, proof)

    def _proof(self, hash_: bytes) -> Certificate | None:
        data = self.proofs.get(hash_)
        return None if data is None else decode_certificate(data)
