"""Records of a small epoch, as a validator writes them."""

from __future__ import annotations

from pathlib import Path

from consensus.core.messages import Proposal, vote_of
from consensus.core.records import (
    EpochOpened,
    OwnVote,
    Record,
    SeenCertificate,
    SeenProposal,
)
from consensus.core.validators import Epoch, ValidatorSet
from consensus.core.votes import Certificate, Subject, VoteDomain, VoteKind, certificate
from consensus.engine.folder import LogFolder, OpenedLog
from consensus.engine.gate import SigningGate
from consensus.session_key import SessionKey
from runtime.primitives.digest import Authority
from runtime.primitives.header import Block, Header

KEY = SessionKey(b"\1" * 32)
OTHERS = [SessionKey(bytes([index]) * 32) for index in (2, 3, 4)]
MEMBERS = tuple(Authority(key.public, 10) for key in (KEY, *OTHERS))
GENESIS_HASH = b"\7" * 32
DOMAIN = VoteDomain(GENESIS_HASH, 3)
BLOCK = Block(Header(GENESIS_HASH, 1, bytes(32), bytes(32), ()), (b"\x08ab",))
A, B = b"\xaa" * 32, b"\xbb" * 32
N, S, F = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE


def epoch_of(number: int = 0) -> Epoch:
    return Epoch(number, ValidatorSet(MEMBERS), bytes(32), GENESIS_HASH, 10 * number)


def opened(number: int = 0) -> EpochOpened:
    return EpochOpened(GENESIS_HASH, 3, number, MEMBERS, bytes(32), GENESIS_HASH, 10 * number, None)


def subject(
    kind: VoteKind, view: int, block: bytes = A, parent_view: int = 0, epoch: int = 0
) -> Subject:
    if kind is S:
        return Subject(S, epoch, view)
    return Subject(kind, epoch, view, parent_view, view, block)


def own_vote(what: Subject, key: SessionKey = KEY, position: int = 0) -> OwnVote:
    return OwnVote(vote_of(what, position, key.vote(DOMAIN, what)))


def proof(what: Subject) -> Certificate:
    signatures = {i: key.vote(DOMAIN, what) for i, key in enumerate((KEY, *OTHERS))}
    return certificate(what, signatures, 4)


def seen(what: Subject) -> SeenCertificate:
    return SeenCertificate(proof(what))


def some_records() -> list[Record]:
    return [
        SeenProposal(Proposal(0, 1, 0, BLOCK, bytes(64), None, (), ())),
        own_vote(subject(N, 1)),
        seen(subject(N, 1)),
        own_vote(subject(F, 1)),
        own_vote(subject(S, 2)),
        seen(subject(S, 2)),
        own_vote(subject(N, 3, B, 1)),
    ]


def folder_at(path: Path, *, init_log: bool = True) -> LogFolder:
    return LogFolder.open(path, DOMAIN, init_log=init_log)


def enter(folder: LogFolder, number: int = 0) -> OpenedLog:
    return folder.enter(epoch_of(number), None, live=number > 0)


def gate_at(path: Path) -> tuple[SigningGate, LogFolder]:
    folder = folder_at(path)
    gate = SigningGate(KEY, DOMAIN)
    gate.enter(enter(folder))
    return gate, folder
