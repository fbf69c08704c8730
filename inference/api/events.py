"""What an admitted request yields on its way to the client."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from inference.request import Answer, Token
from runtime.primitives.errors import Refusal


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token of one of the answers."""

    index: int
    token: Token


@dataclass(frozen=True, slots=True)
class Ended:
    """One of the answers is whole."""

    index: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Done:
    """All answers are whole.

    Attributes:
        fields: what the body of a whole answer carries beside OpenAI's fields.
        events: encoded events that follow a stream's `[DONE]`.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[bytes, ...] = ()


Event = Drawn | Ended | Done | Refusal


@dataclass(frozen=True, slots=True)
class Opened:
    """A request that is being computed.

    Attributes:
        name: what tells it from all others; part of the answer's id.
        events: end with Done or a Refusal.
        outlives: whether it is computed to its end although its client has left.
        leave: called once when nobody reads the events any more.
    """

    name: str
    events: trio.MemoryReceiveChannel[Event]
    outlives: bool
    leave: Callable[[], None]


def encode_event(data: Mapping[str, Any] | str, name: str | None = None) -> bytes:
    """Encode one server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode()


def hand_on(send: trio.MemorySendChannel[Event], event: Event) -> bool:
    """Hand an event on; False where nobody listens any more."""
    try:
        send.send_nowait(event)
    except trio.BrokenResourceError:
        return False
    return True
