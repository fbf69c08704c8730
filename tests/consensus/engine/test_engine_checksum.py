"""The checksum of a log's records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.engine.checksum import crc32c

# RFC 3720, appendix B.4; the bytes of a result stand there in the order of transmission.
READ_COMMAND = bytes.fromhex(
    "01c00000000000000000000000000000140000000000040000000014000000182800000000000000"
    "0200000000000000"
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(32), "aa36918a"),
        (b"\xff" * 32, "43aba862"),
        (bytes(range(32)), "4e79dd46"),
        (bytes(range(31, -1, -1)), "5cdb3f11"),
        (READ_COMMAND, "563a96d9"),
    ],
)
def test_the_checksums_are_those_of_the_standard(data: bytes, expected: str) -> None:
    assert crc32c(data).to_bytes(4, "little").hex() == expected


def test_the_checksum_of_nine_digits_is_the_known_one() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary(max_size=64))
def test_four_bytes_a_step_equal_bit_by_bit(data: bytes) -> None:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert crc32c(data) == crc ^ 0xFFFFFFFF
