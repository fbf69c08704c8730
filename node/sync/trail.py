"""The ends of epochs in order, each final by the validators that the one before it named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import trio

from consensus.core.messages import (
    MAX_EPOCH_PROOFS,
    EpochProof,
    EpochProofs,
    EpochProofsRequest,
    decode_response,
    encode_request,
)
from consensus.core.validators import Epoch
from consensus.core.votes import VoteDomain, encode_certificate
from node.log import Log
from node.storage.staging import ProvenHeader, Staging
from node.sync.asking import Asking, Untrusted
from node.sync.trust import check_end, epoch_behind
from runtime.primitives.hashing import blake2_256

_log = Log("sync")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An epoch and the hash of the block that ended it, from a source that is trusted."""

    epoch: int
    block_hash: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `EPOCH:HASH`; raises ValueError."""
        epoch, _, name = text.partition(":")
        name = name.removeprefix("0x")
        if not epoch.isdecimal() or len(name) != 64:
            raise ValueError("--checkpoint takes EPOCH:HASH, the hash of the block that ended it")
        return cls(int(epoch), bytes.fromhex(name))


@dataclass(frozen=True, slots=True)
class Trust:
    """What is believed without proof: the chain's first epoch, or a later checkpoint."""

    domain: VoteDomain
    first: Epoch
    checkpoint: Checkpoint | None = None

    def hash(self) -> bytes:
        """Return a name for it."""
        start = self.checkpoint or Checkpoint(0, b"")
        return blake2_256(
            self.domain.genesis_hash
            + self.domain.fork_id.to_bytes(4, "little")
            + start.epoch.to_bytes(8, "little")
            + start.block_hash
        )


class Trail:
    """How far the validator sets are known; goes on from what was staged before."""

    def __init__(self, staging: Staging, asking: Asking, trust: Trust) -> None:
        self._staging = staging
        self._asking = asking
        self._trust = trust
        self._before: Epoch | None = None
        self.epoch: Epoch | None = None if trust.checkpoint else trust.first

    def resume(self) -> None:
        """Take up the proofs that were checked by an earlier process."""
        for epoch, proven in self._staging.proofs():
            self._advance(epoch_behind(proven.header, epoch))

    def known(self, epoch: int) -> Epoch | None:
        """Return the last epoch or the one before it, whose sets can check a certificate."""
        for candidate in (self.epoch, self._before):
            if candidate is not None and candidate.number == epoch:
                return candidate
        return None

    async def extend(self) -> bool:
        """Follow as far as anybody can prove; False where not even the checkpoint is to be had."""
        if self.epoch is None and not await self._find_checkpoint():
            return False
        while self.epoch is not None:
            epoch = self.epoch
            request = encode_request(EpochProofsRequest(epoch.number, MAX_EPOCH_PROOFS))
            found = await self._asking.first(request, partial(_judge_ends, epoch, self._trust))
            if found is None:
                break
            await self._take(epoch.number, found[1])
        return True

    async def _find_checkpoint(self) -> bool:
        checkpoint = self._trust.checkpoint
        if checkpoint is None:
            return False
        request = encode_request(EpochProofsRequest(checkpoint.epoch, 1))
        found = await self._asking.first(request, partial(_judge_checkpoint, checkpoint))
        if found is None:
            return False
        await self._take(checkpoint.epoch, [found[1]])
        return True

    async def _take(self, first: int, ends: Sequence[tuple[ProvenHeader, Epoch]]) -> None:
        proofs = {first + i: proven for i, (proven, _) in enumerate(ends)}
        await trio.to_thread.run_sync(self._staging.add_proofs, proofs)
        for _, following in ends:
            self._advance(following)
        _log.info("epochs checked", through=first + len(ends) - 1)

    def _advance(self, following: Epoch) -> None:
        self._before, self.epoch = self.epoch, following


def _judge_ends(epoch: Epoch, trust: Trust, data: bytes) -> list[tuple[ProvenHeader, Epoch]] | None:
    proofs = decode_ends(data, MAX_EPOCH_PROOFS)
    ends = []
    for proof in proofs:
        following = check_end(proof, epoch, trust.domain)
        ends.append((ProvenHeader(proof.header, encode_certificate(proof.certificate)), following))
        epoch = following
    return ends or None


def _judge_checkpoint(checkpoint: Checkpoint, data: bytes) -> tuple[ProvenHeader, Epoch] | None:
    proofs = decode_ends(data, 1)
    if not proofs:
        return None
    header = proofs[0].header
    if header.hash() != checkpoint.block_hash:
        # The peer may be right and the checkpoint wrong, so nobody is blamed.
        _log.warning(
            "a peer knows another block for the checkpoint; check --checkpoint",
            epoch=checkpoint.epoch,
            checkpoint=checkpoint.block_hash,
            peers=header.hash(),
        )
        return None
    return ProvenHeader(header, None), epoch_behind(header, checkpoint.epoch)


def decode_ends(data: bytes, most: int) -> tuple[EpochProof, ...]:
    """Decode an answer with ends of epochs; raises DecodeError or Untrusted."""
    response = decode_response(data)
    if not isinstance(response, EpochProofs) or len(response.proofs) > most:
        raise Untrusted("not an answer to a question for the ends of epochs")
    return response.proofs
