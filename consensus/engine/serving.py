"""Answers to what peers ask, within bounds that no question can exceed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from consensus.core.actions import Action
from consensus.core.events import Event
from consensus.core.messages import (
    MAX_BODIES,
    MAX_CERTIFICATES,
    MAX_EPOCH_PROOFS,
    MAX_HEADERS,
    Blocks,
    BlocksRequest,
    Certificates,
    CertificatesRequest,
    EpochProof,
    EpochProofs,
    EpochProofsRequest,
    Finality,
    FinalityRequest,
    Headers,
    HeadersRequest,
    Request,
    Response,
    Vote,
    Votes,
    VotesRequest,
)
from consensus.core.votes import Certificate, decode_certificate
from consensus.engine.position import highest_proven
from consensus.interface import Application
from runtime.primitives.header import Block, Header
from runtime.primitives.scale import encode

MAX_ANSWER = 4 << 20
MAX_VOTES = 4096
PROOF_SEARCH = 1024
T = TypeVar("T")


class Core(Protocol):
    """What the engine asks of the core: events in, actions out, and two reads."""

    def handle(self, event: Event, now: int) -> list[Action]:
        """Take an event at a unix time (ms); returns what is to be done, in order."""

    def certificates(self, epoch: int, first: int, last: int) -> Sequence[Certificate]:
        """List the certificates held of the views first..last of an epoch."""

    def votes_of(self, epoch: int, signer: int) -> Sequence[Vote]:
        """List the votes held of a signer in an epoch."""


def respond(request: Request, core: Core, application: Application) -> Response:
    """Answer a request as far as the limits allow."""
    match request:
        case CertificatesRequest(epoch, first, last):
            last = min(last, first + MAX_CERTIFICATES)
            held = core.certificates(epoch, first, last)[:MAX_CERTIFICATES]
            return Certificates(_bounded(held, Certificate))
        case VotesRequest(epoch, signer):
            return Votes(tuple(core.votes_of(epoch, signer)[-MAX_VOTES:]))
        case HeadersRequest(first, count):
            return Headers(_bounded(_headers(application, first, min(count, MAX_HEADERS)), Header))
        case BlocksRequest(hashes):
            blocks = map(application.block, hashes[:MAX_BODIES])
            return Blocks(_bounded((b for b in blocks if b is not None), Block))
        case EpochProofsRequest(first, count):
            ends = _ends(application, first, min(count, MAX_EPOCH_PROOFS))
            return EpochProofs(_bounded(ends, EpochProof))
        case FinalityRequest():
            return Finality(_finality(application))


def _bounded(items: Iterable[T], type_: Any) -> tuple[T, ...]:
    """Take items until the answer is full; the first is taken whatever its size."""
    taken: list[T] = []
    left = MAX_ANSWER
    for item in items:
        left -= len(encode(type_, item))
        if left < 0 and taken:
            break
        taken.append(item)
    return tuple(taken)


def _known(read: Callable[[int], T | None], first: int, count: int) -> Iterable[T]:
    """Read numbered things in order until one is missing."""
    for number in range(first, first + count):
        found = read(number)
        if found is None:
            return
        yield found


def _headers(application: Application, first: int, count: int) -> Iterable[Header]:
    def read(number: int) -> Header | None:
        block_hash = application.block_hash(number)
        return None if block_hash is None else application.header(block_hash)

    return _known(read, first, count)


def _ends(application: Application, first: int, count: int) -> Iterable[EpochProof]:
    def read(epoch: int) -> EpochProof | None:
        block_hash = application.boundary(epoch)
        return None if block_hash is None else _proven(application, block_hash)

    return _known(read, first, count)


def _proven(application: Application, block_hash: bytes) -> EpochProof | None:
    header, proof = application.header(block_hash), application.justification(block_hash)
    if header is None or proof is None:
        return None
    return EpochProof(header, decode_certificate(proof))


def _finality(application: Application) -> EpochProof | None:
    found = highest_proven(application, PROOF_SEARCH)
    header = None if found is None else application.header(found[0].hash)
    return None if found is None or header is None else EpochProof(header, found[1])
