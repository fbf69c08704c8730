"""What the leader's PreRuntime digest carries: who made the block, when, and its randomness."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.primitives.scale import U16, U64, Bytes32, Bytes64, fixed

ENGINE_ID = b"SMPX"
Bytes80 = fixed(80)


@dataclass(frozen=True, slots=True)
class PreDigest:
    """Payload of the PreRuntime item with engine id ``SMPX``."""

    epoch: U64
    view: U64
    parent_view: U64
    leader: U16
    """Index into the epoch's validators."""
    vrf_output: Bytes64
    """ECVRF beta (RFC 9381), which the runtime mixes into its randomness."""
    vrf_proof: Bytes80  # type: ignore[valid-type]
    justification_hash: Bytes32
