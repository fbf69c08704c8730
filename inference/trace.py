"""What an executor keeps of an answer's computation, for who repeats it; its receipt binds all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from inference.digest import LogitsDigest, Steps
from inference.fingerprint import Hidden, fingerprint_entry
from runtime.primitives.scale import H256

TAG = b"openledger-trace-v1"


@dataclass(frozen=True, slots=True)
class Trace:
    """Equal bits leave equal traces; nearly equal ones are compared by their fingerprints.

    Attributes:
        logits: digest of the logits behind the answer (`inference.digest`).
        fingerprint: of the last hidden states (`inference.fingerprint`).
    """

    logits: H256
    fingerprint: bytes

    @property
    def digest(self) -> bytes:
        """Return what a receipt states as `logits_digest`: blake2b-256 of tag and both parts."""
        return hashlib.blake2b(TAG + self.logits + self.fingerprint, digest_size=32).digest()


class Tracer:
    """Follows an answer, one output position after the other."""

    def __init__(self) -> None:
        self._logits = LogitsDigest()
        self._entries: list[bytes] = []

    def add(self, ids: Steps, steps: Steps, hidden: Hidden) -> None:
        """Add the row from which the next id was drawn: `digest.sixteenths`, last hidden state."""
        self._logits.add(ids, steps)
        self._entries.append(fingerprint_entry(hidden))

    def trace(self) -> Trace:
        """Sum up the positions so far."""
        return Trace(self._logits.digest(), b"".join(self._entries))
