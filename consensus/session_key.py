"""The ed25519 key with which a validator takes part: it votes, proves randomness, and greets."""

from __future__ import annotations

from nacl.signing import SigningKey

from consensus.core import ecvrf
from consensus.core.votes import Subject, VoteDomain, vote_bytes
from runtime.primitives.keys import verify_ed25519

HELLO_DOMAIN = b"open-simplex-hello-v1"
KEY_DOMAIN = b"open-simplex-key-v1"


class SessionKey:
    """A key that signs what this class writes, each kind under its own domain, nothing else."""

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

    def hello(
        self, genesis_hash: bytes, fork_id: int, own_peer: bytes, remote_peer: bytes
    ) -> bytes:
        """Sign that this key stands behind `own_peer` when it talks to `remote_peer`."""
        return self._key.sign(hello_bytes(genesis_hash, fork_id, own_peer, remote_peer)).signature

    def key_ownership(self, genesis_hash: bytes, account: bytes) -> bytes:
        """Sign that the owner of this key lets an account of a chain register it."""
        return self._key.sign(key_bytes(genesis_hash, account)).signature


def hello_bytes(genesis_hash: bytes, fork_id: int, own_peer: bytes, remote_peer: bytes) -> bytes:
    """Build what a greeting signs; peer ids are multihashes, which tell their own length."""
    return HELLO_DOMAIN + genesis_hash + fork_id.to_bytes(4, "little") + own_peer + remote_peer


def key_bytes(genesis_hash: bytes, account: bytes) -> bytes:
    """Build what a proof of ownership signs."""
    return KEY_DOMAIN + genesis_hash + account


def check_hello(
    public: bytes,
    genesis_hash: bytes,
    fork_id: int,
    own_peer: bytes,
    remote_peer: bytes,
    signature: bytes,
) -> bool:
    """Tell whether `public` signed the greeting that `own_peer` sent to `remote_peer`."""
    message = hello_bytes(genesis_hash, fork_id, own_peer, remote_peer)
    return verify_ed25519(public, message, signature)


def check_key_ownership(
    public: bytes, genesis_hash: bytes, account: bytes, signature: bytes
) -> bool:
    """Tell whether the owner of `public` lets the account register it."""
    return verify_ed25519(public, key_bytes(genesis_hash, account), signature)
