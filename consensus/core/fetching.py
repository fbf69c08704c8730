"""Executing blocks, and asking for those that are missing."""

from __future__ import annotations

from consensus.core.actions import Ask, Execute
from consensus.core.events import TimerKind
from consensus.core.messages import BlocksRequest, CertificatesRequest
from consensus.core.state import WALK, EpochState
from runtime.primitives.header import Block

LONGEST_WALK = 256
"""So many notarized blocks without a final one are fetched block by block at most."""
ASKED_AT_ONCE = 16


class Fetching(EpochState):
    """Blocks reach the ledger parents first; what is asked for is asked for until it comes."""

    def _execute(self, block: Block) -> None:
        """Execute a block whose parent is executed; else its parent first, if that is here."""
        while True:
            hash_ = block.header.hash()
            if hash_ in self.executing or hash_ in self.invalid:
                return
            parent = block.header.parent_hash
            if self.config.ledger.executed(parent):
                break
            held = self.blocks.get(parent)
            if held is None:
                self._want_parent(block)
                return
            block = held
        self.executing.add(hash_)
        self._do(Execute(block))

    def _execute_certified(self) -> None:
        """Execute, or fetch, the blocks of all notarized views above the last final one."""
        for view in range(self.final.view + 1, self.certificates.highest_view() + 1):
            proof = self.certificates.proof_of(view)
            if proof is not None and not self.config.ledger.executed(proof.block_hash):
                block = self.blocks.get(proof.block_hash)
                if block is None:
                    self.want(proof.block_hash)
                else:
                    self._execute(block)

    def add_block(self, block: Block, now: int) -> bool:
        """Take a block that was asked for; False where nobody asked, or its body is another's."""
        hash_ = block.header.hash()
        if hash_ not in self.wanted or not self.config.ledger.is_whole(block):
            return False
        del self.wanted[hash_]
        self.blocks[hash_] = block
        if not self.config.ledger.executed(block.header.parent_hash):
            self._want_parent(block)
        self.advance(now)
        return True

    def _take_certified(self, block: Block, now: int) -> bool:
        """Take the block of the last final view, if it comes behind its certificate."""
        certificate = self._finalizing
        hash_ = block.header.hash()
        if certificate is None or certificate.block_hash != hash_ or hash_ in self.blocks:
            return False
        if not self.config.ledger.is_whole(block):
            return False
        self.wanted.pop(hash_, None)
        self.blocks[hash_] = block
        self.advance(now)
        return True

    def _want_parent(self, block: Block) -> None:
        """Walk down block by block, unless the gap is left to fetching in ranges."""
        final = self._finalizing
        far = final is not None and final.number > self.stored + WALK
        if not far and self.stored + 1 < block.header.number <= self.stored + LONGEST_WALK:
            self.want(block.header.parent_hash)

    def want(self, hash_: bytes) -> None:
        """Ask for a block, and again until it comes."""
        if hash_ in self.wanted or hash_ in self.blocks or self.config.ledger.executed(hash_):
            return
        if not self.wanted:
            self._set(TimerKind.FETCH, 0, self.config.pace.retry)
        self.wanted[hash_] = None
        self._do(Ask(BlocksRequest((hash_,))))

    def _fetch_wanted(self) -> None:
        self._asked.clear()
        for hash_ in [h for h in self.wanted if self.config.ledger.executed(h)]:
            del self.wanted[hash_]
        if self.wanted:
            self._do(Ask(BlocksRequest(tuple(list(self.wanted)[:ASKED_AT_ONCE]))))
            self._set(TimerKind.FETCH, 0, self.config.pace.retry)

    def _ask_certificates(self, first: int, last: int) -> None:
        """Ask for certificates, the same ones not again before the retry time is over."""
        request = CertificatesRequest(self.epoch.number, first, last)
        if request in self._asked:
            return
        if not self._asked:
            self._set(TimerKind.FETCH, 0, self.config.pace.retry)
        self._asked.add(request)
        self._do(Ask(request))
