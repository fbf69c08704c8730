"""Storage items of a pallet: declared in its class, bound to one overlay in its instances.

The annotation is the type, read by mypy and by the codec alike, so nothing is said twice::

    next_id: StorageValue[DatanetId] = value(default=0, doc="The id that the next Datanet takes.")
    datanets: StorageMap[DatanetId, Datanet] = storage_map(Hasher.TWOX_64_CONCAT, doc="By id.")

Keys are laid out as FRAME's: twox128(pallet) ++ twox128(item) ++ hasher(SCALE key)...

A bound item remembers each value it decoded or encoded beside the very bytes object of the
overlay, and the storage key of each key it hashed: a block reads some accounts a thousand times.
Values are immutable, and a rolled back write brings other bytes back, so neither can mislead.
"""

from __future__ import annotations

import copy
import typing
from collections.abc import Iterator
from typing import Any, Generic, Self, TypeVar

from runtime.primitives.errors import InvariantViolation
from runtime.primitives.hashing import Hasher, twox128
from runtime.primitives.scale import codec, decode, is_option, option_inner
from runtime.state.overlay import Overlay

K = TypeVar("K")
K1 = TypeVar("K1")
K2 = TypeVar("K2")
V = TypeVar("V")

_ABSENT: Any = object()


class StorageItem:
    """What the three kinds of item share: a name, a documentation, a prefix, a value type."""

    def __init__(
        self, doc: str, default: Any, hashers: tuple[Hasher, ...], deprecated: str = ""
    ) -> None:
        self.doc = doc
        self.deprecated = deprecated
        self.default = default
        self.hashers = hashers
        self.name = ""
        self.key_types: tuple[Any, ...] = ()
        self.value_type: Any = None
        self.prefix = b""

    @property
    def has_default(self) -> bool:
        """Whether an absent entry reads as a default (metadata: Default, else Optional)."""
        return self.default is not _ABSENT

    def declare(self, pallet: str, name: str, annotation: Any) -> None:
        """Take name and types from the declaration ``name: Storage...[types]``."""
        *keys, value_type = typing.get_args(annotation)
        if is_option(value_type):
            value_type = option_inner(value_type)
        self.name = name
        self.key_types = tuple(keys)
        self.value_type = value_type
        self.prefix = twox128(pallet.encode()) + twox128(name.encode())
        self._key_encoders = tuple(codec(k).encode for k in keys)
        self._encode, self._decode_at = codec(value_type)

    def bind(self, overlay: Overlay) -> Self:
        """Return this item reading from and writing to `overlay`."""
        bound = copy.copy(self)
        bound._overlay = overlay
        bound._raw_keys = {}
        bound._decoded = {}
        return bound

    def _read(self, raw_key: bytes) -> Any:
        """Return the value under a storage key, None where there is none."""
        raw = self._overlay.get(raw_key)
        if raw is None:
            return None
        known = self._decoded.get(raw_key)
        if known is not None and known[0] is raw:
            return known[1]
        found = self._decode_at(raw, 0)[0]
        self._decoded[raw_key] = raw, found
        return found

    def _write(self, raw_key: bytes, new: Any) -> None:
        raw = self._encode(new)
        self._decoded[raw_key] = raw, new
        self._overlay.put(raw_key, raw)

    def decode_value(self, data: bytes) -> Any:
        """Decode a value of this item; raises DecodeError."""
        return decode(self.value_type, data)

    def key(self, *keys: Any) -> bytes:
        """Return the storage key of an entry, or the prefix that fewer keys span."""
        raw = self.prefix
        for encode_key, hasher, part in zip(self._key_encoders, self.hashers, keys, strict=False):
            raw += hasher.hash(encode_key(part))
        return raw

    def split_key(self, raw: bytes) -> tuple[Any, ...]:
        """Return the keys of an entry from its storage key; only of hashers that keep the key."""
        offset = len(self.prefix)
        keys = []
        for hasher, key_type in zip(self.hashers, self.key_types, strict=True):
            if hasher.prefix_length is None:
                raise InvariantViolation(f"{self.name}: {hasher.name} does not keep its key")
            key, offset = codec(key_type).decode_at(raw, offset + hasher.prefix_length)
            keys.append(key)
        return tuple(keys)

    _key_encoders: tuple[Any, ...]
    _encode: Any
    _decode_at: Any
    _overlay: Overlay
    _raw_keys: dict[Any, bytes]
    _decoded: dict[bytes, tuple[bytes, Any]]


class StorageValue(StorageItem, Generic[V]):
    """One value. Annotated ``StorageValue[X | None]`` where it may be absent."""

    def get(self) -> V:
        """Return the value, its default where there is none."""
        found = self._read(self.prefix)
        if found is None:
            return typing.cast("V", None if self.default is _ABSENT else self.default)
        return typing.cast("V", found)

    def put(self, new: V) -> None:
        """Store a value."""
        self._write(self.prefix, new)

    def exists(self) -> bool:
        """Tell whether a value is stored."""
        return self._overlay.get(self.prefix) is not None

    def kill(self) -> None:
        """Remove the value."""
        self._overlay.delete(self.prefix)


class StorageMap(StorageItem, Generic[K, V]):
    """A map; an absent entry reads as None, or as the declared default through ``[key]``."""

    def _raw_key(self, key: K) -> bytes:
        raw_key = self._raw_keys.get(key)
        if raw_key is None:
            raw_key = self._raw_keys[key] = self.key(key)
        return raw_key

    def get(self, key: K) -> V | None:
        """Return an entry, None where there is none."""
        # `_raw_key` and `_read` written out: an account is read ten times in a transfer.
        raw_key = self._raw_keys.get(key)
        if raw_key is None:
            raw_key = self._raw_keys[key] = self.key(key)
        raw = self._overlay.get(raw_key)
        if raw is None:
            return None
        known = self._decoded.get(raw_key)
        if known is None or known[0] is not raw:
            known = self._decoded[raw_key] = raw, self._decode_at(raw, 0)[0]
        return typing.cast("V", known[1])

    def __getitem__(self, key: K) -> V:
        found = self.get(key)
        if found is not None:
            return found
        if self.default is _ABSENT:
            raise InvariantViolation(f"{self.name} has no entry {key!r}")
        return typing.cast("V", self.default)

    def __contains__(self, key: K) -> bool:
        return self._overlay.get(self._raw_key(key)) is not None

    def insert(self, key: K, new: V) -> None:
        """Store an entry, replacing one that is there."""
        self._write(self._raw_key(key), new)

    def remove(self, key: K) -> None:
        """Remove an entry if it is there."""
        self._overlay.delete(self._raw_key(key))

    def items(self) -> Iterator[tuple[K, V]]:
        """Yield every entry in the order of the storage keys."""
        for raw_key, raw in self._overlay.iterate(self.prefix):
            yield self.split_key(raw_key)[0], self._decode_at(raw, 0)[0]


class StorageDoubleMap(StorageItem, Generic[K1, K2, V]):
    """A map under two keys; entries of one first key lie together."""

    def _raw_key(self, first: K1, second: K2) -> bytes:
        raw_key = self._raw_keys.get((first, second))
        if raw_key is None:
            raw_key = self._raw_keys[first, second] = self.key(first, second)
        return raw_key

    def get(self, first: K1, second: K2) -> V | None:
        """Return an entry, None where there is none."""
        return typing.cast("V | None", self._read(self._raw_key(first, second)))

    def __getitem__(self, keys: tuple[K1, K2]) -> V:
        found = self.get(*keys)
        if found is not None:
            return found
        if self.default is _ABSENT:
            raise InvariantViolation(f"{self.name} has no entry {keys!r}")
        return typing.cast("V", self.default)

    def __contains__(self, keys: tuple[K1, K2]) -> bool:
        return self._overlay.get(self._raw_key(*keys)) is not None

    def insert(self, first: K1, second: K2, new: V) -> None:
        """Store an entry, replacing one that is there."""
        self._write(self._raw_key(first, second), new)

    def remove(self, first: K1, second: K2) -> None:
        """Remove an entry if it is there."""
        self._overlay.delete(self._raw_key(first, second))

    def items(self) -> Iterator[tuple[tuple[K1, K2], V]]:
        """Yield every entry in the order of the storage keys."""
        for raw_key, raw in self._overlay.iterate(self.prefix):
            first, second = self.split_key(raw_key)
            yield (first, second), self._decode_at(raw, 0)[0]

    def items_under(self, first: K1) -> Iterator[tuple[K2, V]]:
        """Yield the entries of one first key in the order of the storage keys."""
        for raw_key, raw in self._overlay.iterate(self.key(first)):
            yield self.split_key(raw_key)[1], self._decode_at(raw, 0)[0]

    def remove_under(self, first: K1) -> None:
        """Remove the entries of one first key; the caller bounds their number."""
        for raw_key, _ in list(self._overlay.iterate(self.key(first))):
            self._overlay.delete(raw_key)


def value(*, doc: str, default: Any = _ABSENT, deprecated: str = "") -> Any:
    """Declare a StorageValue; `deprecated` says what to read instead of one that will go."""
    return StorageValue[Any](doc, default, (), deprecated)


def storage_map(hasher: Hasher, *, doc: str, default: Any = _ABSENT, deprecated: str = "") -> Any:
    """Declare a StorageMap; keys that users choose need a hasher that resists attack."""
    return StorageMap[Any, Any](doc, default, (hasher,), deprecated)


def double_map(
    first: Hasher, second: Hasher, *, doc: str, default: Any = _ABSENT, deprecated: str = ""
) -> Any:
    """Declare a StorageDoubleMap."""
    return StorageDoubleMap[Any, Any, Any](doc, default, (first, second), deprecated)
