"""A chain just large enough for the core: blocks with a time, some of which end an epoch."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.core import ecvrf
from consensus.core.actions import Build
from consensus.core.events import Verdict
from consensus.core.votes import Certificate, encode_certificate
from consensus.session_key import SessionKey
from runtime.primitives.digest import (
    Authority,
    NextEpoch,
    PreDigest,
    find_next_epoch,
    next_epoch_item,
    pre_digest_item,
)
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Block, DigestItem, Header

GENESIS = Header(bytes(32), 0, blake2_256(b"genesis"), blake2_256(b""), ())
GENESIS_HASH = GENESIS.hash()
BROKEN = b"\x0cbad"
"""An extrinsic that no chain executes."""


def body(time: int, *more: bytes) -> tuple[bytes, ...]:
    return (b"\x20" + time.to_bytes(8, "little"), *more)


class ScriptedChain:
    """What one validator has executed (lost in a crash) and finalized (kept)."""

    def __init__(self, members: tuple[Authority, ...], ends: Sequence[int] = ()) -> None:
        self.members = members
        self.ends = tuple(ends)
        """Numbers of the blocks that end an epoch."""
        self.known: dict[bytes, Block] = {GENESIS_HASH: Block(GENESIS, ())}
        self.final = [GENESIS_HASH]
        self.proofs: dict[bytes, bytes] = {}

    # --- the port -------------------------------------------------------------------------

    def header(self, block_hash: bytes) -> Header | None:
        block = self.known.get(block_hash)
        return None if block is None else block.header

    def block(self, block_hash: bytes) -> Block | None:
        return self.known.get(block_hash)

    def executed(self, block_hash: bytes) -> bool:
        return block_hash in self.known

    def time(self, block_hash: bytes) -> int:
        return self.block_time(self.known[block_hash]) or 0

    def block_time(self, block: Block) -> int | None:
        if not block.extrinsics or len(block.extrinsics[0]) != 9:
            return None
        return int.from_bytes(block.extrinsics[0][1:], "little")

    def is_whole(self, block: Block) -> bool:
        """Tell whether the extrinsics are those of the header."""
        return block.header.extrinsics_root == blake2_256(b"".join(block.extrinsics))

    def justification(self, block_hash: bytes) -> bytes | None:
        return self.proofs.get(block_hash)

    def block_hash(self, number: int) -> bytes | None:
        return self.final[number] if number < len(self.final) else None

    def boundary(self, epoch: int) -> bytes | None:
        return self.final[self.ends[epoch]] if epoch < len(self.ends) else None

    # --- what the driver does -------------------------------------------------------------

    def build(self, order: Build, key: SessionKey, now: int, *more: bytes) -> Block:
        """Make the block that the core asked for, and know it."""
        proof = key.prove(order.alpha)
        claim = PreDigest(
            order.epoch,
            order.view,
            order.parent_view,
            order.leader,
            ecvrf.proof_to_hash(proof) or b"",
            proof,
            order.justification_hash,
            order.parent_signers,
        )
        parent = self.known[order.parent_hash].header
        extrinsics = body(max(now, order.least_timestamp), *more)
        block = self.seal(parent, order.parent_hash, (pre_digest_item(claim),), extrinsics)
        if BROKEN not in more:
            self.known[block.header.hash()] = block
        return block

    def seal(
        self,
        parent: Header,
        parent_hash: bytes,
        digest: tuple[DigestItem, ...],
        extrinsics: tuple[bytes, ...],
    ) -> Block:
        number = parent.number + 1
        root = blake2_256(b"".join(extrinsics))
        if number in self.ends:
            epoch = self.ends.index(number) + 1
            digest = (
                *digest,
                next_epoch_item(NextEpoch(epoch, self.members, bytes((epoch,)) * 32)),
            )
        state = blake2_256(parent.state_root + root)
        return Block(Header(parent_hash, number, state, root, digest), extrinsics)

    def execute(self, block: Block) -> Verdict:
        header = block.header
        parent = self.known.get(header.parent_hash)
        if parent is None:
            return Verdict.UNAVAILABLE
        root = blake2_256(b"".join(block.extrinsics))
        sound = (
            self.is_whole(block)
            and BROKEN not in block.extrinsics
            and header.state_root == blake2_256(parent.header.state_root + root)
            and (find_next_epoch(header.digest) is not None) is (header.number in self.ends)
        )
        if sound:
            self.known[header.hash()] = block
        return Verdict.VALID if sound else Verdict.INVALID

    def finalize(self, block_hash: bytes, certificate: Certificate | None) -> int:
        """Put a block and its ancestors on the disk; raises where that would fork."""
        branch = []
        step = block_hash
        while step not in self.final:
            branch.append(step)
            step = self.known[step].header.parent_hash
        if step != self.final[-1]:
            raise AssertionError("two final blocks exclude each other")
        self.final += reversed(branch)
        if certificate is not None:
            self.proofs[block_hash] = encode_certificate(certificate)
        return len(self.final) - 1

    def crash(self) -> None:
        """Forget what is not final."""
        self.known = {block_hash: self.known[block_hash] for block_hash in self.final}
