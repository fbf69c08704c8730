"""A WebSocket client of as little work as possible, so that what is measured is the server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import orjson
import trio

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
_READ = 65536
_CLOSE, _PING, _PONG = 8, 9, 10


class Closed(Exception):
    """The server ended the connection."""


class RpcSocket:
    """One connection: whole messages out and in; pings are answered while somebody reads."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.idents: Iterator[int] = itertools.count(1)
        self._buffer = bytearray()
        self._turn = trio.Lock()

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1") -> RpcSocket:
        """Connect and upgrade; raises Closed where the server refuses."""
        made = cls(await trio.open_tcp_stream(host, port))
        await made.stream.send_all(UPGRADE)
        while (end := made._buffer.find(b"\r\n\r\n")) < 0:
            await made._more()
        if not made._buffer.startswith(b"HTTP/1.1 101"):
            raise Closed(made._buffer[:end].decode("latin-1"))
        del made._buffer[: end + 4]
        return made

    async def send(self, *messages: bytes) -> None:
        """Send text messages, in one piece."""
        await self._send(b"".join(frame(message) for message in messages))

    async def receive(self) -> bytes:
        """Wait for the next message; raises Closed at the connection's end."""
        while True:
            kind, message = await self._frame()
            if kind == _PING:
                await self._send(frame(message, _PONG))
            elif kind == _CLOSE:
                raise Closed(message[2:].decode("utf-8", "replace"))
            elif kind != _PONG:
                return message

    async def call(self, method: str, *params: Any) -> Any:
        """Call a method and return its result; notifications meanwhile are lost."""
        ident = next(self.idents)
        await self.send(request(ident, method, *params))
        while True:
            message = orjson.loads(await self.receive())
            if message.get("id") == ident:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    async def _send(self, data: bytes) -> None:
        async with self._turn:
            await self.stream.send_all(data)

    async def _frame(self) -> tuple[int, bytes]:
        await self._until(2)
        kind, size, start = self._buffer[0] & 15, self._buffer[1] & 127, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            await self._until(start)
            size = int.from_bytes(self._buffer[2:start], "big")
        await self._until(start + size)
        message = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        return kind, message

    async def _until(self, size: int) -> None:
        while len(self._buffer) < size:
            await self._more()

    async def _more(self) -> None:
        data = await self.stream.receive_some(_READ)
        if not data:
            raise Closed("the server closed the stream")
        self._buffer += data


def frame(payload: bytes, kind: int = 1) -> bytes:
    """Frame a message as a client must, under the mask of zeros, which changes nothing."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | kind, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | kind, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | kind, 0xFF)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def request(ident: object, method: str, *params: Any) -> bytes:
    """Encode a request."""
    return orjson.dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": params})
