"""Fetching a stretch of final blocks: headers first, then bodies, executed in order.

One certificate makes the whole stretch final: its headers are linked by their hashes to the block
that the certificate names, so nothing is executed that is not part of the chain.
"""

from __future__ import annotations

from consensus.core.actions import Action, Ask, Execute, Fault, Finalize, Penalise, SetTimer
from consensus.core.events import Peer, Timer, TimerKind, Verdict
from consensus.core.messages import (
    MAX_BODIES,
    MAX_HEADERS,
    Blocks,
    BlocksRequest,
    Headers,
    HeadersRequest,
    Response,
)
from consensus.core.ports import Ledger
from consensus.core.votes import Certificate
from runtime.primitives.digest import find_next_epoch
from runtime.primitives.header import Block, Header

FEW_BODIES = 16
"""Bodies of a request, or `MAX_BODIES` while they are small."""
SMALL_BODY = 16 << 10
REQUESTS_AT_ONCE = 3
STORE_EVERY = 32
FETCH_VIEW = 1
"""Tells the timer of this fetching from the replica's."""


class CatchUp:
    """Brings the chain from its last final block to the one that a certificate names."""

    def __init__(
        self,
        target: Certificate,
        number: int,
        block_hash: bytes,
        ledger: Ledger,
        retry: int,
        actions: list[Action],
    ) -> None:
        self.target = target
        self.done = False
        self.failed: str | None = None
        self.actions = actions
        self._ledger = ledger
        self._retry = retry
        self._base = number
        self._tip = block_hash
        self._from: dict[Peer, None] = {}
        self._headers: list[Header] = []
        self._hashes: list[bytes] = []
        self._linked = False
        self._blocks: dict[bytes, Block] = {}
        self._next = 0
        """Index of the block to execute next."""
        self._asked = 0
        """Index of the first block that was not asked for."""
        self._waiting: dict[HeadersRequest | BlocksRequest, None] = {}
        self._executing: bytes | None = None
        self._taken = 0
        self._bytes = 0
        self._arm()
        self._pump()

    @property
    def progress(self) -> tuple[int, int]:
        """Return the number of the last executed block, and the target's."""
        return self._base + self._next, self.target.number

    @property
    def headers(self) -> list[Header]:
        """The headers of the stretch; empty until they are linked to the target."""
        return self._headers if self._linked else []

    def on_timer(self) -> None:
        """Ask again for what did not come."""
        if self.done:
            return
        for request in self._waiting:
            self.actions.append(Ask(request))
        self._arm()
        self._pump()

    def on_response(
        self, request: HeadersRequest | BlocksRequest, peer: Peer, response: Response | None
    ) -> None:
        """Take an answer in; what is missing is asked for when the timer fires."""
        if request not in self._waiting:
            return
        if isinstance(request, HeadersRequest) and isinstance(response, Headers):
            self._take_headers(request, peer, response.headers)
        elif isinstance(request, BlocksRequest) and isinstance(response, Blocks):
            self._take_blocks(request, peer, response.blocks)
        elif response is not None:
            self._blame(peer, "an answer of another kind")
        self._pump()

    def on_executed(self, block_hash: bytes, verdict: Verdict) -> None:
        """Go on with the next block."""
        if block_hash != self._executing:
            return
        self._executing = None
        block = self._blocks.get(block_hash)
        if verdict is Verdict.INVALID and block and not self._ledger.is_whole(block):
            del self._blocks[block_hash]
            self._ask(BlocksRequest((block_hash,)))
        elif verdict is Verdict.INVALID:
            self.failed = f"block 0x{block_hash.hex()} is final, but does not execute here"
            self.done = True
        elif verdict is Verdict.VALID:
            self._executed()
        if verdict is not Verdict.UNAVAILABLE:
            self._pump()

    def _executed(self) -> None:
        block_hash = self._hashes[self._next]
        self._blocks.pop(block_hash, None)
        self._next += 1
        if self._next == len(self._hashes):
            self.done = True
            if not self._ends_epoch():
                self.actions.append(Finalize(block_hash, self.target))
        elif self._next % STORE_EVERY == 0:
            self.actions.append(Finalize(block_hash, None))

    def _ends_epoch(self) -> bool:
        """The last block of an epoch is stored by the replica, when the next one is prepared."""
        return find_next_epoch(self._headers[-1].digest) is not None

    def _take_headers(
        self, request: HeadersRequest, peer: Peer, headers: tuple[Header, ...]
    ) -> None:
        del self._waiting[request]
        if len(headers) > request.count:
            self._blame(peer, "more headers than asked for")
            return
        for header in headers:
            number = self._base + len(self._headers) + 1
            if (header.parent_hash, header.number) != (self._tip, number):
                self._blame(peer, f"header {header.number} does not follow")
                self._restart()
                return
            self._headers.append(header)
            self._hashes.append(header.hash())
            self._tip = self._hashes[-1]
        if headers:
            self._from[peer] = None
        if len(self._headers) == self.target.number - self._base:
            self._link()

    def _link(self) -> None:
        if self._tip == self.target.block_hash:
            self._linked = True
            return
        for peer in self._from:
            self._blame(peer, "headers of another chain")
        self._restart()

    def _restart(self) -> None:
        if self._headers:
            self._tip = self._headers[0].parent_hash
        self._headers, self._hashes = [], []
        self._from = {}

    def _take_blocks(self, request: BlocksRequest, peer: Peer, blocks: tuple[Block, ...]) -> None:
        wanted = dict.fromkeys(request.hashes)
        del self._waiting[request]
        for block in blocks:
            block_hash = block.header.hash()
            if block_hash not in wanted:
                self._blame(peer, "a block that was not asked for")
                break
            del wanted[block_hash]
            self._blocks[block_hash] = block
            self._taken += 1
            self._bytes += sum(map(len, block.extrinsics))
        if wanted:
            self._waiting[BlocksRequest(tuple(wanted))] = None
            if blocks:
                self.actions.append(Ask(BlocksRequest(tuple(wanted))))

    def _pump(self) -> None:
        """Keep requests under way and one block executing."""
        if self.done:
            return
        if not self._linked:
            if not self._waiting:
                first = self._base + len(self._headers) + 1
                count = min(MAX_HEADERS, self.target.number - first + 1)
                self._ask(HeadersRequest(first, count))
            return
        while (
            len(self._waiting) < REQUESTS_AT_ONCE
            and self._asked < len(self._hashes)
            and self._asked - self._next < self._batch * REQUESTS_AT_ONCE
        ):
            chosen = self._hashes[self._asked : self._asked + self._batch]
            self._asked += len(chosen)
            missing = tuple(h for h in chosen if not self._ledger.executed(h))
            if missing:
                self._ask(BlocksRequest(missing))
        self._execute()

    @property
    def _batch(self) -> int:
        """How many bodies to ask for at once: many while those that came were small."""
        small = self._taken and self._bytes <= self._taken * SMALL_BODY
        return MAX_BODIES if small else FEW_BODIES

    def _execute(self) -> None:
        while self._executing is None and not self.done and self._next < len(self._hashes):
            block_hash = self._hashes[self._next]
            if self._ledger.executed(block_hash):
                self._executed()
                continue
            block = self._blocks.get(block_hash)
            if block is None:
                return
            self._executing = block_hash
            self.actions.append(Execute(block))

    def _ask(self, request: HeadersRequest | BlocksRequest) -> None:
        self._waiting[request] = None
        self.actions.append(Ask(request))

    def _arm(self) -> None:
        timer = Timer(TimerKind.FETCH, self.target.epoch, FETCH_VIEW)
        self.actions.append(SetTimer(timer, self._retry))

    def _blame(self, peer: Peer, detail: str) -> None:
        self.actions.append(Penalise(peer, Fault.BAD_RESPONSE, detail))
