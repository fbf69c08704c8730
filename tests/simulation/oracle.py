"""What has to hold whatever happens, with its own arithmetic: none of the product's predicates.

It knows every vote that was ever signed, shown or not, so it sees certificates before anybody can
put them together. I1 to I13 are the invariants of the specification's test plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from consensus.core.actions import Fault
from consensus.core.evidence import Evidence
from consensus.core.messages import CertificateNotice, Message, Proposal, Status, Vote
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate, Subject, VoteKind
from tests.simulation.chain import Chain

Target = tuple[int, int, bytes]
"""Parent view, number and hash of what a vote names."""
NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE


class Violation(Exception):
    """An invariant is broken; the text begins with its name."""


@dataclass(slots=True)
class Tally:
    """The weights of the votes of one view, every signer once per target."""

    notarize: Counter[Target] = field(default_factory=Counter)
    finalize: Counter[Target] = field(default_factory=Counter)
    nullify: int = 0
    seen: set[tuple[bytes, VoteKind, Target]] = field(default_factory=set)


def _target(subject: Subject) -> Target:
    return subject.parent_view, subject.number, subject.block_hash


class Oracle:
    """Watches a world from outside."""

    def __init__(self, chain: Chain, byzantine: set[bytes]) -> None:
        self._chain = chain
        self._byzantine = byzantine
        self._weights: dict[int, dict[bytes, int]] = {}
        self._tallies: dict[tuple[int, int], Tally] = {}
        self.first_vote_at: dict[tuple[int, int], int] = {}
        self.now: Callable[[], int] = lambda: 0
        self._own: dict[tuple[bytes, int, int, VoteKind], Target] = {}
        self._members: dict[int, list[bytes]] = {}
        self._checked: dict[int, object] = {}
        self.final: dict[int, bytes] = {0: chain.genesis_hash}
        self.final_epochs: set[int] = set()
        self.highest_view: dict[int, int] = {}
        self.first_final_at: dict[int, int] = {}
        self.guilty: Counter[bytes] = Counter()
        self.kinds: Counter[tuple[bytes, int]] = Counter()
        self.penalties: Counter[tuple[int, Fault]] = Counter()
        self.refusals = 0
        self.strict_third = True

    # --- sets -----------------------------------------------------------------------------

    def members(self, epoch: int) -> list[bytes]:
        if epoch not in self._members:
            self._members[epoch] = [a.public for a in self._chain.schedule(epoch)]
            self._weights[epoch] = {a.public: a.weight for a in self._chain.schedule(epoch)}
        return self._members[epoch]

    def _is_quorum(self, epoch: int, weight: int) -> bool:
        """More than two thirds, in whole numbers."""
        self.members(epoch)
        return 3 * weight > 2 * sum(self._weights[epoch].values())

    def _tally(self, epoch: int, view: int) -> Tally:
        found = self._tallies.get((epoch, view))
        if found is None:
            found = self._tallies[epoch, view] = Tally()
            self.first_vote_at[epoch, view] = self.now()
        return found

    def certifiable(self, subject: Subject) -> bool:
        """Tell whether a quorum signed a subject."""
        tally = self._tally(subject.epoch, subject.view)
        if subject.kind is NULLIFY:
            return self._is_quorum(subject.epoch, tally.nullify)
        weights = tally.notarize if subject.kind is NOTARIZE else tally.finalize
        return self._is_quorum(subject.epoch, weights[_target(subject)])

    # --- votes ----------------------------------------------------------------------------

    def signed(self, public: bytes, subject: Subject) -> None:
        """Note a signature; checks I2, I3, I4, I6 and I11."""
        target = _target(subject)
        honest = public not in self._byzantine
        if honest:
            self._check_own(public, subject, target)
        tally = self._tally(subject.epoch, subject.view)
        mark = public, subject.kind, target
        if mark in tally.seen:
            return
        tally.seen.add(mark)
        self.members(subject.epoch)
        weight = self._weights[subject.epoch].get(public, 0)
        if not weight:
            if honest:
                raise Violation(f"I9 a vote of a stranger in epoch {subject.epoch}: {subject}")
            return
        if subject.kind is NULLIFY:
            tally.nullify += weight
        elif subject.kind is NOTARIZE:
            tally.notarize[target] += weight
        else:
            tally.finalize[target] += weight
        if self.strict_third:
            self._check_view(subject, tally)

    def _check_own(self, public: bytes, subject: Subject, target: Target) -> None:
        place = public, subject.epoch, subject.view
        kind = subject.kind
        if self._own.setdefault((*place, kind), target) != target:
            raise Violation(f"I6 an honest validator voted twice: {subject}")
        if (
            kind is not NULLIFY
            and (*place, NULLIFY) in self._own
            and (*place, FINALIZE) in self._own
        ):
            raise Violation(f"I6 an honest validator nullified and finalized: {subject}")
        if kind is NULLIFY and (*place, FINALIZE) in self._own:
            raise Violation(f"I6 an honest validator finalized and nullified: {subject}")
        if kind is FINALIZE and self._own.get((*place, NOTARIZE)) != target:
            raise Violation(f"I6 an honest validator finalized what it did not notarize: {subject}")
        if subject.view < 1:
            raise Violation(f"I6 a vote for a view below the first: {subject}")
        if subject.epoch and subject.epoch - 1 not in self.final_epochs:
            raise Violation(f"I11 a vote before the end of the epoch before: {subject}")

    def _check_view(self, subject: Subject, tally: Tally) -> None:
        epoch, view = subject.epoch, subject.view
        where = f"epoch {epoch} view {view}"
        certain = [t for t, w in tally.notarize.items() if self._is_quorum(epoch, w)]
        if len(certain) > 1:
            raise Violation(f"I2 two notarized blocks in {where}")
        final = [t for t, w in tally.finalize.items() if self._is_quorum(epoch, w)]
        if final and self._is_quorum(epoch, tally.nullify):
            raise Violation(f"I3 finalized and nullified: {where}")
        if final and final != certain:
            raise Violation(f"I4 finalized and not notarized: {where}")
        if final and self._chain.is_boundary(final[0][2]):
            self.final_epochs.add(epoch)
        if certain:
            self.highest_view[epoch] = max(view, self.highest_view.get(epoch, 0))

    # --- messages -------------------------------------------------------------------------

    def shown(self, message: Message) -> None:
        """Check what an honest node shows: certificates hold (I9)."""
        if id(message) in self._checked:
            return
        self._checked[id(message)] = message
        if isinstance(message, CertificateNotice):
            self.check_certificate(message.certificate)
        elif isinstance(message, Proposal):
            for certificate in (message.parent, *message.nullifications):
                if certificate is not None:
                    self.check_certificate(certificate)
        elif isinstance(message, Vote):
            self._check_signed(message.subject(), message.signer)
        elif isinstance(message, Status) and message.final_number in self.final:
            known = self.final[message.final_number]
            if message.final_hash != known:
                raise Violation(f"I1 a status with another block {message.final_number}")

    def check_certificate(self, certificate: Certificate) -> None:
        """I9: distinct signers of one epoch with the weight of a quorum, each of whom signed."""
        if id(certificate) in self._checked:
            return
        self._checked[id(certificate)] = certificate
        subject, epoch = certificate.subject(), certificate.epoch
        members = self.members(epoch)
        bits = int.from_bytes(certificate.bitmap, "little")
        signers = [i for i in range(8 * len(certificate.bitmap)) if bits >> i & 1]
        if len(signers) != len(certificate.signatures) or signers[-1:] >= [len(members)]:
            raise Violation(f"I9 a malformed certificate: {subject}")
        weight = 0
        for signer in signers:
            self._check_signed(subject, signer)
            weight += self._weights[epoch][members[signer]]
        if not self._is_quorum(epoch, weight):
            raise Violation(f"I9 a certificate without a quorum: {subject}")

    def _check_signed(self, subject: Subject, signer: int) -> None:
        public = self.members(subject.epoch)[signer]
        seen = self._tally(subject.epoch, subject.view).seen
        if (public, subject.kind, _target(subject)) not in seen:
            raise Violation(f"I9 {signer} never signed {subject}")

    # --- finality -------------------------------------------------------------------------

    def finalized(self, number: int, hash_: bytes, now: int) -> None:
        """I1: one chain; I5: what is final is proven link by link."""
        if number in self.final:
            if self.final[number] != hash_:
                raise Violation(f"I1 two final blocks of number {number}")
            return
        header = self._chain.headers[hash_]
        if self.final.get(number - 1) != header.parent_hash:
            raise Violation(f"I1 block {number} does not stand on the final block below it")
        self.final[number] = hash_
        self.first_final_at[number] = now
        self._check_link(number, hash_)

    def _check_link(self, number: int, hash_: bytes) -> None:
        claim = self._chain.claims[hash_]
        parent = self._chain.headers[hash_].parent_hash
        epoch, pv = claim.epoch, claim.parent_view
        for view in range(pv + 1, claim.view):
            if not self.certifiable(Subject(NULLIFY, epoch, view)):
                raise Violation(f"I5 block {number} skips view {view} of {epoch} without proof")
        if pv == 0:
            if parent not in self._chain.epochs or self._chain.epochs[parent].number != epoch:
                raise Violation(f"I5 block {number} does not stand on the start of its epoch")
            return
        weights = self._tally(epoch, pv).notarize
        if not any(h == parent and self._is_quorum(epoch, w) for (_, _, h), w in weights.items()):
            raise Violation(f"I5 the parent of block {number} is not notarized in view {pv}")

    def opened(self, epoch: Epoch) -> None:
        """I11: every node has the same set, seed and start of an epoch."""
        if self._chain.epochs.get(epoch.start_hash) != epoch:
            raise Violation(f"I11 another epoch {epoch.number}")

    def proven(self, certificate: Certificate, block_hash: bytes) -> None:
        """I9: a stored proof is a finalization of that very block."""
        if certificate.kind != FINALIZE or certificate.block_hash != block_hash:
            raise Violation(f"I9 a proof of something else: {certificate.subject()}")
        self.check_certificate(certificate)

    def check_happy_views(self, since: int) -> None:
        """L2: a view after `since` that a quorum notarized and nobody gave up is finalized."""
        for (epoch, view), tally in self._tallies.items():
            late = self.first_vote_at[epoch, view] > since
            over = self.highest_view.get(epoch, 0) > view + 1
            certain = [t for t, w in tally.notarize.items() if self._is_quorum(epoch, w)]
            if not (late and over and certain) or tally.nullify:
                continue
            if not self._is_quorum(epoch, tally.finalize[certain[0]]):
                raise Violation(f"L2 view {view} of epoch {epoch} is notarized, not finalized")

    # --- accusations ----------------------------------------------------------------------

    def reported(self, evidence: Evidence) -> None:
        """I6: evidence names no honest validator."""
        first, second = evidence.first.subject(), evidence.second.subject()
        public = self.members(first.epoch)[evidence.first.signer]
        self._check_signed(first, evidence.first.signer)
        self._check_signed(second, evidence.second.signer)
        if public not in self._byzantine:
            raise Violation(f"I6 an honest validator is accused: {first} {second}")
        if (first.epoch, first.view) != (second.epoch, second.view) or first == second:
            raise Violation(f"I6 the evidence proves nothing: {first} {second}")
        self.guilty[public] += 1
        self.kinds[public, int(evidence.kind)] += 1

    def forget(self) -> None:
        """Drop the marks of checked messages: their identities may be used again."""
        self._checked.clear()
