"""What proves that an account holds the key with which it wants to take part in the agreement."""

from __future__ import annotations

from runtime.primitives.keys import is_ed25519_key, verify_ed25519

KEY_DOMAIN = b"open-simplex-key-v1"


def ownership_message(genesis_hash: bytes, account: bytes) -> bytes:
    """Return what a session key signs to be registered by an account.

    The domain differs from that of votes and handshakes, the genesis hash from chain to chain, so
    a proof is of no other use.
    """
    return KEY_DOMAIN + genesis_hash + account


def is_usable(key: bytes) -> bool:
    """Tell whether a key can take part: signatures of a key of small order prove nothing."""
    return is_ed25519_key(key)


def proves_ownership(key: bytes, genesis_hash: bytes, account: bytes, proof: bytes) -> bool:
    """Tell whether the key's holder agreed to this account; `proof` is an ed25519 signature."""
    return verify_ed25519(key, ownership_message(genesis_hash, account), proof)
