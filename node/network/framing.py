"""Frames on a byte stream: u32 big-endian length, then so many bytes."""

from __future__ import annotations

from typing import Protocol

HEADER = 4
READ_SIZE = 256 * 1024


class Stream(Protocol):
    """A reliable stream of bytes to a peer, inside an encrypted connection."""

    async def read(self, size: int) -> bytes:
        """Read 1 to `size` bytes; nothing at the end. Raises StreamBroken."""

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises StreamBroken."""

    async def close(self) -> None:
        """End our side; what was written still arrives."""

    async def reset(self) -> None:
        """Drop both sides at once."""


class StreamBroken(Exception):
    """The stream, or the connection that carried it, is gone."""


class FrameTooLarge(Exception):
    """A frame announces more bytes than the reader takes."""


async def read_exactly(stream: Stream, size: int) -> bytes:
    """Read `size` bytes; raises StreamBroken where the stream ends before."""
    parts: list[bytes] = []
    missing = size
    while missing:
        part = await stream.read(min(missing, READ_SIZE))
        if not part:
            raise StreamBroken(f"the stream ended {missing} bytes too early")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


async def read_frame(stream: Stream, limit: int) -> bytes:
    """Read a frame of `limit` bytes at most; raises FrameTooLarge or StreamBroken."""
    size = int.from_bytes(await read_exactly(stream, HEADER), "big")
    if size > limit:
        raise FrameTooLarge(f"a frame of {size} bytes where {limit} are allowed")
    return await read_exactly(stream, size)


def frame(payload: bytes) -> bytes:
    """Put the length before a payload."""
    return len(payload).to_bytes(HEADER, "big") + payload
