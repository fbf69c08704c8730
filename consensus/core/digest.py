"""What the leader of a view puts into the header, and the randomness that it must prove."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from consensus.core.votes import Certificate
from runtime.primitives.digest import ENGINE_ID, PreDigest
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import DigestItem, PreRuntime
from runtime.primitives.scale import DecodeError, decode, encode

VRF_DOMAIN = b"open-simplex-vrf-v1"


@dataclass(frozen=True, slots=True)
class Justification:
    """Why a view may build on its parent: the parent's certificate and the skipped views' own.

    The first view of an epoch has no parent certificate.
    """

    parent: Certificate | None
    nullifications: tuple[Certificate, ...]

    def hash(self) -> bytes:
        """Return blake2b-256 of the SCALE bytes."""
        return blake2_256(encode(Justification, self))


def vrf_alpha(genesis_hash: bytes, epoch: int, view: int, seed: bytes) -> bytes:
    """Build the input of the leader's ECVRF proof; `seed` is the epoch's 32 bytes of entropy."""
    return (
        VRF_DOMAIN + genesis_hash + epoch.to_bytes(8, "little") + view.to_bytes(8, "little") + seed
    )


def digest_item(claim: PreDigest) -> PreRuntime:
    """Wrap a claim for the header."""
    return PreRuntime(ENGINE_ID, encode(PreDigest, claim))


def find_claim(digest: Iterable[DigestItem]) -> PreDigest | None:
    """Find the claim in a header's digest; None unless there is exactly one that decodes."""
    found = [
        item.data for item in digest if isinstance(item, PreRuntime) and item.engine == ENGINE_ID
    ]
    if len(found) != 1:
        return None
    try:
        claim = decode(PreDigest, found[0])
    except DecodeError:
        return None
    return claim if isinstance(claim, PreDigest) else None
