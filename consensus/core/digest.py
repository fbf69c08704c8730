"""Why a view may build on its parent, and the randomness that its leader must prove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.core.votes import Certificate
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import encode
from runtime.primitives.types import Hash

VRF_DOMAIN = b"open-simplex-vrf-v1"


@dataclass(frozen=True, slots=True)
class Justification:
    """What a leader's claim commits to.

    parent: the parent's certificate, none for the first block of an epoch; skipped: the hash of a
    nullification certificate per view between the parent's and this, ascending.
    """

    parent: Certificate | None
    skipped: tuple[Hash, ...]

    def hash(self) -> bytes:
        """Return blake2b-256 of the SCALE bytes."""
        return blake2_256(encode(Justification, self))


def certificate_hash(certificate: Certificate) -> bytes:
    """Return blake2b-256 of a certificate's SCALE bytes."""
    return blake2_256(encode(Certificate, certificate))


def justification_hash(parent: Certificate | None, skipped: Sequence[bytes]) -> bytes:
    """Return the hash that a claim carries."""
    return Justification(parent, tuple(skipped)).hash()


def vrf_alpha(genesis_hash: bytes, epoch: int, view: int, seed: bytes) -> bytes:
    """Build the input of the leader's ECVRF proof; `seed` is the epoch's 32 bytes of entropy."""
    return (
        VRF_DOMAIN + genesis_hash + epoch.to_bytes(8, "little") + view.to_bytes(8, "little") + seed
    )
