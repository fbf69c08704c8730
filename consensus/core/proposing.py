"""What a proposal has to be, as far as it follows from itself, its epoch and its parent."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from consensus.core.digest import certificate_hash, justification_hash, vrf_alpha
from consensus.core.messages import MAX_INLINE, Proposal
from consensus.core.ports import Crypto
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate, VoteDomain, VoteKind
from runtime.primitives.digest import PreDigest, find_claim, find_next_epoch


class Flaw(Enum):
    """Why a proposal is invalid whoever looks at it."""

    PARENT = "its certificate is not one of its parent"
    CLAIM = "the header's claim does not belong to this view and leader"
    RANDOMNESS = "the proof of randomness does not hold"
    SIGNERS = "the header names other signers than the parent's certificate"
    BOUNDARY = "above the last block of an epoch only that block may be proposed"
    TIME = "its block sets no time"


def is_original(proposal: Proposal) -> bool:
    """Tell whether the block was made for this view, and is not proposed again."""
    claim = find_claim(proposal.block.header.digest)
    return claim is not None and claim.view == proposal.view


def parent_hash(proposal: Proposal) -> bytes:
    """Return the hash at the parent view: the parent's, or the block's own if proposed again."""
    header = proposal.block.header
    return header.parent_hash if is_original(proposal) else header.hash()


def is_whole(proposal: Proposal) -> bool:
    """Tell whether what stands beside the block is what its leader put there.

    The header of a new block commits to it. Beside a block that is proposed again anything may
    have been exchanged; it is looked at for what it is.
    """
    if not _skipped_fit(proposal):
        return False
    claim = find_claim(proposal.block.header.digest)
    if claim is None or claim.view != proposal.view:
        return True
    return claim.justification_hash == justification_hash(proposal.parent, proposal.skipped)


def find_flaw(proposal: Proposal, epoch: Epoch, domain: VoteDomain, crypto: Crypto) -> Flaw | None:
    """Check a whole proposal with its leader's signature; certificates are checked elsewhere."""
    header = proposal.block.header
    claim = find_claim(header.digest)
    if claim is None or claim.epoch != epoch.number:
        return Flaw.CLAIM
    original = claim.view == proposal.view
    if not original and find_next_epoch(header.digest) is None:
        return Flaw.CLAIM
    if not _parent_fits(proposal, epoch, original):
        return Flaw.PARENT
    return _flaw_of_claim(proposal, claim, epoch, domain, crypto) if original else None


def _parent_fits(proposal: Proposal, epoch: Epoch, original: bool) -> bool:
    header = proposal.block.header
    if not proposal.parent_view < proposal.view:
        return False
    if not proposal.parent_view:
        starts = (epoch.start_hash, epoch.start_number + 1)
        return (
            original and proposal.parent is None and (header.parent_hash, header.number) == starts
        )
    parent = proposal.parent
    if parent is None or parent.kind == VoteKind.NULLIFY:
        return False
    number = header.number - 1 if original else header.number
    return (parent.epoch, parent.view, parent.number, parent.block_hash) == (
        epoch.number,
        proposal.parent_view,
        number,
        parent_hash(proposal),
    )


def _skipped_fit(proposal: Proposal) -> bool:
    views = range(proposal.parent_view + 1, proposal.view)
    inline = proposal.nullifications
    if len(proposal.skipped) != len(views) or len(inline) != min(len(views), MAX_INLINE):
        return False
    first = len(views) - len(inline)
    return all(
        certificate.kind == VoteKind.NULLIFY
        and certificate.epoch == proposal.epoch
        and certificate.view == view
        and certificate_hash(certificate) == named
        for view, named, certificate in zip(
            views[first:], proposal.skipped[first:], inline, strict=True
        )
    )


def _flaw_of_claim(
    proposal: Proposal, claim: PreDigest, epoch: Epoch, domain: VoteDomain, crypto: Crypto
) -> Flaw | None:
    leader = epoch.leader(proposal.view)
    if (claim.parent_view, claim.leader) != (proposal.parent_view, leader):
        return Flaw.CLAIM
    if claim.parent_signers != parent_signers(proposal.parent):
        return Flaw.SIGNERS
    alpha = vrf_alpha(domain.genesis_hash, epoch.number, proposal.view, epoch.seed)
    public = epoch.validators.members[leader].public
    output = crypto.vrf(public, alpha, claim.vrf_proof)
    return None if output is not None and output == claim.vrf_output else Flaw.RANDOMNESS


def parent_signers(parent: Certificate | None) -> bytes:
    """Return the bitmap that the claim carries."""
    return b"" if parent is None else parent.bitmap


def inline(nullifications: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Choose the nullifications that travel with a proposal: the last ones."""
    return tuple(nullifications[-MAX_INLINE:])
