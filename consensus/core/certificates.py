"""The certificates of an epoch: checked against its validators, one of a kind per view."""

from __future__ import annotations

from consensus.core.pool import VotePool
from consensus.core.ports import Crypto
from consensus.core.rules import is_certificate
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate, VoteDomain, VoteKind, vote_bytes

NOTARIZE, NULLIFY, FINALIZE = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE


def holds(
    certificate: Certificate,
    domain: VoteDomain,
    epoch: Epoch,
    crypto: Crypto,
    pool: VotePool | None = None,
) -> bool:
    """Check signers, weight and signatures; those that the pool has verified are not repeated."""
    validators = epoch.validators
    signers = validators.positions(certificate.bitmap)
    if signers is None or len(signers) != len(certificate.signatures):
        return False
    if certificate.epoch != epoch.number or not 0 <= certificate.kind <= 2 or not certificate.view:
        return False
    if not is_certificate(validators.weight_of(signers), validators.quorum):
        return False
    subject = certificate.subject()
    if not subject.is_sound():
        return False
    message = vote_bytes(domain, subject)
    for signer, signature in zip(signers, certificate.signatures, strict=True):
        if pool is not None and pool.signature(subject, signer) == signature:
            continue
        if not crypto.verify(validators.members[signer].public, message, signature):
            return False
    return True


class CertificateStore:
    """Checked certificates by view and kind; the first of a kind stays."""

    def __init__(self) -> None:
        self._held: dict[int, dict[VoteKind, Certificate]] = {}
        self.highest_final: Certificate | None = None

    def get(self, kind: VoteKind, view: int) -> Certificate | None:
        """Find the certificate of a view."""
        return self._held.get(view, {}).get(kind)

    def add(self, certificate: Certificate) -> bool:
        """Keep a certificate; False where one of its kind and view is held."""
        kind = VoteKind(certificate.kind)
        view = self._held.setdefault(certificate.view, {})
        if kind in view:
            return False
        view[kind] = certificate
        final = self.highest_final
        if kind is FINALIZE and (final is None or certificate.view > final.view):
            self.highest_final = certificate
        return True

    def proof_of(self, view: int) -> Certificate | None:
        """Find what proves the block of a view: its finalization, else its notarization."""
        return self.get(FINALIZE, view) or self.get(NOTARIZE, view)

    def nullified(self, view: int) -> bool:
        """Tell whether a view was given up by a quorum."""
        return self.get(NULLIFY, view) is not None

    def between(self, first: int, last: int) -> list[Certificate]:
        """List all certificates of the views first..last, by view and kind."""
        return [
            held[kind]
            for view, held in sorted(self._held.items())
            if first <= view <= last
            for kind in sorted(held)
        ]

    def highest_view(self) -> int:
        """Return the highest view with any certificate, 0 without."""
        return max(self._held, default=0)

    def prune(self, before: int) -> None:
        """Forget the views below one; the highest finalization stays."""
        for view in [view for view in self._held if view < before]:
            del self._held[view]

    def __len__(self) -> int:
        return len(self._held)
