"""Who breaks a rule is found by two signatures of his own, and nobody else ever is."""

from __future__ import annotations

import dataclasses
from itertools import combinations, product

import agreement_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vote_samples import (
    DOMAIN,
    FINALIZED,
    HASH,
    NOTARIZED,
    NULLIFIED,
    OTHER,
    cast,
    certify,
    members,
    subjects,
)

from consensus.core import rules
from consensus.core.evidence import (
    Evidence,
    EvidenceKind,
    InvalidEvidence,
    check_evidence,
    conflict,
    evidence_of,
    fork_proof,
    votes_in,
)
from consensus.core.messages import Vote
from consensus.core.pool import VotePool
from consensus.core.votes import Subject, VoteDomain, VoteKind
from runtime.primitives.keys import verify_ed25519

VALIDATORS = members((4, 3, 2, 1, 1, 5))
NOTARIZED_OTHER = Subject(VoteKind.NOTARIZE, 2, 7, 5, 40, OTHER)
NOTARIZED_ABOVE = Subject(VoteKind.NOTARIZE, 2, 7, 6, 40, HASH)
NOTARIZED_LATER = Subject(VoteKind.NOTARIZE, 2, 8, 5, 40, OTHER)
FINALIZED_OTHER = Subject(VoteKind.FINALIZE, 2, 7, 5, 40, OTHER)
SAID = (NOTARIZED, NOTARIZED_OTHER, NOTARIZED_ABOVE, NOTARIZED_LATER, NULLIFIED, FINALIZED)


def judge(evidence: Evidence, domain: VoteDomain = DOMAIN) -> int:
    return check_evidence(evidence, domain, VALIDATORS, verify_ed25519)


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (NOTARIZED, NOTARIZED_OTHER, EvidenceKind.CONFLICTING_NOTARIZE),
        (NOTARIZED, NOTARIZED_ABOVE, EvidenceKind.CONFLICTING_NOTARIZE),
        (FINALIZED, FINALIZED_OTHER, EvidenceKind.CONFLICTING_FINALIZE),
        (NULLIFIED, FINALIZED, EvidenceKind.NULLIFY_FINALIZE),
        (NOTARIZED_OTHER, FINALIZED, EvidenceKind.NOTARIZE_FINALIZE),
        (NOTARIZED, NOTARIZED, None),
        (FINALIZED, FINALIZED, None),
        (NULLIFIED, NULLIFIED, None),
        (NOTARIZED, FINALIZED, None),
        (NOTARIZED, NULLIFIED, None),
        (NOTARIZED, NOTARIZED_LATER, None),
        (NULLIFIED, dataclasses.replace(FINALIZED, view=8), None),
        (NULLIFIED, dataclasses.replace(FINALIZED, epoch=3), None),
        (NULLIFIED, dataclasses.replace(NULLIFIED, number=9), None),
    ],
)
def test_these_pairs_are_faults_and_those_are_not(
    first: Subject, second: Subject, kind: EvidenceKind | None
) -> None:
    assert conflict(first, second) is kind
    assert conflict(second, first) is kind
    made = evidence_of(cast(2, second), cast(2, first))
    if kind is None:
        assert made is None
    else:
        assert made is not None
        assert made.kind == kind
        assert made.first.kind <= made.second.kind
        assert judge(made) == 2


@pytest.mark.parametrize("evidence", samples.EVIDENCE.values(), ids=samples.EVIDENCE)
def test_evidence_convicts_its_signer_on_its_chain_alone(evidence: Evidence) -> None:
    assert judge(evidence) == 5
    for domain in (VoteDomain(OTHER, DOMAIN.fork_id), VoteDomain(DOMAIN.genesis_hash, 4)):
        with pytest.raises(InvalidEvidence, match="signature"):
            judge(evidence, domain)


def signed_otherwise(vote: Vote, signer: int) -> Vote:
    return dataclasses.replace(vote, signer=signer)


@pytest.mark.parametrize("evidence", samples.EVIDENCE.values(), ids=samples.EVIDENCE)
def test_tampered_evidence_convicts_nobody(evidence: Evidence) -> None:
    first, second = evidence.first, evidence.second
    tampered = [
        (dataclasses.replace(evidence, kind=evidence.kind % 4 + 1), "are evidence of"),
        (dataclasses.replace(evidence, kind=0), "are evidence of"),
        (dataclasses.replace(evidence, first=signed_otherwise(first, 4)), "two signers"),
        (dataclasses.replace(evidence, second=signed_otherwise(second, 4)), "two signers"),
        (framed(evidence, 4), "signature"),
        (framed(evidence, 6), "outside"),
        (dataclasses.replace(evidence, second=first), "do not conflict"),
        (dataclasses.replace(evidence, second=dataclasses.replace(second, view=8)), "conflict"),
        (dataclasses.replace(evidence, second=dataclasses.replace(second, kind=7)), "7 is not"),
        (dataclasses.replace(evidence, first=unsigned(first)), "signature"),
        (dataclasses.replace(evidence, second=unsigned(second)), "signature"),
    ]
    for changed, text in tampered:
        with pytest.raises(InvalidEvidence, match=text):
            judge(changed)


def framed(evidence: Evidence, signer: int) -> Evidence:
    """Ascribe both votes to another validator."""
    return Evidence(
        evidence.kind,
        signed_otherwise(evidence.first, signer),
        signed_otherwise(evidence.second, signer),
    )


def unsigned(vote: Vote) -> Vote:
    return dataclasses.replace(vote, signature=bytes(64))


@given(subjects(near=True), subjects(near=True), st.integers(0, 5), st.integers(0, 5))
def test_evidence_exists_for_conflicts_of_one_signer_only(
    first: Subject, second: Subject, one: int, other: int
) -> None:
    made = evidence_of(cast(one, first), cast(other, second))
    found = conflict(first, second)
    assert (made is not None) is (one == other and found is not None)
    if made is not None:
        assert judge(made) == one


@given(st.lists(subjects(near=True), max_size=40))
def test_who_follows_the_rules_can_never_be_convicted(offers: list[Subject]) -> None:
    """A validator votes as the rules let it, whatever it is offered in whatever order."""
    cast_by_me: list[Subject] = []
    for offer in offers:
        if is_allowed(offer, cast_by_me):
            cast_by_me.append(offer)
    for first, second in combinations(cast_by_me, 2):
        assert conflict(first, second) is None


def is_allowed(offer: Subject, mine: list[Subject]) -> bool:
    here = [v for v in mine if (v.epoch, v.view) == (offer.epoch, offer.view)]
    said = {v.kind: block(v) for v in here}
    match offer.kind:
        case VoteKind.NOTARIZE:
            return rules.may_notarize(
                view=offer.view,
                final_view=0,
                from_leader=True,
                parent_proven=True,
                gap_nullified=True,
                boundary_legal=True,
                own_notarize=VoteKind.NOTARIZE in said,
            )
        case VoteKind.FINALIZE:
            own = said.get(VoteKind.NOTARIZE)
            return rules.may_finalize(
                view=offer.view,
                final_view=0,
                notarized=block(offer),
                own_notarize=own,
                own_nullify=VoteKind.NULLIFY in said,
                own_finalize=VoteKind.FINALIZE in said,
            )
        case VoteKind.NULLIFY:
            return rules.may_nullify(
                view=offer.view,
                current=offer.view,
                own_nullify=VoteKind.NULLIFY in said,
                own_finalize=VoteKind.FINALIZE in said,
            )


def block(subject: Subject) -> bytes:
    return repr((subject.parent_view, subject.number, subject.block_hash)).encode()


def test_a_pool_finds_each_fault_of_a_signer_once() -> None:
    pool = VotePool(VALIDATORS)
    found = [e for said in SAID for e in pool.add(cast(3, said))]
    assert [EvidenceKind(e.kind) for e in found] == [
        EvidenceKind.CONFLICTING_NOTARIZE,
        EvidenceKind.NULLIFY_FINALIZE,
    ]
    assert [judge(e) for e in found] == [3, 3]
    # The finalize vote now speaks against the second notarize vote, too.
    found = [e for said in SAID for e in pool.add(cast(3, said))]
    assert [EvidenceKind(e.kind) for e in found] == [EvidenceKind.NOTARIZE_FINALIZE]
    assert [e for said in SAID for e in pool.add(cast(3, said))] == []


@given(st.lists(st.tuples(st.integers(0, 5), subjects(near=True)), max_size=60))
def test_a_pool_accuses_exactly_those_who_contradict_what_counts(
    votes: list[tuple[int, Subject]],
) -> None:
    votes = [(who, said) for who, said in votes if said.epoch == 1]  # a pool is of one epoch
    pool = VotePool(VALIDATORS)
    accused = {judge(e) for who, said in votes for e in pool.add(cast(who, said))}
    guilty = {
        who
        for (who, one), (other, two) in product(votes, repeat=2)
        if who == other and conflict(one, two) is not None
    }
    assert accused <= guilty
    # A second vote of a kind convicts with the first, which is kept: nobody escapes.
    assert accused == guilty


def test_votes_come_out_of_a_certificate_as_they_went_in() -> None:
    votes = list(votes_in(certify(FINALIZED, (1, 4), 6)))
    assert votes == [cast(1, FINALIZED), cast(4, FINALIZED)]


def test_a_fork_within_a_view_names_who_finalized_both() -> None:
    one = certify(FINALIZED, (0, 1, 5), 6)
    other = certify(FINALIZED_OTHER, (1, 2, 3, 4, 5), 6)
    proof = fork_proof([one, other])
    assert [judge(e) for e in proof] == [1, 5]
    guilty = VALIDATORS.weight_of(judge(e) for e in proof)
    assert guilty >= 2 * VALIDATORS.quorum - VALIDATORS.total > VALIDATORS.total // 3


def test_a_fork_across_views_names_who_nullified_what_they_finalized() -> None:
    final = certify(FINALIZED, (0, 1, 5), 6)
    skipped = certify(NULLIFIED, (1, 2, 3, 4, 5), 6)
    later = [certify(NOTARIZED_LATER, (0, 1, 5), 6), certify(NOTARIZED_OTHER, (0, 5), 6)]
    proof = fork_proof([*later, skipped, final])
    assert [judge(e) for e in proof] == [0, 1, 5]
    assert fork_proof([final, *later[:1]]) == ()


@given(st.lists(st.tuples(subjects(near=True), st.sets(st.integers(0, 5))), max_size=8))
def test_a_fork_proof_holds_against_everybody_it_names(
    statements: list[tuple[Subject, set[int]]],
) -> None:
    certificates = [certify(said, signers, 6) for said, signers in statements]
    proof = fork_proof(certificates)
    named = [judge(e) for e in proof]
    guilty = {
        signer
        for (one, first), (other, second) in combinations(statements, 2)
        if conflict(one, other) is not None
        for signer in first & second
    }
    assert named == sorted(guilty)
