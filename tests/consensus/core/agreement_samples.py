"""One example of everything that validators tell each other, ask, answer and write down."""

from __future__ import annotations

from hypothesis import strategies as st
from vote_samples import (
    FINALIZED,
    HASH,
    NOTARIZED,
    NULLIFIED,
    OTHER,
    cast,
    certificates,
    certify,
    hashes,
    public,
    signatures,
    subjects,
    views,
)

from consensus.core.digest import certificate_hash, justification_hash
from consensus.core.evidence import Evidence, evidence_of
from consensus.core.messages import (
    Blocks,
    BlocksRequest,
    CertificateNotice,
    Certificates,
    CertificatesRequest,
    EpochProof,
    EpochProofs,
    EpochProofsRequest,
    Finality,
    FinalityRequest,
    Headers,
    HeadersRequest,
    Message,
    Proposal,
    Request,
    Response,
    Status,
    Votes,
    VotesRequest,
    vote_of,
)
from consensus.core.records import (
    EpochOpened,
    Floor,
    OwnVote,
    Record,
    SeenCertificate,
    SeenProposal,
)
from consensus.core.votes import Subject, VoteKind
from runtime.primitives.digest import (
    Authority,
    NextEpoch,
    PreDigest,
    next_epoch_item,
    pre_digest_item,
)
from runtime.primitives.header import Block, Header

NOTARIZATION = certify(NOTARIZED, (0, 2, 9), 11)
NULLIFICATION = certify(NULLIFIED, range(8), 11)
FINALIZATION = certify(FINALIZED, (1, 3, 10), 11)
AUTHORITIES = (Authority(public(0), 3), Authority(public(1), 2**40))
ANNOUNCEMENT = NextEpoch(3, AUTHORITIES, OTHER)
CLAIM = PreDigest(
    epoch=2,
    view=8,
    parent_view=7,
    leader=1,
    vrf_output=bytes(range(64)),
    vrf_proof=bytes(range(80)),
    justification_hash=justification_hash(NOTARIZATION, [certificate_hash(NULLIFICATION)]),
    parent_signers=NOTARIZATION.bitmap,
)
HEADER = Header(HASH, 41, OTHER, HASH, (pre_digest_item(CLAIM), next_epoch_item(ANNOUNCEMENT)))
BLOCK = Block(HEADER, (b"\x0c\x04\x01\x02", b"\x04\xff"))
PROPOSAL = Proposal(
    2,
    8,
    7,
    BLOCK,
    bytes(range(64)),
    NOTARIZATION,
    (certificate_hash(NULLIFICATION),),
    (NULLIFICATION,),
)
FIRST_PROPOSAL = Proposal(2, 1, 0, BLOCK, bytes(64), None, (), ())


def conflicting(first: Subject, second: Subject) -> Evidence:
    found = evidence_of(cast(5, first), cast(5, second))
    assert found is not None
    return found


MESSAGES: dict[str, Message] = {
    "vote.notarize": cast(300, NOTARIZED),
    "vote.nullify": cast(300, NULLIFIED),
    "vote.finalize": cast(300, FINALIZED),
    "certificate": CertificateNotice(FINALIZATION),
    "proposal": PROPOSAL,
    "proposal.first": FIRST_PROPOSAL,
    "status": Status(2, 8, 7, 40, HASH),
}
REQUESTS: dict[str, Request] = {
    "certificates": CertificatesRequest(2, 3, 9),
    "headers": HeadersRequest(17, 512),
    "blocks": BlocksRequest((HASH, OTHER)),
    "epoch_proofs": EpochProofsRequest(1, 16),
    "votes": VotesRequest(2, 300),
    "finality": FinalityRequest(),
}
PROOF = EpochProof(HEADER, FINALIZATION)
RESPONSES: dict[str, Response] = {
    "certificates": Certificates((NOTARIZATION, NULLIFICATION)),
    "headers": Headers((HEADER,)),
    "blocks": Blocks((BLOCK,)),
    "epoch_proofs": EpochProofs((PROOF,)),
    "votes": Votes((cast(300, NOTARIZED), cast(300, NULLIFIED))),
    "finality": Finality(PROOF),
    "no_finality": Finality(None),
}
RECORDS: dict[str, Record] = {
    "opened": EpochOpened(HASH, 3, 2, AUTHORITIES, OTHER, HASH, 39, FINALIZATION),
    "opened.first": EpochOpened(HASH, 0, 0, AUTHORITIES, OTHER, HASH, 0, None),
    "own_vote": OwnVote(cast(300, FINALIZED)),
    "certificate": SeenCertificate(NOTARIZATION),
    "proposal": SeenProposal(FIRST_PROPOSAL),
    "floor": Floor(FINALIZATION),
}
EVIDENCE = {
    "E1": conflicting(NOTARIZED, Subject(VoteKind.NOTARIZE, 2, 7, 6, 40, HASH)),
    "E2": conflicting(FINALIZED, Subject(VoteKind.FINALIZE, 2, 7, 5, 40, OTHER)),
    "E3": conflicting(NULLIFIED, FINALIZED),
    "E4": conflicting(Subject(VoteKind.NOTARIZE, 2, 7, 5, 41, HASH), FINALIZED),
}

headers = st.builds(
    Header,
    hashes,
    st.integers(0, 2**32 - 1),
    hashes,
    hashes,
    st.sampled_from([(), HEADER.digest, HEADER.digest[:1]]),
)
blocks = st.builds(Block, headers, st.sampled_from([(), BLOCK.extrinsics]))
votes = st.builds(vote_of, subjects(), st.integers(0, 2**16 - 1), signatures)
proofs = st.builds(EpochProof, headers, certificates())
messages = st.one_of(
    votes,
    st.builds(CertificateNotice, certificates()),
    st.builds(
        Proposal,
        views,
        views,
        views,
        blocks,
        signatures,
        st.none() | certificates(),
        st.lists(hashes, max_size=3).map(tuple),
        st.lists(certificates(), max_size=3).map(tuple),
    ),
    st.builds(Status, views, views, views, st.integers(0, 2**32 - 1), hashes),
)
small = st.integers(0, 2**16 - 1)
requests = st.one_of(
    st.builds(CertificatesRequest, views, views, views),
    st.builds(HeadersRequest, st.integers(0, 2**32 - 1), small),
    st.builds(BlocksRequest, st.lists(hashes, max_size=5).map(tuple)),
    st.builds(EpochProofsRequest, views, small),
    st.builds(VotesRequest, views, small),
    st.just(FinalityRequest()),
)
responses = st.one_of(
    st.builds(Certificates, st.lists(certificates(), max_size=3).map(tuple)),
    st.builds(Headers, st.lists(headers, max_size=3).map(tuple)),
    st.builds(Blocks, st.lists(blocks, max_size=3).map(tuple)),
    st.builds(EpochProofs, st.lists(proofs, max_size=3).map(tuple)),
    st.builds(Votes, st.lists(votes, max_size=3).map(tuple)),
    st.builds(Finality, st.none() | proofs),
)
