"""Begin with the state of a recent proven block instead of the genesis block's.

The way there, each step resumable from what is staged on the disk: the ends of the epochs
(`Trail`), the highest finalised block that several peers can prove, its state range by range, the
switch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import trio

from consensus.core.messages import (
    Blocks,
    BlocksRequest,
    EpochProof,
    Finality,
    FinalityRequest,
    decode_response,
    encode_request,
)
from consensus.core.votes import encode_certificate
from node.chain import Chain
from node.log import Log
from node.storage.staging import Target
from node.sync.asking import INVALID, Asking, SyncPeers, Untrusted
from node.sync.messages import (
    StateGone,
    StateRange,
    StateRequest,
    decode_state_response,
    encode_state_request,
)
from node.sync.trail import Trail, Trust
from node.sync.trust import check_body, check_final
from runtime.primitives.header import Block
from runtime.state.proof import InvalidProof
from runtime.state.ranges import Entries, RangeProof, verify_range

_log = Log("sync")
WITNESSES = 3
PAUSE_SECONDS = 2.0
TOLD_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Range:
    entries: Entries
    following: bytes | None


class SnapshotSync:
    """Fetches a state for a chain that has nothing but its genesis block; see `run`.

    witnesses: so many peers are asked for the highest finalised block; pause: seconds between two
    rounds in which nobody could help.
    """

    def __init__(
        self,
        chain: Chain,
        peers: SyncPeers,
        trust: Trust,
        *,
        witnesses: int = WITNESSES,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._chain = chain
        self._staging = chain.staging()
        self._asking = Asking(peers)
        self._trust = trust
        self._trail = Trail(self._staging, self._asking, trust)
        self._witnesses = witnesses
        self._pause = pause
        self._told = 0.0
        self.stage = "not begun"
        self.progress = 0.0

    def status(self) -> str:
        """Say what is being done, with how many peers, and how far it is."""
        peers = len(self._asking.usable())
        return f"{self.stage} ({peers} peers, {100 * self.progress:.1f} % of the state)"

    async def run(self) -> bool:
        """Fetch a state and make it the chain's; tells whether there was one to fetch.

        Does nothing for a chain that has finalised a block. Goes on where an earlier run was
        stopped. Waits as long as it takes for peers that have what is needed.
        """
        if self._chain.finalized().number:
            return False
        await trio.to_thread.run_sync(self._staging.begin, self._trust.hash())
        self._trail.resume()
        target = self._staging.target() or await self._choose(above=0)
        while target is not None and not await self._fetch(target):
            target = await self._choose(above=target.block.header.number)
        if target is None:
            return False
        self._stage(f"switching to the state of block {target.block.header.number}")
        ref = await self._chain.adopt()
        self._stage(f"the chain goes on from block {ref.number}")
        return True

    async def _choose(self, above: int) -> Target | None:
        """Agree on a block to begin with; None where nothing but the genesis block is final."""
        while True:
            self._stage("checking the validator sets of all epochs")
            if not await self._trail.extend():
                await self._wait("a peer that knows the checkpoint")
                continue
            self._stage("looking for the highest finalised block")
            answers = await self._asking.several(
                encode_request(FinalityRequest()), _judge_finality, self._witnesses
            )
            if answers and above == 0 and all(a.proof is None for _, a in answers):
                self._stage("the network has no finalised block yet")
                return None
            target = await self._target(await self._proven(answers), above)
            if target is not None:
                await trio.to_thread.run_sync(self._staging.set_target, target)
                self.progress = 0.0
                return target
            await self._wait("a peer with a proven block" + (f" above {above}" if above else ""))

    async def _proven(self, answers: list[tuple[str, Finality]]) -> list[EpochProof]:
        """Keep what the known validator sets prove, the highest block first."""
        proven = []
        for peer, answer in answers:
            proof = answer.proof
            epoch = None if proof is None else self._trail.known(proof.certificate.epoch)
            if proof is None or epoch is None:
                continue
            try:
                await trio.to_thread.run_sync(check_final, proof, epoch, self._trust.domain)
            except Untrusted as error:
                self._asking.blame(peer, INVALID, error.detail)
            else:
                proven.append(proof)
        return sorted(proven, key=lambda proof: proof.header.number, reverse=True)

    async def _target(self, proven: list[EpochProof], above: int) -> Target | None:
        for proof in proven:
            if proof.header.number <= above:
                continue
            block_hash = proof.header.hash()
            request = encode_request(BlocksRequest((block_hash,)))
            found = await self._asking.first(request, partial(_judge_block, block_hash))
            if found is not None:
                return Target(found[1], encode_certificate(proof.certificate))
        return None

    async def _fetch(self, target: Target) -> bool:
        """Fetch what is missing of a block's state; False where all peers have pruned it."""
        header = target.block.header
        block_hash = header.hash()
        gone: set[str] = set()
        while (start := self._staging.progress().following) is not None:
            self.progress = int.from_bytes(start[:8].ljust(8, b"\0"), "big") / (1 << 64)
            self._stage(f"fetching the state of block {header.number}")
            found = await self._asking.first(
                encode_state_request(StateRequest(block_hash, start)),
                partial(_judge_range, header.state_root, start),
                state=True,
                without=gone,
            )
            if found is not None and isinstance(found[1], _Range):
                fetched = found[1]
                await trio.to_thread.run_sync(
                    self._staging.put_range, fetched.entries, fetched.following
                )
            elif found is not None:
                gone.add(found[0])
            elif self._asking.usable() and not self._asking.usable(without=gone):
                _log.warning("all peers have pruned the state; starting over", block=header.number)
                return False
            else:
                await self._wait(f"a peer with the state of block {header.number}")
        self.progress = 1.0
        return True

    async def _wait(self, what: str) -> None:
        self._stage(f"waiting for {what}")
        await trio.sleep(self._pause)

    def _stage(self, stage: str) -> None:
        now = trio.current_time()
        if stage != self.stage or now >= self._told + TOLD_EVERY_SECONDS:
            self.stage = stage
            self._told = now
            _log.info("state sync", status=self.status())


def _judge_finality(data: bytes) -> Finality:
    response = decode_response(data)
    if not isinstance(response, Finality):
        raise Untrusted("not an answer to a question for the highest finalised block")
    return response


def _judge_block(block_hash: bytes, data: bytes) -> Block | None:
    response = decode_response(data)
    if not isinstance(response, Blocks) or len(response.blocks) > 1:
        raise Untrusted("not an answer to a question for one block")
    if not response.blocks:
        return None
    block = response.blocks[0]
    if block.header.hash() != block_hash:
        raise Untrusted("another block than the one that was asked for")
    check_body(block)
    return block


def _judge_range(root: bytes, start: bytes, data: bytes) -> _Range | StateGone:
    response = decode_state_response(data)
    if not isinstance(response, StateRange):
        return response
    try:
        return _Range(*verify_range(root, start, RangeProof(response.nodes)))
    except InvalidProof as error:
        raise Untrusted(f"a range of the state is not proved: {error}") from error
