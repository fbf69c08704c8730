"""Proposals and certificates of a test's own making, with the real keys of the scripted world."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from scripted_chain import GENESIS, body
from scripted_world import DOMAIN, World, nothing

from consensus.core import ecvrf
from consensus.core.digest import certificate_hash, justification_hash, vrf_alpha
from consensus.core.messages import MAX_INLINE, Proposal
from consensus.core.votes import Certificate, Subject, VoteKind, certificate
from runtime.primitives.digest import PreDigest, pre_digest_item
from runtime.primitives.header import Block
from runtime.primitives.leaders import leader_of

EQUAL = (1, 1, 1, 1)


def seed_where(weights: Sequence[int], leaders: Sequence[int]) -> bytes:
    """Find a seed with which these positions lead the views from 1 on."""
    for number in count():
        seed = number.to_bytes(32, "little")
        world_leaders = [_leader(seed, view + 1, weights) for view in range(len(leaders))]
        if world_leaders == list(leaders):
            return seed
    raise AssertionError("unreachable")


def _leader(seed: bytes, view: int, weights: Sequence[int]) -> int:
    return leader_of(seed, view, weights)


def alone(*leaders: int, ends: Sequence[int] = ()) -> World:
    """Make a world where only the first of four runs, and no message passes by itself."""
    world = World(ends=ends, seed=seed_where(EQUAL, leaders))
    world.passes = nothing
    world.start(0)
    return world


def certify(world: World, subject: Subject, signers: Iterable[int]) -> Certificate:
    signatures = {i: world.keys[i].vote(DOMAIN, subject) for i in signers}
    return certificate(subject, signatures, len(world.nodes))


def nullified(world: World, view: int, signers: Iterable[int]) -> Certificate:
    return certify(world, Subject(VoteKind.NULLIFY, 0, view), signers)


def finalized(subject: Subject) -> Subject:
    return Subject(
        VoteKind.FINALIZE,
        subject.epoch,
        subject.view,
        subject.parent_view,
        subject.number,
        subject.block_hash,
    )


def craft(
    world: World,
    view: int,
    *,
    parent: Block | None = None,
    proof: Certificate | None = None,
    skipped: Sequence[Certificate] = (),
    hidden: Sequence[bytes] = (),
    leader: int | None = None,
    signer: int | None = None,
    prover: int | None = None,
    credited: bytes | None = None,
    time: int | None = None,
    more: Sequence[bytes] = (),
) -> Proposal:
    """Make a proposal of the first epoch; by default all in it is as it should be.

    skipped: the nullifications between, shown as far as they may be; hidden: hashes of others,
    before them, that nobody is shown. leader: who the header says; signer: who signs;
    prover: whose proof of randomness it carries; credited: the bitmap of the parent's signers.
    """
    leads = world.leads(view)
    leader = leads if leader is None else leader
    signer = leads if signer is None else signer
    header = GENESIS if parent is None else parent.header
    hashes = (*hidden, *map(certificate_hash, skipped))
    alpha = vrf_alpha(DOMAIN.genesis_hash, 0, view, world.first.seed)
    vrf = world.keys[leader if prover is None else prover].prove(alpha)
    signers = b"" if proof is None else proof.bitmap
    claim = PreDigest(
        0,
        view,
        0 if proof is None else proof.view,
        leader,
        ecvrf.proof_to_hash(vrf) or b"",
        vrf,
        justification_hash(proof, hashes),
        signers if credited is None else credited,
    )
    extrinsics = body(world.now if time is None else time, *more)
    digest = (pre_digest_item(claim),)
    block = world.nodes[0].chain.seal(header, header.hash(), digest, extrinsics)
    unsigned = Proposal(
        0,
        view,
        claim.parent_view,
        block,
        bytes(64),
        proof,
        hashes,
        tuple(skipped)[-MAX_INLINE:],
    )
    return signed(world, unsigned, signer)


def signed(world: World, proposal: Proposal, signer: int) -> Proposal:
    return Proposal(
        proposal.epoch,
        proposal.view,
        proposal.parent_view,
        proposal.block,
        world.keys[signer].vote(DOMAIN, proposal.subject()),
        proposal.parent,
        proposal.skipped,
        proposal.nullifications,
    )
