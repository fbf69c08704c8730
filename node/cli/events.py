"""Server-sent events: read from pieces of a stream, written again one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAX_EVENT = 16 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """One event; without a name it is a plain message."""

    data: str
    name: str = ""

    def encode(self) -> bytes:
        """Write it as it stands in a stream."""
        head = f"event: {self.name}\n" if self.name else ""
        body = "".join(f"data: {line}\n" for line in self.data.split("\n"))
        return f"{head}{body}\n".encode()


class EventReader:
    """Cuts a stream into events; comments and other fields are left out."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Yield the events that are whole now; raises ValueError for one above 16 MiB."""
        self._buffer = (self._buffer + piece).replace(b"\r\n", b"\n")
        while (end := self._buffer.find(b"\n\n")) >= 0:
            block, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
            event = _event(block.decode("utf-8", "replace"))
            if event is not None:
                yield event
        if len(self._buffer) > MAX_EVENT:
            raise ValueError("an event above 16 MiB")


def _event(block: str) -> Event | None:
    name, data = "", []
    for line in block.split("\n"):
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "data":
            data.append(value)
    return Event("\n".join(data), name) if data else None
