"""A libp2p stream as the rest of the node reads and writes it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio

from node.network.framing import READ_SIZE, StreamBroken

RESET_SECONDS = 1.0
CLOSE_SECONDS = 5.0


class WireStream:
    """Buffers reads, so that small ones do not cost a frame of flow control each."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = b""

    async def read(self, size: int) -> bytes:
        """Read 1 to `size` bytes; nothing at the end. Raises StreamBroken."""
        if not self._buffer:
            try:
                self._buffer = await self._stream.read(READ_SIZE)
            except Exception as error:
                if type(error).__name__ == "StreamEOF":
                    return b""
                raise StreamBroken(repr(error)) from error
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises StreamBroken."""
        try:
            await self._stream.write(data)
        except Exception as error:
            raise StreamBroken(repr(error)) from error

    async def close(self) -> None:
        """End our side; what was written still arrives."""
        with suppress(Exception), trio.move_on_after(CLOSE_SECONDS):
            await self._stream.close()

    async def reset(self) -> None:
        """Drop both sides at once, also when cancelled."""
        with trio.CancelScope(shield=True), suppress(Exception), trio.move_on_after(RESET_SECONDS):
            await self._stream.reset()
