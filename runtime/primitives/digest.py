"""What a header's digest carries of the agreement: the leader's claim, and the next epoch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runtime.primitives.header import Consensus, DigestItem, PreRuntime
from runtime.primitives.scale import U16, U64, Bytes32, Bytes64, DecodeError, decode, encode, fixed

ENGINE_ID = b"SMPX"
Bytes80 = fixed(80)


@dataclass(frozen=True, slots=True)
class PreDigest:
    """Payload of the PreRuntime item with engine id ``SMPX``: the leader's claim to its view."""

    epoch: U64
    view: U64
    parent_view: U64
    leader: U16
    """Position in the epoch's validator set."""
    vrf_output: Bytes64
    """ECVRF beta (RFC 9381), which the runtime mixes into its randomness."""
    vrf_proof: Bytes80  # type: ignore[valid-type]
    justification_hash: Bytes32
    parent_signers: bytes
    """Bitmap of the validators whose notarize vote for the parent the leader had; empty where the
    parent is the last block of the epoch before. Bit i % 8 of byte i // 8."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A member of a validator set: its ed25519 key and the weight of its votes."""

    public: Bytes32
    weight: U64


@dataclass(frozen=True, slots=True)
class NextEpoch:
    """Payload of the Consensus item with engine id ``SMPX``: this block is the last of its epoch.

    It names the epoch after it, its validators in the order of their positions, and its seed.
    """

    epoch: U64
    authorities: tuple[Authority, ...]
    seed: Bytes32


def pre_digest_item(claim: PreDigest) -> PreRuntime:
    """Wrap a leader's claim for the header."""
    return PreRuntime(ENGINE_ID, encode(PreDigest, claim))


def next_epoch_item(announcement: NextEpoch) -> Consensus:
    """Wrap the announcement of the next epoch for the header."""
    return Consensus(ENGINE_ID, encode(NextEpoch, announcement))


def find_claim(digest: Iterable[DigestItem]) -> PreDigest | None:
    """Find the leader's claim; None unless there is exactly one that decodes."""
    found = [i.data for i in digest if isinstance(i, PreRuntime) and i.engine == ENGINE_ID]
    if len(found) != 1:
        return None
    try:
        claim: PreDigest = decode(PreDigest, found[0])
    except DecodeError:
        return None
    return claim


def find_next_epoch(digest: Iterable[DigestItem]) -> NextEpoch | None:
    """Find the announcement of the next epoch; None unless there is exactly one that decodes."""
    found = [i.data for i in digest if isinstance(i, Consensus) and i.engine == ENGINE_ID]
    if len(found) != 1:
        return None
    try:
        announcement: NextEpoch = decode(NextEpoch, found[0])
    except DecodeError:
        return None
    return announcement
