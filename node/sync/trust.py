"""What makes a header trustworthy: a certificate of the validators that were announced before."""

from __future__ import annotations

from consensus.core.messages import EpochProof
from consensus.core.validators import Epoch, ValidatorSet
from consensus.core.votes import (
    InvalidFinalityProof,
    VoteDomain,
    VoteKind,
    check_certificate,
)
from node.sync.asking import Untrusted
from runtime.primitives.digest import NextEpoch, find_next_epoch
from runtime.primitives.header import Block, Header
from runtime.state.trie import ordered_root


def announced_by(header: Header, epoch: int) -> NextEpoch:
    """Return what a header announces that ends an epoch; raises Untrusted."""
    announced = find_next_epoch(header.digest)
    if announced is None or announced.epoch != epoch + 1:
        raise Untrusted(f"block {header.number} does not end epoch {epoch}")
    return announced


def epoch_behind(header: Header, epoch: int) -> Epoch:
    """Return the epoch that a block begins which ended `epoch`; raises Untrusted."""
    announced = announced_by(header, epoch)
    members = ValidatorSet(announced.authorities)
    return Epoch(announced.epoch, members, announced.seed, header.hash(), header.number)


def check_end(proof: EpochProof, epoch: Epoch, domain: VoteDomain) -> Epoch:
    """Check the proof of an epoch's end, and return the next epoch; raises Untrusted."""
    following = epoch_behind(proof.header, epoch.number)
    if proof.header.number <= epoch.start_number:
        raise Untrusted(f"epoch {epoch.number} cannot end before it starts")
    check_final(proof, epoch, domain)
    return following


def check_final(proof: EpochProof, epoch: Epoch, domain: VoteDomain) -> None:
    """Check that a header is final by the validators of an epoch; raises Untrusted."""
    certificate, header = proof.certificate, proof.header
    if certificate.kind != VoteKind.FINALIZE or certificate.epoch != epoch.number:
        raise Untrusted(f"no finalization of epoch {epoch.number}")
    if (certificate.block_hash, certificate.number) != (header.hash(), header.number):
        raise Untrusted(f"the certificate is not about block {header.number}")
    members = [(member.public, member.weight) for member in epoch.validators.members]
    try:
        check_certificate(certificate, domain, members)
    except InvalidFinalityProof as error:
        raise Untrusted(str(error)) from error


def check_body(block: Block) -> None:
    """Check that a block has the extrinsics that its header names; raises Untrusted."""
    if ordered_root(block.extrinsics) != block.header.extrinsics_root:
        raise Untrusted(f"block {block.header.number} came with other extrinsics")
