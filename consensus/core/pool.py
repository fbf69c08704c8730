"""The votes of an epoch by view, what they add up to, and who contradicted himself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from consensus.core.evidence import Evidence, evidence_of
from consensus.core.messages import Vote
from consensus.core.rules import is_certificate
from consensus.core.validators import ValidatorSet
from consensus.core.votes import Certificate, Subject, VoteKind, certificate


@dataclass(slots=True)
class ViewVotes:
    """The votes of one view: the first of each signer and kind counts."""

    first: dict[tuple[int, int], Vote] = field(default_factory=dict)
    tallies: dict[Subject, dict[int, bytes]] = field(default_factory=dict)
    weights: dict[Subject, int] = field(default_factory=dict)
    guilty: set[tuple[int, int]] = field(default_factory=set)


class VotePool:
    """Verified votes; the pool checks no signature."""

    def __init__(self, validators: ValidatorSet) -> None:
        self._validators = validators
        self._views: dict[int, ViewVotes] = {}

    def holds(self, vote: Vote) -> bool:
        """Tell whether exactly this vote was counted."""
        held = self._views.get(vote.view)
        return held is not None and held.first.get((vote.signer, vote.kind)) == vote

    def vote(self, view: int, signer: int, kind: VoteKind) -> Vote | None:
        """Find the vote that counts."""
        held = self._views.get(view)
        return None if held is None else held.first.get((signer, kind))

    def add(self, vote: Vote) -> Iterator[Evidence]:
        """Count a vote, and yield what it contradicts; a second vote of a kind is not counted."""
        held = self._views.setdefault(vote.view, ViewVotes())
        place = vote.signer, vote.kind
        earlier = held.first.get(place)
        if earlier is None:
            held.first[place] = vote
            subject = vote.subject()
            held.tallies.setdefault(subject, {})[vote.signer] = vote.signature
            weight = self._validators.weights[vote.signer]
            held.weights[subject] = held.weights.get(subject, 0) + weight
        elif earlier.subject() == vote.subject():
            return
        for kind in VoteKind:
            other = held.first.get((vote.signer, kind))
            found = evidence_of(other, vote) if other is not None else None
            if found is not None and (vote.signer, found.kind) not in held.guilty:
                held.guilty.add((vote.signer, found.kind))
                yield found

    def certificate(self, subject: Subject) -> Certificate | None:
        """Put a certificate together from all votes for a subject; None below a quorum (R3)."""
        held = self._views.get(subject.view)
        if held is None or not is_certificate(
            held.weights.get(subject, 0), self._validators.quorum
        ):
            return None
        return certificate(subject, held.tallies[subject], len(self._validators))

    def complete(self) -> list[Certificate]:
        """List the certificates of all subjects with a quorum, by view."""
        found = [
            self.certificate(subject)
            for _, held in sorted(self._views.items())
            for subject in held.tallies
        ]
        return [certificate for certificate in found if certificate is not None]

    def signature(self, subject: Subject, signer: int) -> bytes | None:
        """Find the verified signature of a signer under a subject."""
        held = self._views.get(subject.view)
        return None if held is None else held.tallies.get(subject, {}).get(signer)

    def of_signer(self, signer: int) -> tuple[Vote, ...]:
        """List the votes of a signer, by view and kind."""
        return tuple(
            held.first[signer, kind]
            for _, held in sorted(self._views.items())
            for kind in VoteKind
            if (signer, kind) in held.first
        )

    def prune(self, before: int) -> None:
        """Forget the views below one."""
        for view in [view for view in self._views if view < before]:
            del self._views[view]

    def __len__(self) -> int:
        return len(self._views)
