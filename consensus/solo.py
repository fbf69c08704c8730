"""Agreement of a single authority: it leads every view, and its own vote is the quorum."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

from consensus.core import ecvrf
from consensus.core.digest import Justification, digest_item, find_claim, vrf_alpha
from consensus.core.votes import (
    VoteDomain,
    certificate,
    check_finality,
    decode_certificate,
    encode_certificate,
)
from consensus.interface import AgreementSettings, Application, BlockRef
from consensus.session_key import SessionKey
from consensus.signing_record import Signed, SigningRecord, SigningRefused
from runtime.primitives.digest import PreDigest
from runtime.primitives.header import Block, DigestItem, Header

EPOCH = 0
LEADER = 0


class InvalidClaim(Exception):
    """A header that its leader has no right to: the text says why."""


class Rules:
    """What everybody can check of a chain with one authority, without its key."""

    def __init__(self, settings: AgreementSettings) -> None:
        if len(settings.authorities) != 1:
            raise ValueError("a solo chain has exactly one authority")
        self.settings = settings
        self.authority = settings.authorities[LEADER]
        self.domain = VoteDomain(settings.genesis_hash, settings.fork_id)

    def verify_finality_proof(self, proof: bytes, block: BlockRef) -> None:
        """Check that a proof makes exactly this block final; raises InvalidFinalityProof."""
        validators = [(self.authority.public, self.authority.weight)]
        check_finality(proof, block.hash, block.number, self.domain, validators)

    def verify_header(self, header: Header, parent: Header) -> None:
        """Check the leader's claim in a header; raises InvalidClaim."""
        claim = find_claim(header.digest)
        if claim is None:
            raise InvalidClaim("the header needs exactly one claim of its leader")
        if (claim.epoch, claim.leader) != (EPOCH, LEADER):
            raise InvalidClaim("another epoch or leader than the chain has")
        if claim.parent_view != view_of(parent) or claim.view != claim.parent_view + 1:
            raise InvalidClaim("the view does not follow the parent's")
        output = ecvrf.verify(self.authority.public, claim.vrf_proof, self.alpha(claim.view))
        if output is None or output != claim.vrf_output:
            raise InvalidClaim("the proof of randomness is wrong")

    def alpha(self, view: int) -> bytes:
        """Build what the leader of a view proves its randomness on."""
        return vrf_alpha(self.settings.genesis_hash, EPOCH, view, self.settings.seed)


class SoloObserver(Rules):
    """A node of a solo chain that has no authority: it only checks."""

    async def run(self, application: Application) -> None:
        """Wait until cancelled."""
        await trio.sleep_forever()

    def close(self) -> None:
        """Do nothing: an observer holds nothing."""


class SoloAuthority(Rules):
    """The authority: one block per interval, empty or not, final at once."""

    def __init__(
        self,
        settings: AgreementSettings,
        key: SessionKey,
        record: SigningRecord,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        super().__init__(settings)
        if key.public != self.authority.public:
            raise ValueError(
                f"the chain's authority is 0x{self.authority.public.hex()}, "
                f"the key at hand is 0x{key.public.hex()}"
            )
        self._key = key
        self._record = record
        self._now_ms = now_ms
        self._disk = trio.CapacityLimiter(1)

    async def run(self, application: Application) -> None:
        """Finish what was signed before a crash, then make blocks until cancelled."""
        await self.resume(application)
        interval = self.settings.block_interval_ms / 1000
        due = trio.current_time()
        while True:
            await self.step(application)
            due = max(due + interval, trio.current_time())
            await trio.sleep_until(due)

    def close(self) -> None:
        """Release the record of signatures."""
        self._record.close()

    async def resume(self, application: Application) -> None:
        """Make the block final that was signed last, unless it is.

        Raises SigningRefused where the record is ahead of the database or contradicts it.
        """
        last = self._record.last
        final = application.finalized()
        if last is None or last.number < final.number:
            return
        if last.number == final.number:
            if last.block_hash != final.hash:
                raise SigningRefused(f"another block {last.number} was signed than is final here")
            return
        block = Block.decode(last.block)
        if block.header.parent_hash != final.hash:
            raise SigningRefused(
                f"block {last.number} was signed, but the database ends at block {final.number}; "
                "restore the database that belongs to this key"
            )
        await application.execute(block)
        await self._finish(application, last)

    async def step(self, application: Application) -> BlockRef:
        """Build, sign, execute and finalise one block."""
        parent = application.best()
        header = application.header(parent.hash)
        if header is None:
            raise LookupError("the tip has no header")
        parent_view = view_of(header)
        block = await application.build(
            parent.hash,
            timestamp=self._timestamp(application.timestamp(parent.hash)),
            digest=self._digest(application, parent, parent_view),
            full=self._deadline(),
        )
        signed = Signed(
            self.domain.genesis_hash,
            self.domain.fork_id,
            EPOCH,
            parent_view + 1,
            parent_view,
            block.header.number,
            block.header.hash(),
            block.encode(),
        )
        await trio.to_thread.run_sync(self._record.record, signed, limiter=self._disk)
        ref = await application.execute(block)
        await self._finish(application, signed)
        return ref

    async def _finish(self, application: Application, signed: Signed) -> None:
        subject = signed.subject()
        votes = {LEADER: self._key.vote(self.domain, subject)}
        proof = encode_certificate(certificate(subject, votes, validators=1))
        application.set_best(signed.block_hash)
        await application.finalize(signed.block_hash, proof)

    def _digest(
        self, application: Application, parent: BlockRef, parent_view: int
    ) -> tuple[DigestItem, ...]:
        proof = self._key.prove(self.alpha(parent_view + 1))
        output = ecvrf.proof_to_hash(proof)
        if output is None:
            raise SigningRefused("the key gives no valid proof of randomness")
        stored = application.justification(parent.hash)
        justification = Justification(None if stored is None else decode_certificate(stored), ())
        claim = PreDigest(
            EPOCH, parent_view + 1, parent_view, LEADER, output, proof, justification.hash()
        )
        return (digest_item(claim),)

    def _timestamp(self, before: int) -> int:
        least = before + self.settings.minimum_period_ms if before else 1
        return max(self._now_ms(), least)

    def _deadline(self) -> Callable[[], bool]:
        end = time.monotonic() + self.settings.block_interval_ms / 2000
        return lambda: time.monotonic() >= end


def view_of(header: Header) -> int:
    """Return the view in which a block was made; 0 for the genesis block."""
    claim = find_claim(header.digest)
    return 0 if claim is None else claim.view
