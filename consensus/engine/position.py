"""Where a chain stands in its epochs, and the chain as the core reads it."""

from __future__ import annotations

from consensus.core import ecvrf
from consensus.core.ports import FinalRef
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate, decode_certificate
from consensus.interface import AgreementSettings, Application, BlockRef
from runtime.primitives.digest import find_claim, find_next_epoch
from runtime.primitives.header import Header
from runtime.primitives.keys import verify_ed25519

REMEMBERED_TIMES = 1024


class BrokenChain(Exception):
    """The chain below does not have what a finalised chain has; the text says what is missing."""


class ChainView:
    """The `Ledger` of the core: what the application has executed, and what is final there."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._times: dict[bytes, int] = {}
        self.header = application.header
        self.block = application.block
        self.block_time = application.block_time
        self.is_whole = application.is_whole
        self.justification = application.justification
        self.block_hash = application.block_hash
        self.boundary = application.boundary

    def executed(self, block_hash: bytes) -> bool:
        """Tell whether a block is known to the chain, which knows executed blocks only."""
        return self._application.header(block_hash) is not None

    def time(self, block_hash: bytes) -> int:
        """Read the time (unix ms) that an executed block set; 0 at genesis."""
        known = self._times.get(block_hash)
        if known is not None:
            return known
        block = self._application.block(block_hash)
        time = (self._application.block_time(block) or 0) if block is not None else 0
        if len(self._times) >= REMEMBERED_TIMES:
            del self._times[next(iter(self._times))]
        self._times[block_hash] = time
        return time


class RealCrypto:
    """The `Crypto` of the core."""

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Check an ed25519 signature, strictly."""
        return verify_ed25519(public, message, signature)

    def vrf(self, public: bytes, alpha: bytes, proof: bytes) -> bytes | None:
        """Return the output (64 bytes) that an ECVRF proof shows, None if it shows none."""
        return ecvrf.verify(public, proof, alpha)


def start_of(application: Application, settings: AgreementSettings) -> tuple[Epoch, FinalRef]:
    """Return the epoch of the block after the last final one, and that block.

    Raises BrokenChain where the chain has no claim or no boundary where it must have one.
    """
    final = application.finalized()
    first = settings.epoch
    if final.number <= first.start_number:
        return first, FinalRef(0, final.number, final.hash)
    header = _header(application, final.hash)
    proof = _proof(application, final.hash)
    if find_next_epoch(header.digest) is not None:
        epoch = _epoch_from(first, header)
        return epoch, FinalRef(0, final.number, final.hash, proof)
    claim = find_claim(header.digest)
    if claim is None:
        raise BrokenChain(f"block {final.number} is final, but names no leader")
    view = claim.view if proof is None else proof.view
    reference = FinalRef(view, final.number, final.hash, proof)
    return _epoch_of(application, first, claim.epoch), reference


def highest_proven(application: Application, most: int) -> tuple[BlockRef, Certificate] | None:
    """Find the last final block with a proof of its own, within `most` blocks from the last."""
    final = application.finalized()
    for number in range(final.number, max(0, final.number - most), -1):
        block_hash = application.block_hash(number)
        proof = None if block_hash is None else _proof(application, block_hash)
        if block_hash is not None and proof is not None:
            return BlockRef(block_hash, number), proof
    return None


def _epoch_of(application: Application, first: Epoch, number: int) -> Epoch:
    if number == first.number:
        return first
    boundary = application.boundary(number - 1)
    if boundary is None:
        raise BrokenChain(f"the block that ended epoch {number - 1} is not known")
    return _epoch_from(first, _header(application, boundary))


def _epoch_from(first: Epoch, header: Header) -> Epoch:
    announcement = find_next_epoch(header.digest)
    if announcement is None:
        raise BrokenChain(f"block {header.number} ended an epoch without naming the next one")
    return first.after(announcement, header.hash(), header.number)


def _header(application: Application, block_hash: bytes) -> Header:
    header = application.header(block_hash)
    if header is None:
        raise BrokenChain(f"the final block 0x{block_hash.hex()} has no header")
    return header


def _proof(application: Application, block_hash: bytes) -> Certificate | None:
    data = application.justification(block_hash)
    return None if data is None else decode_certificate(data)
