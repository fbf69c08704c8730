"""The chain and the pool as the agreement sees them: every change of the tip reaches both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from consensus.interface import BlockRef
from node.chain import Chain
from node.errors import NodeError, UnknownBlock
from node.log import Log
from node.pool import Pool
from node.runtime_interface import RuntimeInterface, Validity
from runtime.primitives.errors import (
    InvalidBlock,
    InvalidTransaction,
    InvariantViolation,
    TransactionReason,
)
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Block, DigestItem

_log = Log("chain")
FATAL = (InvariantViolation, InvalidBlock, InvalidTransaction, NodeError, UnknownBlock)
"""What is never an extrinsic's fault, and an extrinsic's refusal, which has its own way."""


def _failed_rules() -> InvalidTransaction:
    return InvalidTransaction(TransactionReason.CUSTOM, "the rules fail on this extrinsic")


class _Candidates:
    """An iterator that remembers what it gave last."""

    def __init__(self, extrinsics: Iterator[bytes]) -> None:
        self._extrinsics = extrinsics
        self.last: bytes | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.last = next(self._extrinsics)
        return self.last


class BestState:
    """The state behind the tip, as the pool checks extrinsics against it."""

    def __init__(self, chain: Chain, runtime: RuntimeInterface) -> None:
        self._chain = chain
        self._runtime = runtime

    def best(self) -> BlockRef:
        """Name the tip."""
        return self._chain.best()

    def validate(self, extrinsic: bytes, source: int) -> Validity:
        """Check an extrinsic for the block after the tip; raises InvalidTransaction."""
        best = self._chain.best().hash
        header = self._chain.header(best)
        if header is None:
            raise LookupError("the tip has no header")
        state = self._chain.state_at(best)
        try:
            return self._runtime.validate_transaction(state, header, extrinsic, source)
        except FATAL:
            raise
        except Exception as error:  # a stranger's extrinsic must not stop the node
            _log.fault("the rules failed on an extrinsic", error, extrinsic=extrinsic)
            raise _failed_rules() from error


class NodeApplication:
    """Builds from the pool, and tells the pool what the chain took or left."""

    def __init__(self, chain: Chain, pool: Pool, runtime: RuntimeInterface) -> None:
        self._chain = chain
        self._pool = pool
        self._runtime = runtime
        self.best = chain.best
        self.finalized = chain.finalized
        self.header = chain.header
        self.block = chain.block
        self.justification = chain.justification
        self.boundary = chain.boundary
        self.block_time = runtime.block_time
        self.is_whole = runtime.is_whole

    def block_hash(self, number: int) -> bytes | None:
        """Find the finalised block of a number."""
        final = self._chain.finalized().number
        return self._chain.block_hash(number) if number <= final else None

    async def build(
        self,
        parent: bytes,
        *,
        timestamp: int,
        digest: tuple[DigestItem, ...],
        full: Callable[[], bool],
    ) -> Block:
        """Build a block on a known parent from the pool; `full` says when to stop taking."""
        while True:
            candidates = _Candidates(self._pool.ready())
            try:
                built = await self._chain.build(
                    parent,
                    timestamp=timestamp,
                    digest=digest,
                    candidates=candidates,
                    full=full,
                )
            except FATAL:
                raise
            except Exception as error:  # a stranger's extrinsic must not stop the node
                if candidates.last is None:
                    raise
                _log.fault("the rules failed on an extrinsic", error, extrinsic=candidates.last)
                self._pool.refused([(candidates.last, _failed_rules())])
            else:
                self._pool.refused(built.refused)
                return built.block

    async def execute(self, block: Block) -> BlockRef:
        """Check and execute a block; idempotent; raises InvalidBlock or UnknownBlock."""
        started = time.perf_counter()
        ref = await self._chain.execute(block)
        _log.debug(
            "block executed",
            number=ref.number,
            hash=ref.hash,
            extrinsics=len(block.extrinsics),
            ms=_ms_since(started),
        )
        return ref

    def set_best(self, block_hash: bytes) -> None:
        """Make an executed block the tip, and move its extrinsics out of the pool."""
        before = self._chain.best().hash
        self._chain.set_best(block_hash)
        self._follow(before)

    async def finalize(self, block_hash: bytes, proof: bytes | None) -> None:
        """Make a block and its ancestors final; on the disk before this returns."""
        started = time.perf_counter()
        way = self._chain.route(self._chain.finalized().hash, block_hash).enacted
        if self._chain.route(self._chain.best().hash, block_hash).enacted:
            self.set_best(block_hash)
        await self._chain.finalize(block_hash, proof)
        for final in way:
            self._pool.finalized(final)
        head = self._chain.finalized()
        block = self._chain.block(block_hash)
        _log.info(
            "block finalised",
            number=head.number,
            hash=head.hash,
            extrinsics=len(block.extrinsics) if block else 0,
            ms=_ms_since(started),
        )

    def _follow(self, before: bytes) -> None:
        after = self._chain.best().hash
        if before == after:
            return
        route = self._chain.route(before, after)
        enacted = self._blocks(route.enacted)
        if route.retracted:
            kept = {blake2_256(extrinsic) for block in enacted for extrinsic in block.extrinsics}
            for block in self._blocks(route.retracted):
                self._pool.retract(block, kept)
        for block in enacted:
            self._pool.prune(block)

    def _blocks(self, hashes: Iterable[bytes]) -> list[Block]:
        found = map(self._chain.block, hashes)
        return [block for block in found if block is not None]


def _ms_since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
