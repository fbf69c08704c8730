"""The hash functions of the ecosystem, and the hashers that storage maps are declared with."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from hashlib import blake2b
from typing import Self

from xxhash import xxh64_digest


def blake2_128(data: bytes) -> bytes:
    """Return the 16-byte BLAKE2b digest (RFC 7693)."""
    return blake2b(data, digest_size=16).digest()


def blake2_256(data: bytes) -> bytes:
    """Return the 32-byte BLAKE2b digest (RFC 7693)."""
    return blake2b(data, digest_size=32).digest()


def twox64(data: bytes) -> bytes:
    """Return XXH64 with seed 0, little endian. Not collision resistant."""
    return xxh64_digest(data, 0)[::-1]


def twox128(data: bytes) -> bytes:
    """Return XXH64 with seeds 0 and 1, each little endian. Not collision resistant."""
    return xxh64_digest(data, 0)[::-1] + xxh64_digest(data, 1)[::-1]


def twox256(data: bytes) -> bytes:
    """Return XXH64 with seeds 0 to 3, each little endian. Not collision resistant."""
    return b"".join([xxh64_digest(data, seed)[::-1] for seed in range(4)])


def _blake2_128_concat(key: bytes) -> bytes:
    return blake2b(key, digest_size=16).digest() + key


def _twox64_concat(key: bytes) -> bytes:
    return xxh64_digest(key, 0)[::-1] + key


def _identity(key: bytes) -> bytes:
    return key


class Hasher(Enum):
    """How a storage map turns an encoded key into a part of the storage key.

    The values are the indices of `StorageHasher` in the metadata. Keys that a stranger chooses
    need a BLAKE2 hasher, otherwise he can make the trie deep; TWOX and IDENTITY are for keys
    that the chain itself hands out.
    """

    BLAKE2_128 = (0, blake2_128, None)
    BLAKE2_256 = (1, blake2_256, None)
    BLAKE2_128_CONCAT = (2, _blake2_128_concat, 16)
    TWOX_128 = (3, twox128, None)
    TWOX_256 = (4, twox256, None)
    TWOX_64_CONCAT = (5, _twox64_concat, 8)
    IDENTITY = (6, _identity, 0)

    hash: Callable[[bytes], bytes]
    """The encoded key -> its part of the storage key."""
    prefix_length: int | None
    """Bytes before the encoded key in that part; None where the key cannot be read back."""

    def __new__(
        cls, index: int, function: Callable[[bytes], bytes], prefix_length: int | None
    ) -> Self:
        """Give a member its index as value and its function as a plain, fast attribute."""
        member = object.__new__(cls)
        member._value_ = index
        member.hash = function
        member.prefix_length = prefix_length
        return member
