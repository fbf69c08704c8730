"""Verifiable random function: RFC 9381, ECVRF-EDWARDS25519-SHA512-TAI (suite 3), on libsodium.

The holder of an ed25519 seed computes an output that nobody can predict and nobody, the holder
included, can choose; the proof lets everybody check it with the public key. Verification is
stricter than the RFC where libsodium is: a point outside the prime-order subgroup is refused,
in the public key as in the proof.
"""

from __future__ import annotations

from hashlib import sha512

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_is_valid_point,
    crypto_core_ed25519_sub,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)
from nacl.exceptions import CryptoError

PROOF_LENGTH = 80
OUTPUT_LENGTH = 64

_SUITE = b"\x03"
_ENCODE_TO_CURVE, _CHALLENGE, _PROOF_TO_HASH = b"\x01", b"\x02", b"\x03"
_BACK = b"\x00"
_GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
_FIELD_PRIME = 2**255 - 19
_IDENTITY = (1).to_bytes(32, "little")


class SeedError(ValueError):
    """The secret is not a 32-byte ed25519 seed."""


def prove(secret_seed: bytes, alpha: bytes) -> bytes:
    """Return the 80-byte proof of the output for `alpha` (section 5.1): Gamma, c, s.

    Takes the 32-byte seed of RFC 8032; raises SeedError for any other length.
    """
    if len(secret_seed) != 32:
        raise SeedError(f"an ed25519 seed has 32 bytes, not {len(secret_seed)}")
    secret, nonce_key = _expand(secret_seed)
    public = _times_base(secret)
    point = _encode_to_curve(public, alpha)
    gamma = _times(secret, point)
    # Section 5.4.2.2: the nonce depends on the secret and the point alone, never on a dice.
    nonce = int.from_bytes(sha512(nonce_key + point).digest(), "little") % _GROUP_ORDER
    challenge = _challenge(public, point, gamma, _times_base(nonce), _times(nonce, point))
    response = (nonce + challenge * secret) % _GROUP_ORDER
    return gamma + challenge.to_bytes(16, "little") + response.to_bytes(32, "little")


def verify(public: bytes, proof: bytes, alpha: bytes) -> bytes | None:
    """Return the 64-byte output that `proof` shows for `alpha`, None if it shows none.

    Section 5.3, with key validation (section 5.4.5).
    """
    if len(public) != 32 or len(proof) != PROOF_LENGTH:
        return None
    gamma = proof[:32]
    challenge = int.from_bytes(proof[32:48], "little")
    response = int.from_bytes(proof[48:], "little")
    if response >= _GROUP_ORDER or not crypto_core_ed25519_is_valid_point(public):
        return None
    point = _encode_to_curve(public, alpha)
    try:
        u = crypto_core_ed25519_sub(_times_base(response), _times(challenge, public))
        v = crypto_core_ed25519_sub(_times(response, point), _times(challenge, gamma))
    except CryptoError:  # gamma is not in the group, or a scalar is zero
        return None
    if _challenge(public, point, gamma, u, v) != challenge:
        return None
    return _output(gamma)


def proof_to_hash(proof: bytes) -> bytes | None:
    """Return the output that a proof claims (section 5.2), None if its point is invalid.

    It is the true output only for a proof that `verify` accepts or that the caller made.
    """
    if len(proof) != PROOF_LENGTH or not crypto_core_ed25519_is_valid_point(proof[:32]):
        return None
    return _output(proof[:32])


def _output(gamma: bytes) -> bytes:
    return sha512(_SUITE + _PROOF_TO_HASH + _times_cofactor(gamma) + _BACK).digest()


def _expand(seed: bytes) -> tuple[int, bytes]:
    """Return the scalar, clamped as in RFC 8032 section 5.1.5, and the key of the nonces."""
    digest = sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little")
    scalar = scalar & ((1 << 254) - 8) | 1 << 254
    return scalar % _GROUP_ORDER, digest[32:]


def _encode_to_curve(public: bytes, alpha: bytes) -> bytes:
    """Hash to a point by try and increment (section 5.4.1.1).

    An attempt fails with probability 1/2; 256 failures are out of reach, so the loop needs no
    exit but its bound.
    """
    salted = _SUITE + _ENCODE_TO_CURVE + public + alpha
    for attempt in range(256):
        candidate = sha512(salted + bytes((attempt,)) + _BACK).digest()[:32]
        # libsodium does not refuse y >= p here, RFC 8032 does.
        if int.from_bytes(candidate, "little") & ((1 << 255) - 1) >= _FIELD_PRIME:
            continue
        try:
            point = _times_cofactor(candidate)
        except CryptoError:  # not a point of the curve
            continue
        if point != _IDENTITY:
            return point
    raise ArithmeticError("no point of the curve in 256 attempts")


def _challenge(public: bytes, *points: bytes) -> int:
    joined = _SUITE + _CHALLENGE + public + b"".join(points) + _BACK
    return int.from_bytes(sha512(joined).digest()[:16], "little")


def _times_base(scalar: int) -> bytes:
    return crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little"))


def _times(scalar: int, point: bytes) -> bytes:
    return crypto_scalarmult_ed25519_noclamp(scalar.to_bytes(32, "little"), point)


def _times_cofactor(point: bytes) -> bytes:
    """Return 8 times the point: into the prime-order subgroup, whichever point it is."""
    for _ in range(3):
        point = crypto_core_ed25519_add(point, point)
    return point
