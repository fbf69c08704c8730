"""The ed25519 key with which a validator takes part: it votes and proves randomness, no more."""

from __future__ import annotations

from nacl.signing import SigningKey

from consensus.core import ecvrf
from consensus.core.votes import Subject, VoteDomain, vote_bytes


class SessionKey:
    """A key that signs votes only, never bytes that a caller supplies."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._key = SigningKey(seed)
        self.public = bytes(self._key.verify_key)

    def vote(self, domain: VoteDomain, subject: Subject) -> bytes:
        """Sign a vote; the same vote gives the same 64 bytes."""
        return self._key.sign(vote_bytes(domain, subject)).signature

    def prove(self, alpha: bytes) -> bytes:
        """Prove the 80 bytes of the ECVRF on `alpha`."""
        return ecvrf.prove(self._seed, alpha)
