"""Keys of simulated validators: fast ones that nobody can forge, and the real ones."""

from __future__ import annotations

from hashlib import blake2b
from typing import Protocol

from consensus.core import ecvrf
from consensus.session_key import SessionKey
from runtime.primitives.keys import verify_ed25519


class Key(Protocol):
    """A secret key: signs bytes, proves randomness."""

    public: bytes

    def sign(self, message: bytes) -> bytes:
        """Return 64 bytes."""

    def prove(self, alpha: bytes) -> bytes:
        """Return the 80 bytes of a proof of randomness."""


class KeyRing(Protocol):
    """The keys of a world, and the checks that the core calls."""

    def key(self, index: int) -> Key:
        """Return the key of a node."""

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Check a signature."""

    def vrf(self, public: bytes, alpha: bytes, proof: bytes) -> bytes | None:
        """Return the output that a proof shows."""


class FastKey:
    """A keyed hash: whoever lacks the secret cannot sign, and the ring can check."""

    __slots__ = ("_secret", "public")

    def __init__(self, index: int) -> None:
        self._secret = blake2b(b"secret" + index.to_bytes(4, "little"), digest_size=32).digest()
        self.public = blake2b(self._secret, digest_size=32).digest()

    def sign(self, message: bytes) -> bytes:
        return blake2b(message, key=self._secret, digest_size=64).digest()

    def prove(self, alpha: bytes) -> bytes:
        return self.sign(b"vrf" + alpha) + bytes(16)


class FastRing:
    """Fast keys by node; it alone knows all secrets."""

    def __init__(self) -> None:
        self._by_index: dict[int, FastKey] = {}
        self._by_public: dict[bytes, FastKey] = {}

    def key(self, index: int) -> FastKey:
        if index not in self._by_index:
            key = self._by_index[index] = FastKey(index)
            self._by_public[key.public] = key
        return self._by_index[index]

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        key = self._by_public.get(public)
        return key is not None and key.sign(message) == signature

    def vrf(self, public: bytes, alpha: bytes, proof: bytes) -> bytes | None:
        key = self._by_public.get(public)
        if key is None or key.prove(alpha) != proof:
            return None
        return output_of(proof)


def output_of(proof: bytes) -> bytes:
    """Return the 64 bytes of randomness of a fast proof."""
    return blake2b(proof, digest_size=64).digest()


class RealKey:
    """The session key that the node uses: ed25519, and the ECVRF under it."""

    def __init__(self, index: int) -> None:
        seed = blake2b(b"real" + index.to_bytes(4, "little"), digest_size=32).digest()
        self.session = SessionKey(seed)
        self.public = self.session.public

    def sign(self, message: bytes) -> bytes:
        return self.session._key.sign(message).signature

    def prove(self, alpha: bytes) -> bytes:
        return self.session.prove(alpha)


class RealRing:
    """Real keys by node."""

    def __init__(self) -> None:
        self._by_index: dict[int, RealKey] = {}

    def key(self, index: int) -> RealKey:
        if index not in self._by_index:
            self._by_index[index] = RealKey(index)
        return self._by_index[index]

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        return verify_ed25519(public, message, signature)

    def vrf(self, public: bytes, alpha: bytes, proof: bytes) -> bytes | None:
        return ecvrf.verify(public, proof, alpha)
