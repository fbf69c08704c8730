"""A state that cannot be written, in the shape of one that can."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.state.store import StateReader


class ReadOnly(RuntimeError):
    """A write reached a view: the call changes state, so it needs a transaction in a block."""


class View:
    """Reads like the reader behind it and refuses every write with ReadOnly."""

    __slots__ = ("_reader",)

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`."""
        return self._reader.get(key)

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries under `prefix`, ascending by key, from behind `after` on."""
        return self._reader.iterate(prefix, after)

    def put(self, key: bytes, value: bytes) -> None:
        """Refuse; raises ReadOnly."""
        raise ReadOnly(f"{len(value)} bytes under 0x{key.hex()} cannot be written to a view")

    def delete(self, key: bytes) -> None:
        """Refuse; raises ReadOnly."""
        raise ReadOnly(f"0x{key.hex()} cannot be deleted from a view")
