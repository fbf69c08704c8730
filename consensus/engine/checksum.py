"""CRC-32C (Castagnoli), RFC 3720 appendix B.4, four bytes a step."""

from __future__ import annotations

import struct
from functools import cache

_POLYNOMIAL = 0x82F63B78
"""0x1EDC6F41 with its bits reversed."""
_ALL = 0xFFFFFFFF


def crc32c(data: bytes | memoryview) -> int:
    """Return the checksum of `data`."""
    one, two, four = _tables()
    crc, end = _ALL, len(data) & ~3
    for (word,) in struct.iter_unpack("<I", memoryview(data)[:end]):
        crc ^= word
        crc = four[crc & 0xFFFF] ^ two[crc >> 16]
    for byte in data[end:]:
        crc = one[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ _ALL


@cache
def _tables() -> tuple[list[int], list[int], list[int]]:
    """Return what one byte, two bytes, and two bytes with two zero bytes behind them leave."""
    one = [_divided(byte) for byte in range(256)]
    two = []
    for value in range(1 << 16):
        crc = one[value & 0xFF] ^ (value >> 8)
        two.append(one[crc & 0xFF] ^ (crc >> 8))
    four = [two[crc & 0xFFFF] ^ (crc >> 16) for crc in two]
    return one, two, four


def _divided(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte
