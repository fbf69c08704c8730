"""The slow work on the chain, one piece after the other, in the order in which it was issued."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import trio

from consensus.core import ecvrf
from consensus.core.actions import Build, Execute, Finalize
from consensus.core.events import BlockBuilt, BlockExecuted, Event, FinalityStored, Verdict
from consensus.core.votes import Certificate, encode_certificate
from consensus.interface import Application
from runtime.primitives.digest import PreDigest, pre_digest_item
from runtime.primitives.errors import InvalidBlock, Refusal
from runtime.primitives.header import Block, DigestItem

LEAST_BUILDING = 0.05
"""Seconds that a leader takes extrinsics at least, however short the interval."""
Tell = Callable[[str, dict[str, object]], None]
"""Tells whoever watches the node: a constant phrase, and fields."""
Job = Build | Execute | Finalize


@dataclass(frozen=True, slots=True)
class Clock:
    """Unix milliseconds, and half a block interval in seconds."""

    now: Callable[[], int]
    half_interval: float


class ChainWorker:
    """Builds, executes and finalises; answers each piece with its event."""

    def __init__(
        self,
        application: Application,
        prove: Callable[[bytes], bytes],
        clock: Clock,
        tell: Tell,
    ) -> None:
        self._application = application
        self._prove = prove
        self._clock = clock
        self._tell = tell
        self._put, self._jobs = trio.open_memory_channel[Job](inf)
        self.proofs: dict[bytes, Certificate] = {}
        """Certificates of the blocks that were finalised, until the driver takes them."""

    def do(self, job: Job) -> None:
        """Put a piece of work behind the others; never waits."""
        self._put.send_nowait(job)

    async def run(self, events: trio.MemorySendChannel[Event]) -> None:
        """Work until cancelled; errors of the node itself are raised."""
        async for job in self._jobs:
            match job:
                case Build():
                    await events.send(await self._build(job))
                case Execute(block):
                    await events.send(await self._execute(block))
                case Finalize(block_hash, certificate):
                    await events.send(await self._finalize(block_hash, certificate))

    async def _build(self, job: Build) -> BlockBuilt:
        deadline = time.monotonic() + max(LEAST_BUILDING, self._clock.half_interval)
        try:
            block = await self._application.build(
                job.parent_hash,
                timestamp=max(self._clock.now(), job.least_timestamp),
                digest=self._digest(job),
                full=lambda: time.monotonic() >= deadline,
            )
            await self._application.execute(block)
        except (Refusal, LookupError) as error:
            self._tell(
                "no block could be built",
                {"epoch": job.epoch, "view": job.view, "error": error},
            )
            return BlockBuilt(job.epoch, job.view, None)
        return BlockBuilt(job.epoch, job.view, block)

    def _digest(self, job: Build) -> tuple[DigestItem, ...]:
        proof = self._prove(job.alpha)
        output = ecvrf.proof_to_hash(proof)
        if output is None:
            raise LookupError("the key gives no valid proof of randomness")
        claim = PreDigest(
            job.epoch,
            job.view,
            job.parent_view,
            job.leader,
            output,
            proof,
            job.justification_hash,
            job.parent_signers,
        )
        return (pre_digest_item(claim),)

    async def _execute(self, block: Block) -> BlockExecuted:
        block_hash = block.header.hash()
        try:
            await self._application.execute(block)
        except InvalidBlock as error:
            fields: dict[str, object] = {"number": block.header.number, "hash": block_hash}
            self._tell("invalid block", fields | {"error": error})
            return BlockExecuted(block_hash, Verdict.INVALID)
        except LookupError:
            return BlockExecuted(block_hash, Verdict.UNAVAILABLE)
        return BlockExecuted(block_hash, Verdict.VALID)

    async def _finalize(self, block_hash: bytes, certificate: Certificate | None) -> FinalityStored:
        proof = None if certificate is None else encode_certificate(certificate)
        await self._application.finalize(block_hash, proof)
        header = self._application.header(block_hash)
        if header is None:
            raise LookupError(f"block 0x{block_hash.hex()} is final, but has no header")
        if certificate is not None:
            self.proofs[block_hash] = certificate
        return FinalityStored(block_hash, header.number)
