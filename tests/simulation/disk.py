"""The write-ahead logs of a simulated node: what is synced survives, the rest may be torn off."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from consensus.core.messages import Vote
from consensus.core.records import OwnVote, Record, SeenCertificate
from consensus.core.votes import Certificate, Subject, VoteKind
from runtime.primitives.scale import decode, encode


class Refused(Exception):
    """The gate does not sign; the text names the rule."""


class EpochLog:
    """The records of one epoch, and the gate's own index of them."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records: list[Record] = []
        self.synced = 0
        self._notarized: dict[int, Subject] = {}
        self._nullified: set[int] = set()
        self._finalized: set[int] = set()
        self._proven: set[Subject] = set()
        self._floor = 0
        for record in records:
            self.append(record)
        self.synced = len(self.records)

    def append(self, record: Record) -> None:
        self.records.append(record)
        if isinstance(record, OwnVote):
            self._index(record.vote.subject())
        elif isinstance(record, SeenCertificate):
            self._prove(record.certificate)

    def _index(self, subject: Subject) -> None:
        if subject.kind is VoteKind.NOTARIZE:
            self._notarized[subject.view] = subject
        elif subject.kind is VoteKind.NULLIFY:
            self._nullified.add(subject.view)
        else:
            self._finalized.add(subject.view)

    def _prove(self, certificate: Certificate) -> None:
        if certificate.kind == VoteKind.NOTARIZE:
            self._proven.add(certificate.subject())
        elif certificate.kind == VoteKind.FINALIZE:
            self._floor = max(self._floor, certificate.view)

    def check(self, subject: Subject) -> None:
        """Raise Refused where the log forbids the vote (R2, R4, R5)."""
        view, own = subject.view, self._notarized.get(subject.view)
        if view <= self._floor:
            raise Refused(f"W5: view {view} is not above the final view {self._floor}")
        if subject.kind is VoteKind.NOTARIZE:
            if own is not None:
                raise Refused(f"R2: view {view} has a notarize vote")
        elif subject.kind is VoteKind.NULLIFY:
            if view in self._finalized or view in self._nullified:
                raise Refused(f"R5: view {view} has a finalize or a nullify vote")
        else:
            if view in self._finalized or view in self._nullified:
                raise Refused(f"R4: view {view} has a finalize or a nullify vote")
            if own is None or own.block_hash != subject.block_hash:
                raise Refused(f"R4: view {view} has no notarize vote for this block")
            if own not in self._proven:
                raise Refused(f"W3: the notarization of view {view} is not in the log")

    def sync(self) -> None:
        self.synced = len(self.records)

    def votes(self) -> list[Vote]:
        """List the own votes that are in the log."""
        return [record.vote for record in self.records if isinstance(record, OwnVote)]

    def torn(self, rng: Random) -> EpochLog:
        """Return what a crash leaves: all that is synced, and any prefix of the rest."""
        kept = rng.randint(self.synced, len(self.records))
        return EpochLog(self.records[:kept])

    def reread(self) -> EpochLog:
        """Return the log as its bytes tell it."""
        return EpochLog(decode(Record, encode(Record, record)) for record in self.records)

    def copy(self) -> EpochLog:
        """Return an older copy of the disk, to be restored later."""
        return EpochLog(self.records[: self.synced])
