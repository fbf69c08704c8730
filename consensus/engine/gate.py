"""The signing gate: the one place where votes are signed, with the rules checked once more.

It judges by what is in the log and by nothing that the core says, so a mistake there, or a message
that is sent again by another way, cannot make this validator contradict itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from consensus.core import rules
from consensus.core.messages import Vote, vote_of
from consensus.core.records import (
    EpochOpened,
    Floor,
    OwnVote,
    Record,
    SeenCertificate,
)
from consensus.core.validators import ValidatorSet
from consensus.core.votes import Certificate, Subject, VoteDomain, VoteKind, vote_bytes
from consensus.engine.folder import OpenedLog
from consensus.engine.refusals import SigningReason, SigningRefused
from consensus.engine.wal import EpochLog, view_of
from consensus.session_key import SessionKey
from runtime.primitives.keys import verify_ed25519


@dataclass(slots=True)
class _Book:
    """The log of an epoch, and what follows from it."""

    log: EpochLog
    position: int
    key: SessionKey
    floor: int = 0
    """Nothing is signed up to this view."""
    dropped: int = 0
    """Up to this view the log may have forgotten own votes."""
    votes: dict[Subject, Vote] = field(default_factory=dict)
    notarized: dict[int, bytes] = field(default_factory=dict)
    nullified: set[int] = field(default_factory=set)
    finalized: set[int] = field(default_factory=set)
    proven: dict[int, bytes] = field(default_factory=dict)
    """The blocks that a notarization in the log names, by view."""
    stopped: str | None = None

    def note(self, record: Record) -> None:
        """Keep what a record says."""
        match record:
            case OwnVote(vote):
                self._note_vote(vote)
            case SeenCertificate(certificate):
                self._note_certificate(certificate)
            case Floor(certificate):
                self.floor = max(self.floor, certificate.view)
                self.dropped = max(self.dropped, certificate.view)
            case _:
                pass

    def _note_vote(self, vote: Vote) -> None:
        subject = vote.subject()
        self.votes[subject] = vote
        if subject.kind is VoteKind.NOTARIZE:
            self.notarized[subject.view] = block_of(subject)
        elif subject.kind is VoteKind.NULLIFY:
            self.nullified.add(subject.view)
        else:
            self.finalized.add(subject.view)

    def _note_certificate(self, certificate: Certificate) -> None:
        if certificate.kind == VoteKind.NOTARIZE:
            self.proven.setdefault(certificate.view, block_of(certificate.subject()))
        elif certificate.kind == VoteKind.FINALIZE:
            self.floor = max(self.floor, certificate.view)

    def forget(self, view: int) -> None:
        """Drop what is of views up to a final one."""
        self.dropped = max(self.dropped, view)
        self.floor = max(self.floor, view)
        self.votes = {s: vote for s, vote in self.votes.items() if s.view > view}
        self.notarized = {v: block for v, block in self.notarized.items() if v > view}
        self.proven = {v: block for v, block in self.proven.items() if v > view}
        self.nullified = {v for v in self.nullified if v > view}
        self.finalized = {v for v in self.finalized if v > view}


class SigningGate:
    """Holds the keys, of which an epoch's set has one, and a book for every open log."""

    def __init__(self, key: SessionKey, domain: VoteDomain) -> None:
        self._first = key
        self._keys = {key.public: key}
        self._domain = domain
        self._books: dict[int, _Book] = {}
        self._current = -1
        self.listening = False

    @property
    def publics(self) -> Collection[bytes]:
        """The public keys, those added later included."""
        return self._keys.keys()

    def add(self, key: SessionKey) -> None:
        """Take another key, for the epochs whose set has it; it must sign nowhere else."""
        self._keys[key.public] = key

    def public(self, epoch: int) -> bytes:
        """Return the public key that signs in an epoch whose log is open."""
        return self._books[epoch].key.public

    def prove(self, alpha: bytes) -> bytes:
        """Prove the 80 bytes of the ECVRF on `alpha`, with the key of the latest epoch."""
        book = self._books.get(self._current)
        return (self._first if book is None else book.key).prove(alpha)

    # --- epochs ---------------------------------------------------------------------------

    def enter(self, opened: OpenedLog, final_view: int = 0) -> None:
        """Take over the log of an epoch, the latest from now on.

        final_view: the last view of it that is final in the database; its finalization was logged
        before it was stored. Raises SigningRefused (OTHER_KEY, BEHIND), the log is closed then.
        """
        try:
            epoch, book = self._read(opened, final_view)
        except SigningRefused:
            opened.log.close()
            raise
        self._books[epoch] = book
        self._current = max(self._current, epoch)

    def _read(self, opened: OpenedLog, final_view: int) -> tuple[int, _Book]:
        first = opened.records[0]
        if not isinstance(first, EpochOpened):
            raise SigningRefused(SigningReason.DAMAGED)
        epoch, path = first.epoch, opened.log.path
        validators = ValidatorSet(first.authorities)
        position = validators.position_among(self._keys)
        if position is None:
            shown = " and ".join(f"0x{known.hex()}" for known in self._keys)
            detail = f"the key {shown} is no validator in epoch {epoch}"
            raise SigningRefused(SigningReason.OTHER_KEY, detail)
        public = validators.members[position].public
        book = _Book(opened.log, position, self._keys[public])
        for record in opened.records:
            if isinstance(record, OwnVote) and not self._is_own(book, record.vote):
                detail = f"{path} holds votes of another key than 0x{public.hex()}"
                raise SigningRefused(SigningReason.OTHER_KEY, detail)
            book.note(record)
        highest = max(view_of(record) or 0 for record in opened.records)
        if not opened.fresh and highest < final_view:
            detail = (
                f"{path} ends at view {highest}, but view {final_view} is final here: it is an old "
                f"copy, so this validator only observes epoch {epoch}"
            )
            raise SigningRefused(SigningReason.BEHIND, detail)
        book.floor = max(book.floor, final_view)
        return epoch, book

    def pass_over(self, epoch: int) -> None:
        """Enter an epoch without signing in it: none before it is signed in any more."""
        self._current = max(self._current, epoch)

    def signs_in(self, epoch: int) -> bool:
        """Tell whether the log of an epoch is open, and signing was not stopped in it."""
        book = self._books.get(epoch)
        return book is not None and book.stopped is None

    def floor(self, epoch: int) -> int:
        """Return up to which view nothing is signed."""
        return self._books[epoch].floor

    def stop(self, epoch: int, detail: str) -> None:
        """Sign nothing in an epoch from now on."""
        book = self._books.get(epoch)
        if book is not None and book.stopped is None:
            book.stopped = detail

    def leave(self, epoch: int) -> None:
        """Close the log of an epoch."""
        book = self._books.pop(epoch, None)
        if book is not None:
            book.log.close()

    def close(self) -> None:
        """Close all logs."""
        for epoch in list(self._books):
            self.leave(epoch)

    # --- the log --------------------------------------------------------------------------

    def log(self, epoch: int, record: Record) -> None:
        """Append a record; without a log of the epoch there is nothing to do. Raises LogFailed."""
        book = self._books.get(epoch)
        if book is not None:
            book.log.append(record)
            book.note(record)

    @property
    def dirty(self) -> bool:
        """Whether `sync` has something to do."""
        return any(book.log.dirty for book in self._books.values())

    def sync(self) -> None:
        """Bring all that was appended to the disk; raises LogFailed."""
        for book in self._books.values():
            book.log.sync()

    def size(self, epoch: int) -> int:
        """Return the bytes of a log, 0 where there is none."""
        book = self._books.get(epoch)
        return book.log.size if book is not None else 0

    def compact(self, final: Certificate) -> None:
        """Forget what is of views up to a final one whose block is stored; raises LogFailed."""
        book = self._books.get(final.epoch)
        if book is not None and final.view > book.dropped:
            book.log.compact(final)
            book.forget(final.view)

    # --- signing --------------------------------------------------------------------------

    def sign(self, subject: Subject) -> Vote:
        """Sign a vote, and log it; it may be shown after the next `sync`.

        The same vote is given again without a record. Raises SigningRefused, LogFailed.
        """
        book = self._books.get(subject.epoch)
        if book is None:
            raise SigningRefused(SigningReason.NO_LOG)
        if self.listening:
            raise SigningRefused(SigningReason.LISTENING)
        if book.stopped is not None:
            raise SigningRefused(SigningReason.STOPPED, book.stopped)
        again = book.votes.get(subject)
        if again is not None:
            return again
        if subject.epoch != self._current:
            raise SigningRefused(SigningReason.EPOCH_OVER)
        _check_rules(book, subject)
        vote = vote_of(subject, book.position, book.key.vote(self._domain, subject))
        self.log(subject.epoch, OwnVote(vote))
        return vote

    def is_foreign(self, vote: Vote) -> bool:
        """Tell whether a vote carries this validator's signature, yet was not made here."""
        book = self._books.get(vote.epoch)
        if book is None or vote.kind > VoteKind.FINALIZE or vote.view <= book.dropped:
            return False
        return vote.subject() not in book.votes and self._is_own(book, vote)

    def _is_own(self, book: _Book, vote: Vote) -> bool:
        if vote.signer != book.position:
            return False
        message = vote_bytes(self._domain, vote.subject())
        return verify_ed25519(book.key.public, message, vote.signature)


def block_of(subject: Subject) -> bytes:
    """Return what tells blocks of a view apart: the parent view belongs to it."""
    return (
        subject.parent_view.to_bytes(8, "little")
        + subject.number.to_bytes(4, "little")
        + subject.block_hash
    )


def _check_rules(book: _Book, subject: Subject) -> None:
    """Check R2, R4 or R5 against the log; raises SigningRefused."""
    view = subject.view
    if view <= book.floor:
        raise SigningRefused(SigningReason.BELOW_FLOOR, f"view {view} is not above {book.floor}")
    if subject.kind is VoteKind.NOTARIZE:
        allowed = rules.may_notarize(
            view=view,
            final_view=book.floor,
            from_leader=True,
            parent_proven=True,
            gap_nullified=True,
            boundary_legal=True,
            own_notarize=view in book.notarized,
        )
    elif subject.kind is VoteKind.NULLIFY:
        allowed = subject.is_sound() and rules.may_nullify(
            view=view,
            current=view,
            own_nullify=view in book.nullified,
            own_finalize=view in book.finalized,
        )
    else:
        block = block_of(subject)
        allowed = rules.may_finalize(
            view=view,
            final_view=book.floor,
            notarized=block if book.proven.get(view) == block else None,
            own_notarize=book.notarized.get(view),
            own_nullify=view in book.nullified,
            own_finalize=view in book.finalized,
        )
    if not allowed:
        raise SigningRefused(_reason(book, subject), f"{subject.kind.name} in view {view}")


def _reason(book: _Book, subject: Subject) -> SigningReason:
    """Name what forbids a vote."""
    view, kind = subject.view, subject.kind
    if kind is VoteKind.NOTARIZE:
        return SigningReason.NOTARIZED
    if view in book.finalized:
        return SigningReason.FINALIZED
    if view in book.nullified or kind is VoteKind.NULLIFY:
        return SigningReason.NULLIFIED
    if book.notarized.get(view) != block_of(subject):
        return SigningReason.NOT_NOTARIZED
    return SigningReason.NO_CERTIFICATE
