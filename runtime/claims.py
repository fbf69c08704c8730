"""The leader's claim to its view, as far as the rules can check it."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.primitives.digest import ENGINE_ID, NextEpoch, PreDigest
from runtime.primitives.errors import BlockReason, InvalidBlock
from runtime.primitives.header import DigestItem, PreRuntime
from runtime.primitives.leaders import leader_of
from runtime.primitives.scale import DecodeError, decode


def read_claim(digest: Sequence[DigestItem]) -> PreDigest:
    """Return the leader's claim, which stands alone in its digest; raises InvalidBlock."""
    found = [i.data for i in digest if isinstance(i, PreRuntime) and i.engine == ENGINE_ID]
    if len(digest) != 1 or len(found) != 1:
        raise _wrong(f"{len(found)} of {len(digest)} items are the leader's, not one of one")
    try:
        claim: PreDigest = decode(PreDigest, found[0])
    except DecodeError as error:
        raise _wrong(str(error)) from error
    return claim


def check_claim(claim: PreDigest, epoch: NextEpoch, *, first: bool) -> None:
    """Check a claim against the block's epoch; raises InvalidBlock.

    first: the block is the first of its epoch, whose parent counts as view 0 and has no signers
    in this epoch. Whether the randomness is proven and the parent certified, the agreement checks.
    """
    if claim.epoch != epoch.epoch:
        raise _wrong(f"epoch {claim.epoch} where {epoch.epoch} is due")
    if claim.view <= claim.parent_view:
        raise _wrong(f"view {claim.view} does not follow the parent's, {claim.parent_view}")
    if (claim.parent_view == 0) != first:
        raise _wrong("the parent's view is 0 in the first block of an epoch, and in no other")
    weights = [authority.weight for authority in epoch.authorities]
    if claim.leader >= len(weights):
        raise _wrong(f"there is no validator {claim.leader}")
    leader = leader_of(epoch.seed, claim.view, weights)
    if claim.leader != leader:
        raise _wrong(f"view {claim.view} is led by validator {leader}, not {claim.leader}")
    _check_signers(claim.parent_signers, 0 if first else len(weights))


def _check_signers(bitmap: bytes, validators: int) -> None:
    """Check a bitmap over so many positions: as long as it must be, no bit beyond them."""
    length = -(-validators // 8)
    if len(bitmap) != length:
        raise _wrong(f"the bitmap of signers has {len(bitmap)} bytes, not {length}")
    if int.from_bytes(bitmap, "little") >> validators:
        raise _wrong("the bitmap names signers outside the validator set")


def _wrong(detail: str) -> InvalidBlock:
    return InvalidBlock(BlockReason.WRONG_DIGEST, detail)
