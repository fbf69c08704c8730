"""Fill in the blocks below a fetched state, newest first, while the node runs.

Headers are linked by their hashes from the finalised chain down to the genesis block, so they need
no other proof; bodies must match their headers. States below stay pruned.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import trio

from consensus.core.messages import (
    MAX_BODIES,
    MAX_HEADERS,
    Blocks,
    BlocksRequest,
    EpochProofsRequest,
    Headers,
    HeadersRequest,
    decode_response,
    encode_request,
)
from consensus.core.validators import Epoch
from consensus.core.votes import encode_certificate
from node.chain import Chain
from node.errors import NodeError
from node.log import Log
from node.storage.commit import add_proof
from node.storage.filling import end_filling, fill_bodies, fill_headers
from node.storage.leveldb import Database
from node.sync.asking import Asking, SyncPeers, Untrusted
from node.sync.trail import Trust, decode_ends
from node.sync.trust import check_body, check_end, epoch_behind
from runtime.primitives.header import Block, Header

_log = Log("sync")
PAUSE_SECONDS = 10.0
TOLD_EVERY_SECONDS = 10.0


class Backfill:
    """Fills in what a chain lacks below a fetched state; see `run`.

    pause: seconds between two rounds in which nobody could help.
    """

    def __init__(
        self, chain: Chain, peers: SyncPeers, trust: Trust, *, pause: float = PAUSE_SECONDS
    ) -> None:
        self._chain = chain
        self._asking = Asking(peers)
        self._trust = trust
        self._pause = pause
        self._told = 0.0
        self.stage = "not begun"

    def status(self) -> str:
        """Say what is being filled in, and how far it is."""
        kept = self._chain.kept
        return f"{self.stage} (headers from block {kept.headers}, bodies from block {kept.bodies})"

    async def run(self) -> None:
        """Fill in headers, proofs of epochs' ends, and bodies up to the pruning's horizon.

        Returns when nothing is missing, at once on a chain that executed all its blocks. Raises
        NodeError where the chain turns out to have another genesis.
        """
        if not self._chain.is_backfilling:
            return
        while self._chain.kept.headers:
            await self._headers()
        self._check_genesis()
        await self._proofs()
        while self._bodies_missing():
            await self._bodies()
        await self._chain.write_history(end_filling)
        self._stage("the past is complete")

    async def _headers(self) -> None:
        oldest = self._chain.kept.headers
        above = self._header(oldest)
        first = max(1, oldest - MAX_HEADERS)
        request = encode_request(HeadersRequest(first, oldest - first))
        found = await self._asking.first(request, partial(_judge_headers, first, above))
        if found is None:
            await self._wait(f"headers below block {oldest}")
            return
        await self._chain.write_history(partial(fill_headers, found[1]))
        self._stage("filling in headers")

    def _check_genesis(self) -> None:
        if self._header(1).parent_hash != self._chain.genesis_hash:
            raise NodeError(
                "the state that was fetched belongs to a chain with another genesis; purge the "
                "chain, check --checkpoint, and sync again"
            )

    async def _proofs(self) -> None:
        """Fetch the proofs of ends of epochs that were taken on trust or skipped."""
        epoch = self._trust.first
        while (block_hash := self._chain.boundary(epoch.number)) is not None:
            while self._chain.justification(block_hash) is None:
                request = encode_request(EpochProofsRequest(epoch.number, 1))
                found = await self._asking.first(
                    request, partial(_judge_end, epoch, self._trust, block_hash)
                )
                if found is None:
                    await self._wait(f"the proof of the end of epoch {epoch.number}")
                    continue
                await self._chain.write_history(partial(_store_proof, block_hash, found[1]))
            header = self._chain.header(block_hash)
            if header is None:
                return
            epoch = epoch_behind(header, epoch.number)

    def _bodies_missing(self) -> bool:
        return self._chain.kept.bodies > max(1, self._horizon())

    def _horizon(self) -> int:
        return self._chain.pruning.first_body(self._chain.finalized().number)

    async def _bodies(self) -> None:
        above = self._chain.kept.bodies
        numbers = range(above - 1, max(1, self._horizon(), above - MAX_BODIES) - 1, -1)
        hashes = tuple(self._header(number).hash() for number in numbers)
        found = await self._asking.first(
            encode_request(BlocksRequest(hashes)), partial(_judge_bodies, hashes)
        )
        if found is None:
            await self._wait(f"the body of block {above - 1}")
            return
        await self._chain.write_history(partial(fill_bodies, found[1]))
        self._stage("filling in bodies")

    def _header(self, number: int) -> Header:
        block_hash = self._chain.block_hash(number)
        header = None if block_hash is None else self._chain.header(block_hash)
        if header is None:
            raise NodeError(f"the header of block {number} is missing; purge the chain")
        return header

    async def _wait(self, what: str) -> None:
        self._stage(f"waiting for a peer with {what}")
        await trio.sleep(self._pause)

    def _stage(self, stage: str) -> None:
        now = trio.current_time()
        if stage != self.stage or now >= self._told + TOLD_EVERY_SECONDS:
            self.stage = stage
            self._told = now
            _log.info("backfill", status=self.status())


def _store_proof(block_hash: bytes, proof: bytes, db: Database) -> None:
    add_proof(db, block_hash, proof)


def _judge_headers(first: int, above: Header, data: bytes) -> Sequence[Header] | None:
    response = decode_response(data)
    if not isinstance(response, Headers):
        raise Untrusted("not an answer to a question for headers")
    headers = response.headers
    if len(headers) < above.number - first:
        return None
    for header, child in zip(headers, (*headers[1:], above), strict=True):
        if header.hash() != child.parent_hash or header.number + 1 != child.number:
            raise Untrusted(f"the header of block {header.number} is not in the chain")
    return headers


def _judge_bodies(hashes: Sequence[bytes], data: bytes) -> Sequence[Block] | None:
    response = decode_response(data)
    if not isinstance(response, Blocks):
        raise Untrusted("not an answer to a question for blocks")
    told = [block.header.hash() for block in response.blocks]
    wanted = iter(hashes)
    if not all(block_hash in wanted for block_hash in told):
        raise Untrusted("a block that was not asked for, or not in this order")
    usable = []
    for block, block_hash, expected in zip(response.blocks, told, hashes, strict=False):
        if block_hash != expected:
            break
        check_body(block)
        usable.append(block)
    return usable or None


def _judge_end(epoch: Epoch, trust: Trust, block_hash: bytes, data: bytes) -> bytes | None:
    proofs = decode_ends(data, 1)
    if not proofs:
        return None
    if proofs[0].header.hash() != block_hash:
        raise Untrusted(f"another end of epoch {epoch.number} than the chain's")
    check_end(proofs[0], epoch, trust.domain)
    return encode_certificate(proofs[0].certificate)
