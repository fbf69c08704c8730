"""Encoding of trie nodes, byte for byte the ecosystem's (state versions 0 and 1).

A node is: header, partial key, child bitmap (branches), value, children. The header's high bits
tell the kind, its low bits the number of nibbles of the partial key; a number that does not fit
goes on in bytes of 255 and one below. A value is inline (compact length, bytes) or, in state
version 1 and above 32 bytes, the blake2b-256 hash of a node of its own. A child is its encoding
where that is shorter than 32 bytes, its hash otherwise.

Source: https://spec.polkadot.network/chap-state (section 2.3, the trie).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, TypeAlias

from runtime.primitives.scale import DecodeError, compact_decode, compact_encode

HASH_LENGTH: Final = 32
INLINE_LIMIT: Final = 32
"""A value longer than this is a node of its own in state version 1."""
HASHED_TOKEN_LENGTH: Final = 1 + HASH_LENGTH
"""An inline child's token is at most 32 bytes, so the length tells the two apart."""

ReadNode: TypeAlias = Callable[[bytes], bytes]
"""Return the encoding behind a hash; raises where it has none."""

Slot: TypeAlias = tuple[bool, bytes]
"""What a node holds of its value: (False, the value) or (True, the value's hash)."""


class InvalidNode(ValueError):
    """The bytes are not a trie node: the storage is damaged or the proof is forged."""


@dataclass(slots=True)
class Node:
    """A node taken apart, to be changed and encoded again.

    `partial` is hexadecimal, one character per nibble. `tokens` are the children in ascending
    order as they stand in the encoding, each with its length in front; `bitmap` says which of the
    16 they are.
    """

    partial: str
    slot: Slot | None
    bitmap: int
    tokens: list[bytes]


_ABSENT, _INLINE, _HASHED = 0, 1, 2
_KINDS: Final = (
    # prefix, bits of the length, branch, value
    (0b0100_0000, 6, False, _INLINE),
    (0b1000_0000, 6, True, _ABSENT),
    (0b1100_0000, 6, True, _INLINE),
    (0b0010_0000, 5, False, _HASHED),
    (0b0001_0000, 4, True, _HASHED),
)
_LENGTHS: Final = tuple(compact_encode(length) for length in range(64))
_HASH_MARK: Final = _LENGTHS[HASH_LENGTH]


def _header_table() -> tuple[tuple[int, bool, int] | None, ...]:
    """Return (largest length, branch, value) for every first byte; None where none is a node."""
    table: list[tuple[int, bool, int] | None] = [None] * 256
    for prefix, bits, branch, value in _KINDS:
        for low in range(1 << bits):
            table[prefix | low] = ((1 << bits) - 1, branch, value)
    return tuple(table)


def _head(prefix: int, largest: int, size: int) -> bytes:
    if size < largest:
        return bytes((prefix | size,))
    full, last = divmod(size - largest, 255)
    return bytes((prefix | largest,)) + b"\xff" * full + bytes((last,))


_HEADERS: Final = _header_table()
_HEADS: Final = {
    (branch, value): tuple(_head(prefix, (1 << bits) - 1, size) for size in range(256))
    for prefix, bits, branch, value in _KINDS
}
_PREFIXES: Final = {
    (branch, value): (prefix, (1 << bits) - 1) for prefix, bits, branch, value in _KINDS
}


def hash_of(data: bytes) -> bytes:
    """Return the 32-byte name of a node or a value."""
    return blake2b(data, digest_size=HASH_LENGTH).digest()


def slot_of(value: bytes, version: int) -> Slot:
    """Return what a node holds of `value`: the value, or its hash in version 1 when it is long."""
    if version and len(value) > INLINE_LIMIT:
        return True, hash_of(value)
    return False, value


def token_of(encoding: bytes) -> bytes:
    """Return how a parent refers to a child, with the length in front."""
    if len(encoding) < HASH_LENGTH:
        return _LENGTHS[len(encoding)] + encoding
    return _HASH_MARK + hash_of(encoding)


def resolve(token: bytes, read_node: ReadNode) -> bytes:
    """Return the encoding of the child that a token refers to."""
    return read_node(token[1:]) if len(token) == HASHED_TOKEN_LENGTH else token[1:]


def encode_parts(partial: str, slot: Slot | None, bitmap: int, tokens: Sequence[bytes]) -> bytes:
    """Encode a node; one without children must have a value."""
    size = len(partial)
    kind = (bitmap != 0, _ABSENT if slot is None else _HASHED if slot[0] else _INLINE)
    head = _HEADS[kind][size] if size < 256 else _head(*_PREFIXES[kind], size)
    packed = bytes.fromhex("0" + partial if size & 1 else partial)
    if slot is None:
        value = b""
    elif slot[0]:
        value = slot[1]
    else:
        length = len(slot[1])
        value = (_LENGTHS[length] if length < 64 else compact_encode(length)) + slot[1]
    if bitmap:
        return b"".join((head, packed, bitmap.to_bytes(2, "little"), value, *tokens))
    return head + packed + value


def encode(node: Node) -> bytes:
    """Encode a node that has a value or children."""
    return encode_parts(node.partial, node.slot, node.bitmap, node.tokens)


def decode(data: bytes) -> Node:
    """Take an encoding apart; raises InvalidNode.

    Bytes that a hash vouches for need no more than this. A node of unknown origin is canonical
    where encoding the result gives the same bytes.
    """
    try:
        header = _HEADERS[data[0]]
        if header is None:
            raise InvalidNode(f"no trie node begins with {data[0]:#04x}")
        largest, branch, value = header
        size = data[0] & largest
        at = 1
        if size == largest:
            size, at = _long_size(data, size)
        stop = at + (size + 1 >> 1)
        partial = data[at:stop].hex()
        if size & 1:
            partial = partial[1:]
        bitmap = 0
        if branch:
            bitmap = data[stop] | data[stop + 1] << 8
            if not bitmap:
                raise InvalidNode("a branch without children is not a trie node")
            stop += 2
        slot: Slot | None = None
        if value == _INLINE:
            slot, stop = _inline_slot(data, stop)
        elif value == _HASHED:
            slot = True, data[stop : stop + HASH_LENGTH]
            stop += HASH_LENGTH
        return Node(partial, slot, bitmap, _tokens(data, stop, bitmap.bit_count()))
    except (IndexError, DecodeError) as error:
        raise InvalidNode("the trie node is truncated") from error


def _long_size(data: bytes, size: int) -> tuple[int, int]:
    at = 1
    while data[at] == 255:
        size += 255
        at += 1
    return size + data[at], at + 1


def _inline_slot(data: bytes, at: int) -> tuple[Slot, int]:
    length, start = compact_decode(data, at)
    stop = start + length
    return (False, data[start:stop]), stop


def _tokens(data: bytes, at: int, count: int) -> list[bytes]:
    end = len(data)
    if end - at == HASHED_TOKEN_LENGTH * count:
        return [data[start : start + HASHED_TOKEN_LENGTH] for start in range(at, end, 33)]
    tokens = []
    for _ in range(count):
        stop = at + 1 + (data[at] >> 2)
        tokens.append(data[at:stop])
        at = stop
    if at != end:
        raise InvalidNode("the trie node is truncated or has bytes left over")
    return tokens
