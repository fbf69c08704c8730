"""A leader answers for what its header commits to; whoever passes it on cannot spoil it.

The signature of a proposal is over the header's hash: certificates and extrinsics beside it can be
exchanged by anybody, so a copy that does not fit costs its sender, never the leader or the block.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from scripted_chain import BROKEN, body
from scripted_proposals import certify, craft, nullified, seed_where, signed
from scripted_world import LATENCY, PACE, World

from consensus.core.digest import certificate_hash
from consensus.core.events import EpochReady, Responded, SigningAllowed, Started
from consensus.core.messages import (
    Blocks,
    BlocksRequest,
    CertificateNotice,
    Message,
    Proposal,
)
from consensus.core.votes import Certificate, Subject, VoteKind
from runtime.primitives.header import Block

EQUAL = (1, 1, 1, 1)
ME, RELAY = 0, 3
NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE


def nothing(sender: int, receiver: int, message: Message) -> bool:
    return False


def third_view() -> tuple[World, Proposal]:
    """Make the proposal of view 3 on the block of view 1; view 2 failed."""
    world = World(seed=seed_where(EQUAL, (1, 2, 2)))
    world.passes = nothing
    world.start(ME)
    first = craft(world, 1)
    world.send(1, ME, first)
    world.run(LATENCY)
    proof = certify(world, first.subject(), (0, 1, 2))
    skipped = [nullified(world, 2, (1, 2, 3))]
    good = craft(world, 3, parent=first.block, proof=proof, skipped=skipped)
    return world, good


def forged(certificate: Certificate) -> Certificate:
    return dataclasses.replace(certificate, signatures=(bytes(64),) * len(certificate.signatures))


def mangled(good: Proposal, how: str) -> Proposal:
    assert good.parent is not None
    skip = good.nullifications[0]
    fake = forged(skip)
    changes: dict[str, dict[str, Any]] = {
        "parent forged": {"parent": forged(good.parent)},
        "parent dropped": {"parent": None},
        "parent is a nullification": {"parent": skip},
        "nullification forged": {"nullifications": (fake,)},
        "nullification forged and named": {
            "nullifications": (fake,),
            "skipped": (certificate_hash(fake),),
        },
        "nullification dropped": {"nullifications": ()},
        "skipped dropped": {"nullifications": (), "skipped": ()},
        "skipped renamed": {"skipped": (bytes(32),)},
        "too many nullifications": {"nullifications": (skip, skip)},
        "body emptied": {"block": Block(good.block.header, ())},
        "body exchanged": {"block": Block(good.block.header, body(5, BROKEN))},
    }
    return dataclasses.replace(good, **changes[how])


HOW = [
    "parent forged",
    "parent dropped",
    "parent is a nullification",
    "nullification forged",
    "nullification forged and named",
    "nullification dropped",
    "skipped dropped",
    "skipped renamed",
    "too many nullifications",
    "body emptied",
    "body exchanged",
]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("certificates_are_known", [False, True])
def test_a_mangled_copy_that_comes_first_does_not_stop_the_proposal(
    how: str, certificates_are_known: bool
) -> None:
    world, good = third_view()
    node = world.nodes[ME]
    if certificates_are_known:
        for certificate in (good.parent, *good.nullifications):
            assert certificate is not None
            world.send(1, ME, CertificateNotice(certificate))
    for _ in range(3):
        world.send(RELAY, ME, mangled(good, how))
    world.run(LATENCY)
    assert node.votes(NULLIFY) == []
    world.send(2, ME, good)
    world.run(LATENCY)
    assert [s.view for s in node.votes(NOTARIZE)] == [1, 3]
    assert {p.peer for p in node.penalties} <= {str(RELAY)}


@pytest.mark.parametrize("how", HOW)
def test_a_mangled_copy_that_comes_later_does_not_undo_the_proposal(how: str) -> None:
    world, good = third_view()
    node = world.nodes[ME]
    world.send(2, ME, good)
    world.send(RELAY, ME, mangled(good, how))
    world.run(LATENCY)
    world.send(RELAY, ME, mangled(good, how))
    world.run(LATENCY)
    assert [s.view for s in node.votes(NOTARIZE)] == [1, 3]
    assert node.votes(NULLIFY) == []


@pytest.mark.parametrize("how", [h for h in HOW if "body" not in h and "named" not in h])
def test_a_mangled_copy_of_a_block_proposed_again_is_dropped(how: str) -> None:
    """Its header commits to another view's certificates: here they are covered by nothing."""
    world = World(seed=seed_where(EQUAL, (1, 2, 2)), ends=(1,))
    world.passes = nothing
    world.start(ME)
    last = craft(world, 1)
    world.send(1, ME, last)
    world.run(LATENCY)
    proof = certify(world, last.subject(), (0, 1, 2))
    skip = nullified(world, 2, (1, 2, 3))
    again = Proposal(0, 3, 1, last.block, bytes(64), proof, (certificate_hash(skip),), (skip,))
    good = signed(world, again, 2)
    world.send(RELAY, ME, mangled(good, how))
    world.run(LATENCY)
    assert world.nodes[ME].votes(NULLIFY) == []
    world.send(2, ME, good)
    world.run(LATENCY)
    assert [s.view for s in world.nodes[ME].votes(NOTARIZE)] == [1, 3]


@pytest.mark.parametrize("wrong", [(), body(5, BROKEN)])
def test_a_wrong_body_for_a_block_that_was_asked_for_is_not_taken(wrong: tuple[bytes, ...]) -> None:
    world = World(seed=seed_where(EQUAL, (1, 2)))
    world.passes = nothing
    world.start(ME)
    node = world.nodes[ME]
    first = craft(world, 1)
    world.send(1, ME, CertificateNotice(certify(world, first.subject(), (1, 2, 3))))
    asked = BlocksRequest((first.block.header.hash(),))
    assert asked in node.asked
    spoiled = Block(first.block.header, wrong)
    world.feed(node, Responded(asked, str(RELAY), Blocks((spoiled,))))
    world.run(LATENCY)
    world.run(PACE.retry)
    world.feed(node, Responded(asked, "1", Blocks((first.block,))))
    world.run(LATENCY)
    assert node.chain.executed(first.block.header.hash())


def test_a_leader_that_commits_to_what_does_not_hold_gets_no_vote_for_it() -> None:
    world, good = third_view()
    assert good.parent is not None
    first = world.nodes[ME].replica.rounds[1].proposals[0][0]
    bad = craft(
        world,
        3,
        parent=first.block,
        proof=forged(good.parent),
        skipped=good.nullifications,
    )
    world.send(2, ME, bad)
    world.run(PACE.certificate)
    assert [s.view for s in world.nodes[ME].votes(NOTARIZE)] == [1]


def test_a_header_cannot_credit_signers_with_a_certificate_that_does_not_hold() -> None:
    """The certificate of the parent is known here; the leader shows one with other signers."""
    world, good = third_view()
    assert good.parent is not None
    world.send(1, ME, CertificateNotice(good.parent))
    invented = dataclasses.replace(good.parent, bitmap=b"\x0e")
    first = world.nodes[ME].replica.rounds[1].proposals[0][0]
    bad = craft(world, 3, parent=first.block, proof=invented, skipped=good.nullifications)
    world.send(2, ME, bad)
    world.run(PACE.certificate)
    assert [s.view for s in world.nodes[ME].votes(NOTARIZE)] == [1]


def test_a_double_heard_while_listening_keeps_the_validator_silent() -> None:
    world = World(seed=seed_where(EQUAL, (1, 2)))
    world.passes = nothing
    node = world.nodes[ME]
    node.up = True
    world.feed(node, Started(tuple(node.logs[0])))
    world.feed(node, EpochReady(0, signing=True))
    world.send(1, ME, world.sign(ME, Subject(NULLIFY, 0, 1)))
    assert len(node.stops) == 1
    world.feed(node, SigningAllowed())
    world.send(1, ME, craft(world, 1))
    world.run(PACE.certificate)
    assert not node.core.signing
    assert node.refused == []
    assert node.votes() == []
